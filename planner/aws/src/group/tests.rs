//! Security groups against EC2 in memory: what is made once, what is found, what goes wrong at each call.

use std::sync::Arc;

use lustre_model::resource::{Kind, Resource};

use super::*;
use crate::fake::Fault;
use crate::lab::Lab;

fn rule(text: &str, peer: &str, description: &str) -> RuleSpec {
    let (protocol, ports) = text.split_once(' ').unwrap();
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    RuleSpec {
        protocol: protocol.to_owned(),
        from_port: from.parse().unwrap(),
        to_port: to.parse().unwrap(),
        peer: Peer::parse(peer).unwrap(),
        description: description.to_owned(),
    }
}

/// A deployment with one group.
fn new_lab() -> Lab {
    let mut lab = Lab::new(Kind::SecurityGroup, "a");
    for (name, text) in [("name", "lustre"), ("description", "d")] {
        lab.attributes.insert(name.to_owned(), Value::from(text));
    }
    lab.wants(&[rule("tcp 988", "self", "")], &[("Name", "lustre")]);
    lab
}

impl Lab {
    fn wants(&mut self, ingress: &[RuleSpec], tags: &[(&str, &str)]) {
        let rules = |rules: &[RuleSpec]| Value::tuple(rules.iter().map(RuleSpec::to_value).collect());
        self.attributes.insert("ingress".to_owned(), rules(ingress));
        self.attributes.insert("egress".to_owned(), rules(&[]));
        self.tags(tags);
    }

    fn spec(&self) -> SecurityGroupSpec {
        let read = Resource::from_attributes(Kind::SecurityGroup, &self.attributes).unwrap();
        let Resource::SecurityGroup(spec) = read else { panic!("{read:?}") };
        spec
    }

    async fn ensure(&mut self) -> Result<(), StepError> {
        let operation =
            if self.attributes.contains_key("id") { Operation::Update } else { Operation::Create };
        let left = ensure(&self.caller(), &self.task(operation, usize::MAX), &self.spec()).await?;
        self.keep(left);
        Ok(())
    }

    async fn delete(&self) -> Result<(), StepError> {
        delete(&self.caller(), &self.task(Operation::Delete, usize::MAX), &self.spec()).await
    }
}

#[tokio::test]
async fn a_group_has_exactly_the_rules_and_tags_that_were_asked_for() {
    let mut lab = new_lab();
    lab.ensure().await.unwrap();
    let [group] = lab.fake.there().try_into().unwrap();
    assert_eq!(group.ingress, [rule("tcp 988", "self", "")]);
    assert_eq!(group.egress, [], "AWS's own rule that lets everything out is gone");
    assert_eq!(own(&group.tags).collect::<Vec<_>>(), [(&"Name".to_owned(), &"lustre".to_owned())]);
    assert_eq!(observe(&lab.caller(), &lab.spec()).await.unwrap(), Observed::Same);
    let calls = lab.fake.calls().len();
    lab.ensure().await.unwrap();
    assert_eq!(lab.fake.calls()[calls..], ["DescribeSecurityGroups"], "what is right is left alone");
}

#[tokio::test]
async fn rules_change_one_by_one_and_new_ones_come_first() {
    let mut lab = new_lab();
    lab.wants(&[rule("tcp 988", "self", ""), rule("tcp 22", "10.0.0.0/16", "ssh")], &[]);
    lab.ensure().await.unwrap();
    let calls = lab.fake.calls().len();
    lab.wants(&[rule("tcp 988", "self", "lnet"), rule("tcp 22", "10.1.0.0/16", "ssh")], &[("a", "b")]);
    lab.ensure().await.unwrap();
    let changes: Vec<_> =
        lab.fake.calls()[calls..].iter().filter(|it| !it.starts_with("Describe")).copied().collect();
    let expected = [
        "AuthorizeSecurityGroup",
        "RevokeSecurityGroup",
        "UpdateSecurityGroupRuleDescriptions",
        "CreateTags",
    ];
    assert_eq!(changes, expected);
    assert_eq!(observe(&lab.caller(), &lab.spec()).await.unwrap(), Observed::Same);
}

