//! [`Ec2`] over the SDK's client.
//!
//! Invariant: an answer that does not hold together is a refusal with the code `InvalidResponse`, never a guess.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, SecurityGroup, Tag,
    TagSpecification, UserIdGroupPair,
};
use futures::FutureExt as _;
use lustre_model::resource::{Direction, Peer, RuleSpec, Tags};

use crate::ec2::{Answer, Ec2, Group, NewGroup, Passing, Refusal, TOKEN, Which};

mod machine;

/// Most pages of an answer.
const PAGES_MAX: usize = 1000;

/// EC2 of a region, over the network.
pub struct Sdk {
    client: Client,
}

impl Sdk {
    /// Calls through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Ec2 for Sdk {
    fn create_group<'a>(&'a self, group: &'a NewGroup) -> Answer<'a, String> {
        async move {
            const CALL: &str = "CreateSecurityGroup";
            let request = self.client.create_security_group().group_name(&group.name);
            let request = request.description(&group.description).set_vpc_id(group.vpc_id.clone());
            let request = request.tag_specifications(tagged(ResourceType::SecurityGroup, &group.tags));
            let answer = request.send().await.map_err(|error| refusal((CALL, &group.name), error))?;
            let id = answer.group_id().unwrap_or_default();
            checked(id, "sg-").map(|()| id.to_owned()).map_err(|why| odd((CALL, &group.name), &why))
        }
        .boxed()
    }

    fn groups<'a>(&'a self, which: &'a Which) -> Answer<'a, Vec<Group>> {
        async move {
            const CALL: &str = "DescribeSecurityGroups";
            let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
            let (what, ids, filters) = match which {
                Which::Id(id) => (id.clone(), Some(vec![id.clone()]), Vec::new()),
                Which::Token(token) => (token.clone(), None, vec![filter(&format!("tag:{TOKEN}"), token)]),
                Which::Name(name, vpc) => {
                    let vpc = vpc.iter().map(|vpc| filter("vpc-id", vpc));
                    (name.clone(), None, [filter("group-name", name)].into_iter().chain(vpc).collect())
                }
            };
            let filters = (!filters.is_empty()).then_some(filters);
            let (mut found, mut next) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let request = self.client.describe_security_groups().set_group_ids(ids.clone());
                let request = request.set_filters(filters.clone()).set_next_token(next);
                let answer = request.send().await.map_err(|error| refusal((CALL, &what), error))?;
                for one in answer.security_groups() {
                    found.push(group(one).map_err(|why| odd((CALL, &what), &why))?);
                }
                next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
                if next.is_none() {
                    return Ok(found);
                }
            }
            Err(odd((CALL, &what), "it has no end"))
        }
        .boxed()
    }

    fn authorize<'a>(&'a self, id: &'a str, direction: Direction, rules: &'a [RuleSpec]) -> Answer<'a, ()> {
        async move {
            let rules = Some(permissions(id, rules));
            match direction {
                Direction::Ingress => {
                    let request = self.client.authorize_security_group_ingress().group_id(id);
                    let call = ("AuthorizeSecurityGroupIngress", id);
                    request.set_ip_permissions(rules).send().await.map_err(|error| refusal(call, error))?;
                }
                Direction::Egress => {
                    let request = self.client.authorize_security_group_egress().group_id(id);
                    let call = ("AuthorizeSecurityGroupEgress", id);
                    request.set_ip_permissions(rules).send().await.map_err(|error| refusal(call, error))?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn revoke<'a>(&'a self, id: &'a str, direction: Direction, rules: &'a [RuleSpec]) -> Answer<'a, ()> {
        async move {
            let rules = Some(permissions(id, rules));
            match direction {
                Direction::Ingress => {
                    let request = self.client.revoke_security_group_ingress().group_id(id);
                    let call = ("RevokeSecurityGroupIngress", id);
                    request.set_ip_permissions(rules).send().await.map_err(|error| refusal(call, error))?;
                }
                Direction::Egress => {
                    let request = self.client.revoke_security_group_egress().group_id(id);
                    let call = ("RevokeSecurityGroupEgress", id);
                    request.set_ip_permissions(rules).send().await.map_err(|error| refusal(call, error))?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn describe_rules<'a>(
        &'a self,
        id: &'a str,
        direction: Direction,
        rules: &'a [RuleSpec],
    ) -> Answer<'a, ()> {
        async move {
            let rules = Some(permissions(id, rules));
            match direction {
                Direction::Ingress => {
                    let request = self.client.update_security_group_rule_descriptions_ingress().group_id(id);
                    let call = ("UpdateSecurityGroupRuleDescriptionsIngress", id);
                    request.set_ip_permissions(rules).send().await.map_err(|error| refusal(call, error))?;
                }
                Direction::Egress => {
                    let request = self.client.update_security_group_rule_descriptions_egress().group_id(id);
                    let call = ("UpdateSecurityGroupRuleDescriptionsEgress", id);
                    request.set_ip_permissions(rules).send().await.map_err(|error| refusal(call, error))?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn delete_group<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            let request = self.client.delete_security_group().group_id(id);
            request.send().await.map_err(|error| refusal(("DeleteSecurityGroup", id), error))?;
            Ok(())
        }
        .boxed()
    }

    fn tag<'a>(&'a self, id: &'a str, tags: &'a Tags) -> Answer<'a, ()> {
        async move {
            let request = self.client.create_tags().resources(id).set_tags(Some(sdk_tags(tags)));
            request.send().await.map_err(|error| refusal(("CreateTags", id), error))?;
            Ok(())
        }
        .boxed()
    }

    fn untag<'a>(&'a self, id: &'a str, names: &'a [String]) -> Answer<'a, ()> {
        async move {
            let names = names.iter().map(|name| Tag::builder().key(name).build()).collect();
            let request = self.client.delete_tags().resources(id).set_tags(Some(names));
            request.send().await.map_err(|error| refusal(("DeleteTags", id), error))?;
            Ok(())
        }
        .boxed()
    }
}

