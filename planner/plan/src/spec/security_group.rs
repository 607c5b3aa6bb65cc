//! `security_group`: a security group of EC2, with the fields that Terraform users know.
//!
//! ```text
//! ingress { from_port = 988  to_port = 988  protocol = "tcp"  self = true  cidr_blocks = ["10.0.0.0/16"] }
//!   ─▶ [ tcp 988 self, tcp 988 10.0.0.0/16 ]      one rule for each peer, in one order whatever the spec's
//! ```
//! The rules are all that the group has: what AWS adds by itself goes, and what somebody else adds is drift.
//! Invariant: two rules that AWS would take for one are one, or refused.

use core::net::{Ipv4Addr, Ipv6Addr};

use lustre_language::Block;
use lustre_model::diagnostic::{Diagnostic, Span};
use lustre_model::resource::{Attributes, AwsAccess};
use lustre_model::types::Type;
use lustre_model::value::Value;

use super::reader::{Need, Reader, any, attributes};
use super::tags;

/// What is said when nothing is; AWS demands something.
const DESCRIPTION: &str = "Managed by lustre";

/// Protocols by the numbers that AWS turns into names.
const PROTOCOLS: [(&str, &str); 5] =
    [("6", "tcp"), ("17", "udp"), ("1", "icmp"), ("58", "icmpv6"), ("all", "-1")];

pub fn decode(reader: &mut Reader<'_>) -> Attributes {
    reader.refuse("name_prefix", "Names are as the spec says them; give it one with `name`.");
    reader
        .refuse("revoke_rules_on_delete", "It is always so: the rules of a group go before the group does.");
    let provider = reader.attribute(AwsAccess::PROVIDER, Need::Optional).map(|it| it.value.clone());
    let label = reader.address().name.clone();
    let name = reader.text("name", Need::Optional, group_name);
    let name = name.or_else(|| {
        reader.attribute("name", Need::Optional).is_none().then(|| Value::from(label.replace('_', "-")))
    });
    let description = reader.text("description", Need::Optional, described);
    let vpc_id = reader.text("vpc_id", Need::Optional, |text| id(text, "vpc-"));
    let own_tags = tags::read(reader, "tags");
    let ingress = rules(reader, "ingress");
    let egress = rules(reader, "egress");
    let all = tags::all(provider.as_ref().and_then(|it| it.get("default_tags")), own_tags.as_ref());
    let mut decoded = attributes([
        ("name", name),
        ("description", description.or_else(|| Some(Value::from(DESCRIPTION)))),
        ("vpc_id", vpc_id),
        ("ingress", ingress),
        ("egress", egress),
        ("tags", own_tags),
        ("tags_all", Some(all)),
    ]);
    decoded.extend(reached(provider.as_ref()));
    decoded
}

/// Returns what objects in AWS record of how they are reached.
pub fn reached(provider: Option<&Value>) -> Attributes {
    let Some(all) = provider.and_then(Value::as_map) else { return Attributes::new() };
    let way = all.iter().filter(|(name, _)| !matches!(name.as_str(), "region" | "default_tags"));
    let way = Value::object(way.map(|(name, value)| (name.clone(), value.clone())));
    attributes([("region", all.get("region").cloned()), (AwsAccess::PROVIDER, Some(way))])
}

/// Says what is wrong with a text.
type Check = fn(&str) -> Result<(), String>;

/// A rule with what it is sorted by.
struct Rule {
    /// Protocol, ports, and the sort of peer; then the peer, but for groups, which stay in the order of the spec, for their ids
    /// may not be known.
    order: (String, i64, i64, u8, String),
    value: Value,
    span: Span,
}

fn rules(reader: &mut Reader<'_>, direction: &'static str) -> Option<Value> {
    let before: Vec<Option<Vec<Rule>>> = reader
        .blocks(direction)
        .into_iter()
        .map(|block| reader.nested(&format!("{direction} block"), block, |reader| rule(reader, block)))
        .collect();
    let mut rules: Vec<Rule> =
        before.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
    rules.sort_by(|a, b| a.order.cmp(&b.order));
    let mut kept: Vec<Rule> = Vec::new();
    for rule in rules {
        let known = rule.value.is_wholly_known();
        let twin = kept.iter().find(|other| known && same_traffic(&other.value, &rule.value));
        match twin {
            Some(twin) if twin.value == rule.value => {}
            Some(twin) => {
                let summary = format!("two {direction} rules allow the same, with different descriptions");
                let diagnostic = Diagnostic::error("E1045", summary).at(rule.span);
                reader.push(diagnostic.related(twin.span, "the other one is here").hint("Keep one of them."));
                return None;
            }
            None => kept.push(rule),
        }
    }
    Some(Value::tuple(kept.into_iter().map(|rule| rule.value).collect()))
}

