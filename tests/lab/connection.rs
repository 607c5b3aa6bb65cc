//! The connection itself: who is let in, who is believed, and what is done there.

use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use lustre_apply::connection::{
    Command, Connection, ConnectionError, Found, Source, Ssh, SshError, Surroundings, run_ok,
};
use lustre_model::resource::{JumpSpec, SshSpec};

use super::conformance;
use super::machine::{Lab, make_key};
use super::spawned::{must, run, wait_until};

fn spec(lab: &Lab, user: &str) -> SshSpec {
    SshSpec {
        user: user.to_owned(),
        port: 22,
        identity_file: Some(lab.path("id").display().to_string()),
        host_key: None,
        known_hosts_file: Some(lab.path("known_hosts").display().to_string()),
        agent: false,
        jump: None,
    }
}

fn host(lab: &Lab, number: usize, spec: SshSpec) -> Ssh {
    with(lab, number, spec, Surroundings::default())
}

fn with(lab: &Lab, number: usize, spec: SshSpec, surroundings: Surroundings) -> Ssh {
    Ssh::new(format!("host.n{number}"), &lab.machine(number).address, spec, surroundings)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

async fn whoami(host: &Ssh) -> Result<String, ConnectionError> {
    let said = run_ok(host, &Command::new("id", &["-un"])).await?;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

async fn refused(host: &Ssh) -> SshError {
    match whoami(host).await {
        Err(ConnectionError::Ssh { source, .. }) => *source,
        other => panic!("it should be refused: {other:?}"),
    }
}

#[test]
fn a_host_over_ssh_does_what_this_machine_does_as_root_and_through_sudo() {
    let lab = Lab::up(1);
    runtime().block_on(async {
        for user in ["root", "ops"] {
            let host = host(&lab, 1, spec(&lab, user));
            assert_eq!(whoami(&host).await.expect("run"), "root");
            conformance::run(&host, Path::new("/srv/list")).await;
            host.close().await;
        }
    });
    assert_eq!(lab.machine(1).sh("ls -A /srv"), "");
}

#[test]
fn who_answers_must_have_the_key_that_the_spec_or_known_hosts_say() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    let other = fs::read_to_string(lab.path("other.pub")).expect("a key");
    let other: Vec<&str> = other.split(' ').take(2).collect();
    let other = other.join(" ");
    runtime().block_on(async {
        let pinned = |key: &str| SshSpec { host_key: Some(key.to_owned()), ..spec(&lab, "root") };
        assert_eq!(whoami(&host(&lab, 1, pinned(&machine.host_key))).await.expect("it is the key"), "root");
        let error = refused(&host(&lab, 1, pinned(&other))).await;
        assert!(matches!(error, SshError::ChangedHostKey { .. }), "{error}");

        let known = lab.path("known");
        let believing =
            || SshSpec { known_hosts_file: Some(known.display().to_string()), ..spec(&lab, "root") };
        let error = refused(&host(&lab, 1, believing())).await;
        let SshError::UnknownHostKey { line, .. } = &error else { panic!("{error}") };
        assert_eq!(*line, format!("{} {}", machine.address, machine.host_key));
        // As told, and hashed by OpenSSH itself.
        fs::write(&known, format!("{line}\n")).expect("written");
        let mut hash = Program::new("ssh-keygen");
        hash.args(["-q", "-H", "-f"]).arg(&known);
        must(hash);
        assert_eq!(whoami(&host(&lab, 1, believing())).await.expect("it is known"), "root");
        fs::write(&known, format!("{} {other}\n", machine.address)).expect("written");
        let error = refused(&host(&lab, 1, believing())).await;
        assert!(matches!(error, SshError::ChangedHostKey { .. }), "{error}");
        let revoked = format!("{0} {1}\n@revoked * {1}\n", machine.address, machine.host_key);
        fs::write(&known, revoked).expect("written");
        let error = refused(&host(&lab, 1, believing())).await;
        assert!(matches!(error, SshError::RevokedHostKey { .. }), "{error}");
    });
}

#[test]
fn keys_come_from_files_that_may_be_encrypted_and_from_an_agent_and_what_was_refused_is_named() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    make_key(&lab.path("locked"), "open sesame");
    let public = fs::read_to_string(lab.path("locked.pub")).expect("a key");
    machine.sh(&format!("echo '{}' >> ~root/.ssh/authorized_keys", public.trim()));
    let socket = lab.path("agent");
    let _agent = Agent::start(&socket);
    wait_until("the agent listens, and takes a key", Duration::from_secs(20), || {
        let mut add = Program::new("ssh-add");
        add.arg("-q").arg(lab.path("id")).env("SSH_AUTH_SOCK", &socket);
        run(add).code == Some(0)
    });
    let with_key = |name: &str| SshSpec {
        identity_file: Some(lab.path(name).display().to_string()),
        ..spec(&lab, "root")
    };
    let opened = |passphrase: &str| Surroundings {
        passphrase: Some(passphrase.to_owned()),
        ..Surroundings::default()
    };
    runtime().block_on(async {
        let error = refused(&host(&lab, 1, with_key("id_other"))).await;
        assert!(matches!(error, SshError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("id_other"), "{error}");
        let error = refused(&host(&lab, 1, with_key("no_such_key"))).await;
        assert!(matches!(error, SshError::Identity { .. }), "{error}");

        let error = refused(&host(&lab, 1, with_key("locked"))).await;
        assert!(matches!(error, SshError::Encrypted { tried: false, .. }), "{error}");
        let error = refused(&with(&lab, 1, with_key("locked"), opened("wrong"))).await;
        assert!(matches!(error, SshError::Encrypted { tried: true, .. }), "{error}");
        let host = with(&lab, 1, with_key("locked"), opened("open sesame"));
        assert_eq!(whoami(&host).await.expect("it is opened"), "root");

        let nowhere = Surroundings { home: lab.path("nobody"), ..Surroundings::default() };
        let anything = || SshSpec { identity_file: None, agent: true, ..spec(&lab, "root") };
        let error = refused(&with(&lab, 1, anything(), nowhere.clone())).await;
        assert!(error.to_string().contains("no key to try"), "{error}");
        let asking = Surroundings { agent_socket: Some(socket.clone()), ..nowhere };
        assert_eq!(whoami(&with(&lab, 1, anything(), asking.clone())).await.expect("agent"), "root");
        let silent = SshSpec { agent: false, ..anything() };
        let error = refused(&with(&lab, 1, silent, asking)).await;
        assert!(matches!(error, SshError::Refused { .. }), "{error}");
    });
}

#[test]
fn a_user_whom_sudo_asks_for_a_password_is_refused_with_the_line_that_allows_it() {
    let lab = Lab::up(1);
    runtime().block_on(async {
        let error = refused(&host(&lab, 1, spec(&lab, "asked"))).await;
        assert!(matches!(error, SshError::Sudo { .. }), "{error}");
        assert!(error.to_string().contains("password"), "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("asked ALL=(ALL) NOPASSWD: ALL")));
    });
}

#[test]
fn a_host_behind_another_is_reached_and_one_that_is_down_is_told_of_and_comes_back() {
    let mut lab = Lab::up(2);
    // Nothing reaches the second machine but the first.
    let own =
        lab.machine(2).address.rsplit_once('.').map(|(subnet, _)| format!("{subnet}.254")).expect("dots");
    lab.machine(2).sh(&format!("echo 'sshd: {own}' > /etc/hosts.deny; ip route add blackhole {own}/32"));
    let jump = |number: usize| JumpSpec {
        address: lab.machine(number).address.clone(),
        user: "ops".to_owned(),
        port: 22,
        identity_file: None,
        host_key: Some(lab.machine(number).host_key.clone()),
    };
    let through = SshSpec { jump: Some(jump(1)), ..spec(&lab, "ops") };
    let runtime = runtime();
    runtime.block_on(async {
        let host = host(&lab, 2, through.clone());
        assert_eq!(whoami(&host).await.expect("through the first"), "root");
        let name = run_ok(&host, &Command::new("hostname", &[])).await.expect("run");
        assert_eq!(String::from_utf8_lossy(&name).trim(), lab.machine(2).name);
        let wrong = JumpSpec { host_key: Some(lab.machine(2).host_key.clone()), ..jump(1) };
        let error = refused(&self::host(&lab, 2, SshSpec { jump: Some(wrong), ..spec(&lab, "ops") })).await;
        assert!(matches!(error, SshError::ChangedHostKey { .. }), "{error}");
    });
    let first = host(&lab, 1, spec(&lab, "root"));
    runtime.block_on(async { assert_eq!(whoami(&first).await.expect("it is up"), "root") });
    lab.machine(1).reboot();
    // What was open is noticed to be gone, and made again.
    wait_until("it is up again", Duration::from_secs(90), || runtime.block_on(whoami(&first)).is_ok());
    lab.turn_off(1);
    let gone = host(&lab, 1, spec(&lab, "root"));
    runtime.block_on(async {
        let error = refused(&gone).await;
        assert!(matches!(error, SshError::Unreachable { .. } | SshError::Slow { .. }), "{error}");
        assert!(error.is_transient() && error.remedy().is_some());
    });
}

#[test]
fn an_upload_goes_on_where_it_was_cut_off_and_a_full_disk_is_told_of_and_left_as_it_was() {
    let lab = Lab::up(1);
    let machine = lab.machine(1);
    let source = lab.path("large");
    let bytes: Vec<u8> = (0..24_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&source, &bytes).expect("written");
    let path = Path::new("/srv/up/agent");
    let runtime = runtime();
    let cut = Arc::new(host(&lab, 1, spec(&lab, "ops")));
    runtime.block_on(async {
        lab.slow(1, "40mbit");
        let (putting, from) = (Arc::clone(&cut), source.clone());
        let put = tokio::spawn(async move { putting.put(Source::File(&from), path, 0o755).await });
        let large =
            "for f in /srv/up/*.part; do [ -e \"$f\" ] && [ \"$(stat -c %s \"$f\")\" -ge 1000000 ]; done";
        wait_until("some of it is there", Duration::from_secs(60), || machine.try_sh(large).code == Some(0));
        cut.close().await;
        let error = put.await.expect("no panic").expect_err("it was cut off");
        assert!(matches!(&error, ConnectionError::Ssh { source, .. } if source.is_transient()), "{error:?}");
        lab.fast(1);
        assert_eq!(machine.sh("find /srv/up -name agent"), "");
        machine.sh("while pgrep -x cat; do sleep 0.05; done");
        let before: u64 = machine.sh("stat -c %s /srv/up/*.part").parse().expect("a size");
        assert!((1_000_000..24_000_000).contains(&before), "{before}");
        let part = machine.sh("stat -c %i /srv/up/*.part");
        cut.put(Source::File(&source), path, 0o755).await.expect("it goes on");
        assert_eq!(machine.sh("stat -c %i /srv/up/agent"), part, "the part became the file");
        assert_eq!(cut.stat(path).await.expect("asked"), Found::File { size: 24_000_000 });
        assert_eq!(machine.sh("ls -A /srv/up"), "agent");
        assert_eq!(machine.sh("sha256sum < /srv/up/agent"), sha256(&source));

        machine.sh("mkdir -p /srv/full && mount -t tmpfs -o size=10m tmpfs /srv/full");
        let full = Path::new("/srv/full/a/agent");
        let error = cut.put(Source::File(&source), full, 0o755).await.expect_err("it does not fit");
        assert!(matches!(error, ConnectionError::NoRoom { needed: 24_000_000, .. }), "{error}");
        assert_eq!(machine.sh("find /srv/full -type f"), "");
        machine.sh("head -c 10480000 /dev/zero > /srv/full/filler || true");
        let error =
            cut.put(Source::Bytes(&bytes[..200_000]), full, 0o755).await.expect_err("it does not fit");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("make room")), "{error}");
        assert_eq!(machine.sh("find /srv/full -type f"), "/srv/full/filler");
        machine.sh("umount /srv/full");
    });
}

/// An SSH agent that ends with its test. It has the rights of a group, so that no signal at our death reaches it.
struct Agent(Child);

impl Agent {
    fn start(socket: &Path) -> Self {
        let mut agent = Program::new("ssh-agent");
        agent.args(["-D", "-a"]).arg(socket);
        agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(agent.spawn().expect("an agent can be started"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn sha256(path: &Path) -> String {
    let mut command = Program::new("sh");
    command.args(["-c", "sha256sum < \"$0\""]).arg(path);
    must(command).trim().to_owned()
}