fn sdk_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn tagged(kind: ResourceType, tags: &Tags) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(sdk_tags(tags))).build()
}

/// Returns rules as the SDK has them, each by itself.
fn permissions(id: &str, rules: &[RuleSpec]) -> Vec<IpPermission> {
    let permission = |rule: &RuleSpec| {
        let about = (!rule.description.is_empty()).then(|| rule.description.clone());
        let port = |port: i64| i32::try_from(port).ok().filter(|_| rule.protocol != "-1");
        let permission = IpPermission::builder().ip_protocol(&rule.protocol);
        let permission = permission.set_from_port(port(rule.from_port)).set_to_port(port(rule.to_port));
        let group = |id: &str| UserIdGroupPair::builder().group_id(id).set_description(about.clone()).build();
        let permission = match &rule.peer {
            Peer::Own => permission.user_id_group_pairs(group(id)),
            Peer::Group(other) => permission.user_id_group_pairs(group(other)),
            Peer::PrefixList(list) => permission
                .prefix_list_ids(PrefixListId::builder().prefix_list_id(list).set_description(about).build()),
            Peer::Cidr(range) if range.contains(':') => {
                permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(range).set_description(about).build())
            }
            Peer::Cidr(range) => {
                permission.ip_ranges(IpRange::builder().cidr_ip(range).set_description(about).build())
            }
        };
        permission.build()
    };
    rules.iter().map(permission).collect()
}

fn group(found: &SecurityGroup) -> Result<Group, String> {
    let id = found.group_id().unwrap_or_default();
    checked(id, "sg-")?;
    let text = |value: Option<&str>, name: &str| {
        value.map(str::to_owned).ok_or_else(|| format!("{id} has no {name}"))
    };
    let owner_id = text(found.owner_id(), "owner")?;
    Ok(Group {
        id: id.to_owned(),
        arn: found.security_group_arn().unwrap_or_default().to_owned(),
        owner_id,
        name: text(found.group_name(), "name")?,
        description: found.description().unwrap_or_default().to_owned(),
        vpc_id: found.vpc_id().map(str::to_owned),
        tags: tags(found.tags()),
        ingress: rules(id, found.ip_permissions())?,
        egress: rules(id, found.ip_permissions_egress())?,
    })
}

