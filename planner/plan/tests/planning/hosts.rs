//! Hosts over SSH: what they are when little is said, and what a change of their way means.

use lustre_model::plan::Action;
use lustre_model::resource::{Connection, Kind, Resource, SshSpec};

use crate::harness::{applied, nothing, planned};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINQGaZbFB7o6U0xhdIig3+WCn22zl/WmDrl+a2Escgak";

fn host(inside: &str) -> String {
    format!("host \"h\" {{\n  {inside}\n}}\n")
}

fn connection(inside: &str) -> Connection {
    let world = applied(&host(inside), &nothing());
    let object = world.objects.values().next().expect("a host");
    let read = Resource::from_attributes(Kind::Host, &object.attributes).expect("it can be read");
    let Resource::Host(spec) = read else { panic!("{read:?}") };
    spec.connection
}

fn ssh(inside: &str) -> SshSpec {
    match connection(inside) {
        Connection::Ssh(spec) => *spec,
        Connection::Local => panic!("{inside} is local"),
    }
}

#[test]
fn who_gives_a_login_means_ssh_and_who_gives_nothing_means_this_machine() {
    assert_eq!(connection(""), Connection::Local);
    assert_eq!(connection("address = \"10.0.0.1\""), Connection::Local);
    let spec = ssh("connection = \"ssh\"\n  address = \"10.0.0.1\"");
    assert_eq!((spec.user.as_str(), spec.port, spec.agent), ("root", 22, true));
    assert_eq!((spec.identity_file, spec.host_key, spec.jump), (None, None, None));
    assert_eq!(ssh("address = \"10.0.0.1\"\n  user = \"ops\"").user, "ops");
    assert_eq!(ssh("address = \"10.0.0.1\"\n  ssh {\n  port = 2222\n  agent = false\n  }").port, 2222);
}

#[test]
fn all_that_a_spec_says_of_the_way_arrives() {
    let spec = ssh(&format!(
        "address = \"h\"\n  user = \"ops\"\n  ssh {{\n  identity_file = \"~/.ssh/k\"\n  host_key = \"{KEY}\"\n  \
         known_hosts_file = \"/etc/known\"\n  jump {{\n  address = \"j\"\n  port = 23\n  host_key = \"{KEY}\"\n  }}\n  }}"
    ));
    assert_eq!(spec.identity_file.as_deref(), Some("~/.ssh/k"));
    assert_eq!(spec.host_key.as_deref(), Some(KEY));
    assert_eq!(spec.known_hosts_file.as_deref(), Some("/etc/known"));
    let jump = spec.jump.expect("a host on the way");
    assert_eq!((jump.address.as_str(), jump.user.as_str(), jump.port), ("j", "root", 23));
    assert_eq!((jump.host_key.as_deref(), jump.identity_file), (Some(KEY), None));
}

#[test]
fn another_login_is_another_way_to_the_same_host_and_another_address_is_another_host() {
    let world = applied(&host("address = \"10.0.0.1\"\n  user = \"ops\""), &nothing());
    for (inside, expected) in [
        ("address = \"10.0.0.1\"\n  user = \"ops\"", Action::NoOp),
        ("address = \"10.0.0.1\"\n  user = \"root\"", Action::Update),
        ("address = \"10.0.0.1\"\n  user = \"ops\"\n  ssh {\n  port = 23\n  }", Action::Update),
        ("address = \"10.0.0.1\"\n  user = \"ops\"\n  ssh {\n  }", Action::NoOp),
        ("address = \"10.0.0.2\"\n  user = \"ops\"", Action::Replace),
        ("address = \"10.0.0.1\"\n  user = \"ops\"\n  path = \"/srv/agent\"", Action::Replace),
        ("address = \"10.0.0.1\"\n  connection = \"local\"", Action::Replace),
    ] {
        let plan = planned(&host(inside), &world);
        let action = plan.changes().first().expect("a change").action;
        assert_eq!(action, expected, "{inside}");
    }
}