fn same_traffic(one: &Value, other: &Value) -> bool {
    ["protocol", "from_port", "to_port", "peer"].iter().all(|name| one.get(name) == other.get(name))
}

/// Reads a block into a rule for each peer. All of it is read, whatever is wrong with a part.
fn rule(reader: &mut Reader<'_>, block: &Block) -> Option<Vec<Rule>> {
    let protocol = known_text(reader, "protocol", protocol);
    let named = |text: &str| PROTOCOLS.iter().find(|(number, _)| *number == text).map(|it| it.1.to_owned());
    let protocol = protocol.map(|text| named(&text).unwrap_or(text));
    let ports = ports(reader, protocol.as_deref());
    let description = reader.text("description", Need::Optional, rule_described);
    let description = description.unwrap_or_else(|| Value::from(""));
    let own = reader.flag("self", false);
    let mut peers: Vec<(u8, Value)> = Vec::new();
    let mut sound = true;
    match own.as_ref().map(Value::as_bool) {
        Some(Some(true)) => peers.push((0, Value::from("self"))),
        Some(Some(false)) => {}
        Some(None) | None => {
            own.and_then(|own| reader.known("self", (own, block.span)));
            sound = false;
        }
    }
    let lists: [(&'static str, u8, Check); 4] = [
        ("cidr_blocks", 1, cidr_v4),
        ("ipv6_cidr_blocks", 2, cidr_v6),
        ("prefix_list_ids", 3, |text| id(text, "pl-")),
        ("security_groups", 4, |text| id(text, "sg-")),
    ];
    for (name, sort, check) in lists {
        match list(reader, name, check) {
            Ok(found) => peers.extend(found.into_iter().map(|value| (sort, value))),
            Err(()) => sound = false,
        }
    }
    let protocol = protocol?;
    let (from, to) = ports?;
    if !sound {
        return None;
    }
    if peers.is_empty() {
        let summary = "a rule names nobody at the other end".to_owned();
        let hint =
            "Say `self = true`, `cidr_blocks`, `ipv6_cidr_blocks`, `prefix_list_ids` or `security_groups`.";
        reader.push(Diagnostic::error("E1046", summary).hint(hint).at(block.span));
        return None;
    }
    let rule = |(sort, peer): (u8, Value)| {
        let by = if sort == 4 { "" } else { peer.as_str().unwrap_or_default() };
        let order = (protocol.clone(), from, to, sort, by.to_owned());
        let value = Value::object([
            ("protocol", Value::from(protocol.as_str())),
            ("from_port", Value::from(from)),
            ("to_port", Value::from(to)),
            ("peer", peer),
            ("description", description.clone()),
        ]);
        Rule { order, value, span: block.span }
    };
    Some(peers.into_iter().map(rule).collect())
}

/// Reads both ports; those of all protocols mean nothing and are 0.
fn ports(reader: &mut Reader<'_>, protocol: Option<&str>) -> Option<(i64, i64)> {
    let (need, range) = match protocol {
        Some("-1") | None => (Need::Optional, -1..=65_535),
        Some("icmp" | "icmpv6") => (Need::Required, -1..=255),
        Some(_) => (Need::Required, 0..=65_535),
    };
    let mut port = |name: &'static str| {
        let value = reader.number(name, need, range.clone())?;
        let span = reader.attribute(name, Need::Optional)?.span;
        reader.known(name, (value, span))?.0.as_i64()
    };
    let (from, to) = (port("from_port"), port("to_port"));
    if protocol? == "-1" {
        return Some((0, 0));
    }
    let (from, to) = (from?, to?);
    if from > to && !protocol?.starts_with("icmp") {
        let summary = format!("`to_port` {to} lies before `from_port` {from}");
        let hint = "Both ends belong to the range; a single port is both.";
        reader.push(Diagnostic::error("E1046", summary).hint(hint).at(reader.span()));
        return None;
    }
    Some((from, to))
}

