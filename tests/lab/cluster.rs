//! A cluster over three machines: from nothing to files that are read back, and to nothing again.

use std::time::Duration;

use super::deployment::{Deployment, good, host};
use super::machine::{Lab, Machine};
use super::spawned::wait_until;

/// How long agents and mounts may take to come back.
const BACK_MAX: Duration = Duration::from_mins(2);

/// The unit of an agent in the folder that hosts have when they name none.
pub const UNIT: &str = "lustre-agent-var-lib-lustre.service";

/// Everything that lies on a machine's own disk, but for what systems write for themselves.
pub fn files(machine: &Machine) -> String {
    machine.sh(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /var/log -o -path '/var/lib/systemd' \
         -o -path /var/cache -o -name '.*_history' -o -path '*/.cache' \\) -prune -o -print | sort",
    )
}

/// A cluster over two machines; with a mount on a third.
pub fn spec(lab: &Lab, with_mount: bool) -> String {
    let hosts = [
        host(lab, "one", 1, ("root", &good(lab, 1))),
        host(lab, "two", 2, ("ops", &good(lab, 2))),
        host(lab, "client", 3, ("ops", &good(lab, 3))),
    ];
    let mount = r#"
mount "client" {
  cluster = cluster.lab
  host    = host.client
  path    = "/mnt/fsx"
}
"#;
    format!(
        r#"{}
cluster "lab" {{
  deployment_type = "SCRATCH_2"
  metadata {{
    host = host.one
    path = "/srv/mdt"
  }}
  storage {{
    hosts           = [host.one, host.two]
    path            = "/srv/ost"
    target_capacity = "1GiB"
  }}
  layout {{
    component {{
      stripe_count = -1
      stripe_size  = "1MiB"
    }}
  }}
}}
{}"#,
        hosts.concat(),
        if with_mount { mount } else { "" }
    )
}

#[test]
fn a_cluster_over_three_machines_is_made_used_repaired_rebooted_and_leaves_nothing() {
    let lab = Lab::up(3);
    let deployment = Deployment::new();
    let all = [lab.machine(1), lab.machine(2), lab.machine(3)];
    let before = all.map(files);
    deployment.spec(&spec(&lab, true));
    deployment.must("plan");
    assert_eq!(all.map(files), before, "a plan leaves nothing on hosts");

    deployment.must("apply -auto-approve");
    let client = lab.machine(3);
    client.sh("head -c 20000000 /dev/urandom > /mnt/fsx/data; mkdir -p /mnt/fsx/a/b; echo hello > /mnt/fsx/a/b/c; sync");
    let sum = client.sh("sha256sum < /mnt/fsx/data");
    assert_eq!(deployment.lustre("plan -detailed-exitcode").code, Some(0), "nothing is to be done");
    let again = deployment.must("apply -auto-approve");
    assert!(again.contains("No changes"), "{again}");

    // Another mount has nothing in its caches.
    deployment.spec(&spec(&lab, false));
    deployment.must("apply -auto-approve");
    assert_ne!(client.try_sh("mountpoint -q /mnt/fsx").code, Some(0));
    deployment.spec(&spec(&lab, true));
    deployment.must("apply -auto-approve");
    assert_eq!(client.sh("sha256sum < /mnt/fsx/data; cat /mnt/fsx/a/b/c"), format!("{sum}\nhello"));

    // Killed, an agent is started by systemd; stopped, by the next apply. Its targets go on meanwhile.
    let two = lab.machine(2);
    let killed = two.sh(&format!("systemctl show -p MainPID --value {UNIT}"));
    two.sh(&format!("kill -9 {killed}"));
    wait_until("the agent is there again", BACK_MAX, || deployment.lustre("status").code == Some(0));
    two.sh(&format!("systemctl stop {UNIT}"));
    assert_eq!(client.sh("sha256sum < /mnt/fsx/data"), sum);
    assert_eq!(
        deployment.lustre("plan -detailed-exitcode").code,
        Some(2),
        "an agent that is stopped is drift"
    );
    deployment.must("apply -auto-approve");
    assert_eq!(deployment.lustre("plan -detailed-exitcode").code, Some(0), "it was repaired");

    // A reboot of everything.
    for machine in all {
        machine.reboot();
    }
    wait_until("all is there again", BACK_MAX, || deployment.lustre("status").code == Some(0));
    wait_until("the mount answers", BACK_MAX, || {
        client.try_sh("cat /mnt/fsx/a/b/c").stdout.trim() == "hello"
    });
    assert_eq!(client.sh("sha256sum < /mnt/fsx/data"), sum);
    assert_eq!(deployment.lustre("plan -detailed-exitcode").code, Some(0), "a reboot is no change");

    deployment.must("destroy -auto-approve -allow-data-loss=cluster.lab");
    for (machine, before) in all.iter().zip(&before) {
        assert_eq!(files(machine), *before, "{} is as it was", machine.name);
        assert_eq!(machine.try_sh("pgrep -a lustre").stdout, "");
        wait_until("systemd has forgotten the unit", BACK_MAX, || {
            machine.sh("systemctl list-units --all --no-legend 'lustre*'").is_empty()
        });
    }
}

#[test]
fn an_agent_that_cannot_start_is_told_of_with_its_last_words_and_the_next_apply_goes_on() {
    let lab = Lab::up(1);
    let (machine, deployment) = (lab.machine(1), Deployment::new());
    let before = files(machine);
    deployment.spec(&host(&lab, "one", 1, ("ops", &good(&lab, 1))));
    deployment.must("plan -out=saved");
    // Somebody takes its port between plan and apply.
    machine
        .sh("systemd-run --quiet --unit=taker systemd-socket-activate --listen=0.0.0.0:7988 /bin/sleep 600");
    wait_until("the port is taken", BACK_MAX, || machine.sh("ss -Hltn sport = 7988").contains("7988"));
    let said = deployment.lustre("apply saved");
    assert_eq!(said.code, Some(1), "{}", said.all());
    let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("its last words") && text.contains("7988"), "{}", said.all());
    let said = deployment.lustre("plan");
    assert!(said.all().contains("E0904"), "the plan finds it too: {}", said.all());
    machine.sh("systemctl stop taker");
    deployment.must("apply -auto-approve");
    assert_eq!(deployment.lustre("plan -detailed-exitcode").code, Some(0));
    deployment.must("destroy -auto-approve");
    assert_eq!(files(machine), before);
}