#[tokio::test]
async fn at_the_quota_old_rules_make_room() {
    let mut lab = new_lab();
    lab.fake.limit_rules(1);
    lab.ensure().await.unwrap();
    lab.wants(&[rule("tcp 1018-1023", "self", "")], &[]);
    lab.ensure().await.unwrap();
    assert_eq!(lab.fake.there()[0].ingress, [rule("tcp 1018-1023", "self", "")]);
}

#[tokio::test]
async fn wherever_an_apply_dies_the_next_one_makes_no_second_group() {
    // It may die at either record, behind a creation whose answer was lost, or at any call.
    let calls = [
        "CreateSecurityGroup",
        "DescribeSecurityGroups",
        "AuthorizeSecurityGroup",
        "RevokeSecurityGroup",
        "CreateTags",
    ];
    for (room, call, fault) in [0, 1, usize::MAX].into_iter().flat_map(|room| {
        calls.iter().flat_map(move |call| {
            [Fault::AnswerLost, Fault::Refused("UnauthorizedOperation")].map(|fault| (room, *call, fault))
        })
    }) {
        for lag in [0, 3] {
            let mut lab = new_lab();
            lab.fake.lag(lag);
            (0..4).for_each(|_| lab.fake.fail(call, fault.clone()));
            let died = ensure(&lab.caller(), &lab.task(Operation::Create, room), &lab.spec()).await;
            let shown = format!("{room} {call} {fault:?} {lag}: {died:?}");
            lab.fake.forgive();
            lab.ensure().await.unwrap_or_else(|error| panic!("{shown}: {:?}", error.causes()));
            assert_eq!(lab.fake.there().len(), 1, "{shown}");
            assert_eq!(observe(&lab.caller(), &lab.spec()).await.unwrap(), Observed::Same, "{shown}");
            lab.delete().await.unwrap();
            assert_eq!(lab.fake.there(), [], "{shown}");
        }
    }
}

#[tokio::test]
async fn a_group_that_was_begun_and_never_finished_can_be_destroyed() {
    let lab = new_lab();
    lab.fake.fail("AuthorizeSecurityGroup", Fault::Refused("UnauthorizedOperation"));
    ensure(&lab.caller(), &lab.task(Operation::Create, 1), &lab.spec()).await.unwrap_err();
    assert_eq!(lab.fake.there().len(), 1);
    lab.delete().await.unwrap();
    assert_eq!(lab.fake.there(), []);
}

#[tokio::test]
async fn a_group_of_somebody_else_is_named_and_not_touched() {
    let mut other = new_lab();
    other.ensure().await.unwrap();
    let mut lab = new_lab();
    lab.fake = Arc::clone(&other.fake);
    // Another deployment: another token.
    lab.kept.lock().unwrap().insert(MARK.to_owned(), Secret::new("0".repeat(32)));
    let before = lab.fake.there();
    let error = lab.ensure().await.unwrap_err();
    let said = format!("{} {}", error.causes().join(": "), error.remedy().unwrap());
    assert!(said.contains("\"lustre\" (sg-00000001)") && said.contains("import {"), "{said}");
    assert_eq!(lab.fake.there(), before);
}

#[tokio::test]
async fn throttling_is_waited_out_and_shown_and_ends_at_its_limit() {
    let mut lab = new_lab();
    (0..3).for_each(|_| lab.fake.fail("CreateSecurityGroup", Fault::Throttled));
    lab.ensure().await.unwrap();
    let told = lab.told.lock().unwrap().join("\n");
    assert_eq!(told.matches("Retrying").count(), 3, "{told}");
    assert!(told.contains("CreateSecurityGroup: RequestLimitExceeded"), "{told}");
    let mut lab = new_lab();
    (0..9).for_each(|_| lab.fake.fail("CreateSecurityGroup", Fault::Throttled));
    let error = lab.ensure().await.unwrap_err();
    assert!(error.remedy().unwrap().contains("max_retries"), "{:?}", error.causes());
    assert_eq!(lab.count("CreateSecurityGroup"), 4);
}

