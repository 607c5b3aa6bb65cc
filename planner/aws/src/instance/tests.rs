//! Instances against EC2 in memory: launched once wherever an apply dies, repaired, made anew, terminated.

use lustre_model::plan::Operation;
use lustre_model::resource::{Kind, Resource};

use super::*;
use crate::fake::Fault;
use crate::lab::Lab;

/// A deployment with one instance.
fn lab() -> Lab {
    let mut lab = Lab::new(Kind::Instance, "a");
    for (name, value) in [
        ("ami", Value::from("ami-0123456789abcdef0")),
        ("instance_type", Value::from("i4i.large")),
        ("disable_api_termination", Value::from(false)),
        ("vpc_security_group_ids", Value::strings(["sg-00000001"])),
        ("ssh_authorized_keys", Value::strings(["ssh-ed25519 AAAA me"])),
    ] {
        lab.attributes.insert(name.to_owned(), value);
    }
    lab.tags(&[("Name", "oss")]);
    lab
}

fn spec(lab: &Lab) -> InstanceSpec {
    let read = Resource::from_attributes(Kind::Instance, &lab.attributes).unwrap();
    let Resource::Instance(spec) = read else { panic!("{read:?}") };
    *spec
}

async fn try_ensure(lab: &Lab, room: usize) -> Result<Left, StepError> {
    let operation = if lab.attributes.contains_key("id") { Operation::Update } else { Operation::Create };
    ensure(&lab.caller(), &lab.task(operation, room), &spec(lab)).await
}

async fn must_ensure(lab: &mut Lab) {
    let left = try_ensure(lab, usize::MAX).await.unwrap_or_else(|error| panic!("{:?}", error.causes()));
    lab.keep(left);
}

async fn observed(lab: &Lab) -> Observed {
    observe(&lab.caller(), &spec(lab)).await.unwrap()
}

async fn destroy(lab: &Lab) -> Result<(), StepError> {
    delete(&lab.caller(), &lab.task(Operation::Delete, usize::MAX), &spec(lab)).await
}

#[tokio::test]
async fn an_instance_runs_with_its_key_when_its_step_ends() {
    let mut lab = lab();
    must_ensure(&mut lab).await;
    let [machine] = lab.fake.alive().try_into().unwrap();
    assert_eq!(machine.life, Life::Running);
    assert_eq!(lab.attributes["private_ip"].as_str(), machine.private_ip.as_deref());
    assert!(lab.attributes["host_key"].as_str().unwrap().starts_with("ssh-ed25519 AAAA"));
    assert_eq!(observed(&lab).await, Observed::Same);
    let calls = lab.fake.calls().len();
    must_ensure(&mut lab).await;
    assert_eq!(lab.fake.calls()[calls..], ["DescribeInstances", "DescribeInstanceAttribute"]);
}

#[tokio::test]
async fn wherever_an_apply_dies_the_next_one_launches_nothing_twice() {
    let calls = ["RunInstances", "DescribeInstances", "DescribeInstanceAttribute"];
    for room in [0, 1, usize::MAX] {
        for call in calls {
            for fault in [Fault::AnswerLost, Fault::Refused("UnauthorizedOperation")] {
                for lag in [0, 3] {
                    let mut lab = lab();
                    lab.fake.lag(lag);
                    (0..4).for_each(|_| lab.fake.fail(call, fault.clone()));
                    let died = try_ensure(&lab, room).await.map(drop);
                    let shown = format!("{room} {call} {fault:?} {lag}: {died:?}");
                    lab.fake.forgive();
                    must_ensure(&mut lab).await;
                    assert_eq!(lab.fake.launched(), 1, "{shown}");
                    assert_eq!(observed(&lab).await, Observed::Same, "{shown}");
                    destroy(&lab).await.unwrap();
                    assert_eq!(lab.fake.alive(), [], "{shown}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_begun_otherwise_goes_before_another_is_launched() {
    let mut lab = lab();
    lab.fake.fail("DescribeInstanceAttribute", Fault::Refused("UnauthorizedOperation"));
    try_ensure(&lab, usize::MAX).await.unwrap_err();
    lab.attributes.insert("instance_type".to_owned(), Value::from("i4i.xlarge"));
    must_ensure(&mut lab).await;
    let [machine] = lab.fake.alive().try_into().unwrap();
    assert_eq!(machine.instance_type, "i4i.xlarge");
}

#[tokio::test]
async fn a_launch_that_ends_before_it_runs_says_why_and_the_next_is_another() {
    let mut lab = lab();
    lab.fake.launches_end(Some("Server.InsufficientInstanceCapacity: no capacity"));
    let error = try_ensure(&lab, usize::MAX).await.unwrap_err();
    let said = format!("{} {}", error.causes().join(": "), error.remedy().unwrap());
    assert!(said.contains("no capacity") && said.contains("subnet of another zone"), "{said}");
    assert_eq!(lab.fake.alive(), []);
    lab.fake.launches_end(None);
    must_ensure(&mut lab).await;
    assert_eq!((lab.fake.alive().len(), lab.fake.launched()), (1, 2));
}

#[tokio::test]
async fn what_changed_is_found_and_repaired_and_what_ended_is_gone() {
    let mut lab = lab();
    must_ensure(&mut lab).await;
    let id = lab.fake.alive()[0].id.clone();
    lab.fake.meddle_with(&id, |machine| {
        machine.life = Life::Stopped;
        machine.groups = vec!["sg-00000009".to_owned()];
        machine.metadata_by_token = false;
        machine.tags.remove("Name");
    });
    let Observed::Drifted(cause) = observed(&lab).await else { panic!() };
    for said in ["it is stopped", "its security groups are sg-00000009", "IMDSv1", "tag Name is gone"] {
        assert!(cause.contains(said), "{cause}");
    }
    must_ensure(&mut lab).await;
    assert_eq!(observed(&lab).await, Observed::Same);
    lab.fake.meddle_with(&id, |machine| {
        machine.life = Life::Terminated;
        machine.reason = Some("Server.SpotInstanceTermination".to_owned());
    });
    let Observed::Gone(cause) = observed(&lab).await else { panic!() };
    assert!(cause.contains("SpotInstanceTermination"), "{cause}");
    destroy(&lab).await.unwrap();
}

#[tokio::test]
async fn protection_is_as_the_spec_says_and_keeps_it_from_being_destroyed() {
    let mut lab = lab();
    lab.attributes.insert("disable_api_termination".to_owned(), Value::from(true));
    must_ensure(&mut lab).await;
    let error = destroy(&lab).await.unwrap_err();
    assert!(error.remedy().unwrap().contains("protected"), "{:?}", error.causes());
    lab.attributes.insert("disable_api_termination".to_owned(), Value::from(false));
    must_ensure(&mut lab).await;
    destroy(&lab).await.unwrap();
    assert_eq!(lab.fake.alive(), []);
}

#[tokio::test]
async fn the_first_boot_gets_the_key_that_the_spec_will_know_it_by() {
    use base64::Engine as _;
    let mut lab = lab();
    must_ensure(&mut lab).await;
    let id = lab.fake.alive()[0].id.clone();
    let data = base64::engine::general_purpose::STANDARD.decode(lab.fake.asked(&id).user_data).unwrap();
    let data = String::from_utf8(data).unwrap();
    assert!(data.contains(lab.attributes["host_key"].as_str().unwrap()), "{data}");
    assert!(data.contains("ssh-ed25519 AAAA me"), "{data}");
}