/// Reads a list whose length is known; elements may be unknown only for groups, whose ids come with them.
fn list(reader: &mut Reader<'_>, name: &'static str, check: Check) -> Result<Vec<Value>, ()> {
    if reader.attribute(name, Need::Optional).is_none() {
        reader.typed(name, &Type::list(Type::String), Need::Optional);
        return Ok(Vec::new());
    }
    let (value, span) = reader.typed(name, &Type::list(Type::String), Need::Optional).ok_or(())?;
    let may_come = name == "security_groups" && value.is_known();
    let value = if may_come { value } else { reader.known(name, (value, span)).ok_or(())?.0 };
    for item in value.parts() {
        if let Some(Err(reason)) = item.as_str().map(check) {
            return reader.invalid::<()>(name, item, (&reason, span)).map(|()| Vec::new()).ok_or(());
        }
    }
    Ok(value.parts().cloned().collect())
}

fn known_text(reader: &mut Reader<'_>, name: &'static str, check: Check) -> Option<String> {
    let value = reader.text(name, Need::Required, check)?;
    let span = reader.attribute(name, Need::Optional)?.span;
    reader.known(name, (value, span))?.0.as_str().map(str::to_owned)
}

fn protocol(text: &str) -> Result<(), String> {
    let named = ["tcp", "udp", "icmp", "icmpv6", "all", "-1"].contains(&text);
    let numbered = text.parse::<u8>().is_ok_and(|number| number.to_string() == text);
    if named || numbered {
        return Ok(());
    }
    Err("It is tcp, udp, icmp, icmpv6, -1 for all, or the number of a protocol.".to_owned())
}

/// What AWS takes in names and descriptions.
fn plain(text: &str) -> bool {
    text.chars().all(|one| one.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(one))
}

fn group_name(text: &str) -> Result<(), String> {
    let good = (1..=255).contains(&text.len()) && plain(text) && !text.starts_with("sg-");
    if good && text != "default" && text.trim() == text {
        return Ok(());
    }
    Err("It has 1 to 255 letters, digits, blanks and ._-:/()#,@[]+=&;{}!$*, does not begin with sg-, and is not \"default\"."
        .to_owned())
}

fn described(text: &str) -> Result<(), String> {
    if (1..=255).contains(&text.len()) && plain(text) {
        return Ok(());
    }
    Err("It has 1 to 255 letters, digits, blanks and ._-:/()#,@[]+=&;{}!$*.".to_owned())
}

fn rule_described(text: &str) -> Result<(), String> {
    if text.is_empty() { any(text) } else { described(text) }
}

/// Accepts what AWS gives objects as ids.
pub fn id(text: &str, prefix: &str) -> Result<(), String> {
    let rest = text.strip_prefix(prefix).unwrap_or_default();
    if (8..=64).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(format!("It is an id such as {prefix}0123456789abcdef0."))
}

fn cidr_v4(text: &str) -> Result<(), String> {
    let expected = || "It is a range of IPv4 addresses such as 10.0.0.0/16.".to_owned();
    let (address, bits) = text.split_once('/').ok_or_else(expected)?;
    let address: Ipv4Addr = address.parse().map_err(|_| expected())?;
    let bits = bits.parse::<u32>().ok().filter(|bits| *bits <= 32).ok_or_else(expected)?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    same(text, format!("{}/{bits}", Ipv4Addr::from(u32::from(address) & mask)))
}

fn cidr_v6(text: &str) -> Result<(), String> {
    let expected = || "It is a range of IPv6 addresses such as fd00::/8.".to_owned();
    let (address, bits) = text.split_once('/').ok_or_else(expected)?;
    let address: Ipv6Addr = address.parse().map_err(|_| expected())?;
    let bits = bits.parse::<u32>().ok().filter(|bits| *bits <= 128).ok_or_else(expected)?;
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    same(text, format!("{}/{bits}", Ipv6Addr::from(u128::from(address) & mask)))
}

/// AWS would write it otherwise, and every plan would find that it differs.
fn same(text: &str, canonical: String) -> Result<(), String> {
    if text == canonical {
        Ok(())
    } else {
        Err(format!("AWS writes this range as {canonical}: write it so."))
    }
}