#[tokio::test]
async fn a_group_in_use_is_waited_for_and_then_told_of() {
    let mut lab = new_lab();
    lab.ensure().await.unwrap();
    let id = lab.fake.there()[0].id.clone();
    lab.fake.used(&id, 3);
    lab.delete().await.unwrap();
    assert_eq!(lab.fake.there(), []);
    let mut lab = new_lab();
    lab.ensure().await.unwrap();
    lab.fake.used(&id, 99);
    let error = lab.delete().await.unwrap_err();
    let said = error.causes().join(": ");
    assert!(said.contains("DeleteSecurityGroup") && said.contains("DependencyViolation"), "{said}");
    assert!(error.remedy().unwrap().contains("still uses it"));
}

#[tokio::test]
async fn what_was_begun_under_another_name_goes_before_another_is_made() {
    let mut lab = new_lab();
    lab.fake.fail("AuthorizeSecurityGroup", Fault::Refused("UnauthorizedOperation"));
    lab.ensure().await.unwrap_err();
    lab.attributes.insert("name".to_owned(), Value::from("other"));
    lab.ensure().await.unwrap();
    let names: Vec<String> = lab.fake.there().into_iter().map(|group| group.name).collect();
    assert_eq!(names, ["other"]);
}

#[tokio::test]
async fn what_somebody_changed_is_found_rule_by_rule_and_repaired() {
    let mut lab = new_lab();
    lab.ensure().await.unwrap();
    lab.fake.meddle(|groups| {
        let group = groups.values_mut().next().unwrap();
        group.ingress = vec![rule("tcp 22", "0.0.0.0/0", "")];
        group.tags.insert("Name".to_owned(), "other".to_owned());
        group.tags.insert("x".to_owned(), "y".to_owned());
    });
    let Observed::Drifted(cause) = observe(&lab.caller(), &lab.spec()).await.unwrap() else { panic!() };
    for said in [
        "ingress rule tcp 22 with 0.0.0.0/0 was added",
        "ingress rule tcp 988 with self is gone",
        "tag Name is \"other\" instead of \"lustre\"",
        "tag x was added",
    ] {
        assert!(cause.contains(said), "{cause}");
    }
    lab.ensure().await.unwrap();
    assert_eq!(observe(&lab.caller(), &lab.spec()).await.unwrap(), Observed::Same);
    lab.fake.meddle(BTreeMap::clear);
    assert!(matches!(observe(&lab.caller(), &lab.spec()).await.unwrap(), Observed::Gone(_)));
    lab.delete().await.unwrap();
}

#[tokio::test]
async fn a_refusal_names_the_call_the_code_and_the_remedy() {
    for (call, code, remedy) in [
        ("CreateSecurityGroup", "UnauthorizedOperation", "ec2:CreateSecurityGroup"),
        ("CreateSecurityGroup", "VPCIdNotSpecified", "vpc_id"),
        ("CreateSecurityGroup", "SecurityGroupLimitExceeded", "quota"),
        ("DescribeSecurityGroups", "AuthFailure", "get-caller-identity"),
    ] {
        let mut lab = new_lab();
        lab.fake.fail(call, Fault::Refused(code));
        let error = lab.ensure().await.unwrap_err();
        let said = error.causes().join(": ");
        assert!(said.contains(call) && said.contains(code) && said.contains("said the fake"), "{said}");
        assert!(error.remedy().unwrap().contains(remedy), "{:?}", error.remedy());
    }
}
