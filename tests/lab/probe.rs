//! What plan says of hosts that cannot work, all of them in one run, and that it leaves nothing there.

use fs_err as fs;

use super::deployment::{Deployment, good, host};
use super::machine::Lab;

#[test]
fn a_plan_tells_of_every_host_that_cannot_be_worked_on_with_cause_and_remedy() {
    let mut lab = Lab::up(2);
    let other = fs::read_to_string(lab.path("other.pub")).expect("a key");
    let other = other.trim().trim_end_matches(" lab");
    lab.turn_off(2);
    let machine = lab.machine(1);
    let key = &machine.host_key;
    let hosts = [
        host(&lab, "stranger", 1, ("root", &format!("host_key = \"{other}\""))),
        host(&lab, "unknown", 1, ("root", "")).replace("user ", "control_port = 7001\n  user "),
        host(
            &lab,
            "refused",
            1,
            (
                "root",
                &format!("host_key = \"{key}\"\n    identity_file = \"{}\"", lab.path("id_other").display()),
            ),
        )
        .replace("user ", "control_port = 7002\n  user "),
        host(&lab, "asked", 1, ("asked", &good(&lab, 1))).replace("user ", "control_port = 7003\n  user "),
        host(&lab, "down", 2, ("root", &good(&lab, 2))),
    ];
    let apart: Vec<String> = hosts
        .iter()
        .enumerate()
        .map(|(at, block)| {
            block.replacen("address", &format!("path = \"/var/lib/lustre{at}\"\n  address"), 1)
        })
        .collect();
    let deployment = Deployment::new();
    deployment.spec(&apart.concat());
    let begun = std::time::Instant::now();
    let said = deployment.lustre("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    let line = format!("{} {key}", machine.address);
    for part in [
        "host.stranger may be another machine",
        "IS NOT THE ONE AT `ssh.host_key` of the spec",
        "host.unknown may be another machine",
        line.as_str(),
        "host.refused does not let us in",
        "id_other",
        "authorized_keys",
        "host.asked does not let us be root",
        "asked ALL=(ALL) NOPASSWD: ALL",
        "host.down cannot be reached over SSH",
        "E0908",
        "E0909",
        "E0910",
        "E0911",
    ] {
        let text = said.stderr.replace(['\n', '│'], " ");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(part), "no `{part}` in:\n{}", said.stderr);
    }
    assert!(begun.elapsed().as_secs() < 45, "hosts are asked at once: {:?}", begun.elapsed());
}

#[test]
fn a_plan_looks_at_a_host_with_a_copy_of_the_agent_and_takes_it_away_again() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    let list = "find /tmp /var/tmp /dev/shm /var/lib /etc /srv /root -xdev | sort";
    let before = machine.sh(list);
    machine.sh("mount -t tmpfs -o noexec,mode=1777 tmpfs /tmp");
    machine.sh("mkdir /srv/mdt; echo taken > /srv/mdt/file; (nohup sh -c 'while :; do sleep 60; done' >/dev/null 2>&1 &)");
    let deployment = Deployment::new();
    let cluster = r#"
cluster "lab" {
  deployment_type = "SCRATCH_2"
  metadata {
    host = host.one
    path = "/srv/mdt/file"
  }
  storage {
    hosts           = host.one
    path            = "/srv/ost"
    target_capacity = "1GiB"
  }
}
"#;
    deployment.spec(&format!("{}{cluster}", host(&lab, "one", 1, ("ops", &good(&lab, 1)))));
    let said = deployment.lustre("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("E0902") && said.stderr.contains("/srv/mdt/file"), "{}", said.stderr);
    machine.sh("rm -r /srv/mdt; umount /tmp");
    assert_eq!(machine.sh(list), before);
    deployment.must("plan");
    assert_eq!(machine.sh(list), before);
    // Nowhere to run from.
    machine.sh("for f in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o noexec tmpfs $f; done; mount -o remount,noexec /run");
    let said = deployment.lustre("plan");
    assert_eq!(said.code, Some(1), "{}", said.all());
    assert!(said.stderr.contains("lets it run"), "{}", said.stderr);
    assert_eq!(machine.sh("find /tmp /var/tmp /dev/shm /run -name 'lustre*'"), "");
}

#[test]
fn a_plan_tells_of_clocks_that_are_off_and_of_machines_of_another_kind() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    let deployment = Deployment::new();
    deployment.spec(&host(&lab, "one", 1, ("ops", &good(&lab, 1))));
    let said_by = |deployment: &Deployment| {
        let said = deployment.lustre("plan");
        let text = said.stderr.replace(['\n', '│'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
        (said.code, text)
    };
    // All machines of the lab have one clock: `date` is what lies.
    for (shift, words) in [("+190 seconds", "s ahead of"), ("-1 hour", "s behind")] {
        machine.sh(&format!(
            "cp -n /bin/date /bin/date.own; printf '#!/bin/sh\nexec /bin/date.own -d \"{shift}\" \"$@\"\n' > /bin/date.new
             chmod 755 /bin/date.new; mv /bin/date.new /bin/date"
        ));
        let (code, text) = said_by(&deployment);
        assert_eq!(code, Some(1), "{text}");
        for part in ["E1001", "host.one has another time", words, "timedatectl set-ntp true"] {
            assert!(text.contains(part), "no `{part}` in: {text}");
        }
    }
    machine.sh("mv /bin/date.own /bin/date");
    machine.sh(
        r#"mv /bin/uname /bin/uname.own
           printf '#!/bin/sh\n[ "$1" = -m ] || printf "Linux "\necho riscv64\n' > /bin/uname; chmod 755 /bin/uname"#,
    );
    let (code, text) = said_by(&deployment);
    assert_eq!(code, Some(1), "{text}");
    for part in
        ["E0912", "host.one has the wrong architecture", "riscv64", "run lustre of the host's architecture"]
    {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
    machine.sh("mv /bin/uname.own /bin/uname");
    deployment.must("plan");
}