fn tags(tags: &[Tag]) -> Tags {
    let tag = |tag: &Tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()));
    tags.iter().filter_map(tag).collect()
}

/// Takes permissions apart into rules with one peer each.
fn rules(id: &str, permissions: &[IpPermission]) -> Result<Vec<RuleSpec>, String> {
    let mut rules = Vec::new();
    for one in permissions {
        let protocol = one.ip_protocol().unwrap_or("-1").to_owned();
        let port = |port: Option<i32>| if protocol == "-1" { 0 } else { port.map_or(-1, i64::from) };
        let (from_port, to_port) = (port(one.from_port()), port(one.to_port()));
        let ranges = one.ip_ranges().iter().map(|it| (it.cidr_ip(), it.description()));
        let ranges_v6 = one.ipv6_ranges().iter().map(|it| (it.cidr_ipv6(), it.description()));
        let lists = one.prefix_list_ids().iter().map(|it| (it.prefix_list_id(), it.description()));
        let groups = one.user_id_group_pairs().iter().map(|it| (it.group_id(), it.description()));
        for (peer, about) in ranges.chain(ranges_v6).chain(lists).chain(groups) {
            let text = peer.unwrap_or_default();
            let peer = if text == id { Some(Peer::Own) } else { Peer::parse(text) };
            let peer = peer.filter(|peer| *peer != Peer::Own || text == id);
            let peer = peer.ok_or_else(|| format!("{id} has a rule for {text:?}"))?;
            let description = about.unwrap_or_default().to_owned();
            rules.push(RuleSpec { protocol: protocol.clone(), from_port, to_port, peer, description });
        }
    }
    Ok(rules)
}

/// Checks that a text is an id of AWS's.
fn checked(id: &str, prefix: &str) -> Result<(), String> {
    let rest = id.strip_prefix(prefix).unwrap_or_default();
    if (8..=64).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(format!("{id:?} is no id that begins with {prefix}"))
}

fn odd((call, what): (&'static str, &str), why: &str) -> Refusal {
    Refusal {
        call,
        what: what.to_owned(),
        code: "InvalidResponse".to_owned(),
        message: why.to_owned(),
        passing: Passing::Never,
    }
}

/// Codes with which AWS asks for fewer calls, or says that it is at fault.
const PASSING: [&str; 13] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "RequestThrottled",
    "RequestThrottledException",
    "EC2ThrottledException",
    "TooManyRequestsException",
    "SlowDown",
    "InternalError",
    "InternalFailure",
    "ServiceUnavailable",
    "Unavailable",
    "RequestTimeout",
];

/// Says in our words why a call failed.
fn refusal<E>((call, what): (&'static str, &str), error: SdkError<E>) -> Refusal
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let refusal = |code: &str, message: String, passing| Refusal {
        call,
        what: what.to_owned(),
        code: code.to_owned(),
        message,
        passing,
    };
    if let SdkError::ServiceError(service) = &error {
        let code = service.err().code().map(str::to_owned);
        let code = code.or_else(|| status.map(|status| status.to_string())).unwrap_or_default();
        let at_fault = status.is_some_and(|status| status >= 500 || status == 429);
        let passing =
            if PASSING.contains(&code.as_str()) || at_fault { Passing::Soon } else { Passing::Never };
        return refusal(&code, service.err().message().unwrap_or("no further word").to_owned(), passing);
    }
    if matches!(error, SdkError::TimeoutError(_)) {
        return refusal("Unreachable", "no answer in time".to_owned(), Passing::Soon);
    }
    let cause = innermost(&error);
    // The SDK gives a chain without credentials no kind of its own.
    if DisplayErrorContext(&error).to_string().contains("redential") {
        return refusal("NoCredentials", cause, Passing::Never);
    }
    if matches!(error, SdkError::ConstructionFailure(_)) {
        return refusal("InvalidRequest", cause, Passing::Never);
    }
    let passing = if status.is_none_or(|status| status >= 500) { Passing::Soon } else { Passing::Never };
    refusal("Unreachable", cause, passing)
}

/// The cause at the end of the chain, which is the one that says something.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
