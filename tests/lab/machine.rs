//! Machines: containers that boot systemd and sshd, on a bridge that nobody else is on.
//!
//! ```text
//! this machine ── bridge 10.A.B.254 ─┬─ machine 1  10.A.B.1
//!                                    └─ machine 2  10.A.B.2 …
//! ```
//! A machine's layer lies in memory, in a mount namespace of its own: it is gone with the machine. What a machine needs of this
//! one is root and systemd-nspawn; systemd need not run here.
//! Invariant: a lab ends with the thread that made it, however that ends.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fs_err as fs;

use super::root::root;
use super::spawned::{Said, must, run, wait_until};

/// How long a machine may take to boot on a busy computer.
const BOOT_MAX: Duration = Duration::from_mins(2);

static LABS: AtomicU32 = AtomicU32::new(0);

/// Some machines, and the keys to them.
pub struct Lab {
    folder: tempfile::TempDir,
    bridge: String,
    machines: Vec<Machine>,
}

/// One machine.
pub struct Machine {
    /// Its name in messages.
    pub name: String,
    /// Its address on the bridge.
    pub address: String,
    /// Its public key, as `type base64`.
    pub host_key: String,
    keeper: Child,
}

/// What makes a machine: layers over the root, files that make it one of the lab, and its life until it is turned off. The
/// program ends itself when the lab does; systemd-nspawn ends with 133 when the machine is to boot again.
const KEEPER: &str = r#"
set -eu
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn
mount -t tmpfs -o size=4g,mode=755 tmpfs "$LAB/$NAME"
cd "$LAB/$NAME"
mkdir upper work machine
mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=upper,workdir=work" machine
cd machine
mkdir -p root/.ssh home/ops/.ssh home/asked/.ssh etc/systemd/network etc/sudoers.d
printf '[Match]\nName=host0\n[Network]\nAddress=%s/24\nGateway=%s\nLinkLocalAddressing=no\n' \
    "$ADDRESS" "$GATEWAY" > etc/systemd/network/10-lab.network
ln -sf /lib/systemd/system/systemd-networkd.service etc/systemd/system/multi-user.target.wants/
echo "$NAME" > etc/hostname
printf '127.0.0.1 localhost\n%s %s\n' "$ADDRESS" "$NAME" > etc/hosts
: > etc/resolv.conf
: > etc/machine-id
rm -f etc/ssh/ssh_host_*
cp "$LAB/$NAME.key" etc/ssh/ssh_host_ed25519_key
chmod 600 etc/ssh/ssh_host_ed25519_key
homes=/home
echo "ops:x:2001:2001::$homes/ops:/bin/bash" >> etc/passwd
echo "asked:x:2002:2002::$homes/asked:/bin/bash" >> etc/passwd
printf 'ops:*:19000::::::\nasked:*:19000::::::\n' >> etc/shadow
printf 'ops:x:2001:\nasked:x:2002:\n' >> etc/group
echo 'ops ALL=(ALL) NOPASSWD: ALL' > etc/sudoers.d/ops
echo 'asked ALL=(ALL) ALL' > etc/sudoers.d/asked
chmod 440 etc/sudoers.d/*
for home in root home/ops home/asked; do
    cat "$LAB"/id*.pub > "$home/.ssh/authorized_keys"
    chmod 700 "$home/.ssh"
    chmod 600 "$home/.ssh/authorized_keys"
done
chown -R 2001:2001 home/ops
chown -R 2002:2002 home/asked
cd ..
while :; do
    code=0
    setpriv --pdeathsig TERM systemd-nspawn -D machine -M "$NAME" --boot --register=no --keep-unit --quiet \
        --resolv-conf=off --network-bridge="$BRIDGE" --bind=/dev/fuse --console=pipe || code=$?
    [ "$code" = 133 ] || exit "$code"
done
"#;

impl Lab {
    /// Boots so many machines, and waits until one can log in to each.
    pub fn up(count: u8) -> Self {
        let root = root();
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::Builder::new().prefix("lustre-lab-").tempdir().expect("a folder can be made");
        for name in ["id", "id_other"] {
            make_key(&folder.path().join(name), "");
        }
        forget_dead_labs();
        let (own, bridge) = (std::process::id(), format!("lb{}-{number}", std::process::id()));
        let subnet = make_bridge(&bridge);
        let mut lab = Self { folder, bridge, machines: Vec::new() };
        // A key that no machine knows.
        fs::rename(lab.path("id_other.pub"), lab.path("other.pub")).expect("a file can be renamed");
        for at in 1..=count {
            let name = format!("l{own}-{number}-{at}");
            let machine = lab.boot(&root, &name, (&format!("{subnet}.{at}"), &format!("{subnet}.254")));
            lab.machines.push(machine);
        }
        for machine in &lab.machines {
            machine.await_first_login();
        }
        let known: Vec<String> =
            lab.machines.iter().map(|one| format!("{} {}\n", one.address, one.host_key)).collect();
        fs::write(lab.path("known_hosts"), known.concat()).expect("a file can be written");
        lab
    }

    fn boot(&self, root: &Path, name: &str, (address, gateway): (&str, &str)) -> Machine {
        let key = self.path(&format!("{name}.key"));
        make_key(&key, "");
        let public = fs::read_to_string(key.with_extension("key.pub")).expect("a public key is written");
        let host_key = public.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned();
        fs::create_dir(self.path(name)).expect("a folder can be made");
        let log = fs::File::create(self.path(&format!("{name}.log"))).expect("a log can be made").into_file();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", KEEPER]);
        command
            .env("LAB", self.folder.path())
            .env("NAME", name)
            .env("ROOT", root)
            .env("BRIDGE", &self.bridge);
        command.env("ADDRESS", address).env("GATEWAY", gateway);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log can be shared")).stderr(log);
        let keeper = command.spawn().expect("a machine can be started");
        Machine { name: name.to_owned(), address: address.to_owned(), host_key, keeper }
    }

    /// A file of the lab: `id` is the key that machines let in, `id_other` one that they do not know.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A machine, counted from one.
    pub fn machine(&self, number: usize) -> &Machine {
        &self.machines[number - 1]
    }

    /// Turns a machine off for good, as a cut cable does.
    pub fn turn_off(&mut self, number: usize) {
        self.machines[number - 1].turn_off();
    }

    /// Lets a machine hear no faster than that, as `tc` writes rates.
    pub fn slow(&self, number: usize, rate: &str) {
        let link = format!("vb-{}", self.machine(number).name);
        let mut command = Command::new("tc");
        command.args(["qdisc", "replace", "dev", &link, "root", "tbf", "rate", rate]);
        command.args(["burst", "64kb", "latency", "200ms"]);
        must(command);
    }

    /// Lets a machine hear as fast as it can again.
    pub fn fast(&self, number: usize) {
        let link = format!("vb-{}", self.machine(number).name);
        let mut command = Command::new("tc");
        command.args(["qdisc", "delete", "dev", &link, "root"]);
        must(command);
    }

    /// Prints what the machines said, for a test that failed.
    fn show_logs(&self) {
        for machine in &self.machines {
            let log = fs::read_to_string(self.path(&format!("{}.log", machine.name))).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(20).collect();
            println!("--- {}", machine.name);
            end.iter().rev().for_each(|line| println!("{line}"));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        for machine in &mut self.machines {
            machine.turn_off();
        }
        let mut command = Command::new("ip");
        command.args(["link", "delete", &self.bridge]);
        run(command);
    }
}

impl Machine {
    /// Runs a script on the machine as root, not over SSH, and fails unless it succeeds.
    pub fn sh(&self, script: &str) -> String {
        let said = self.try_sh(script);
        assert_eq!(said.code, Some(0), "{script}\n{}", said.all());
        said.stdout.trim().to_owned()
    }

    /// Runs a script on the machine as root, not over SSH.
    pub fn try_sh(&self, script: &str) -> Said {
        let Some(init) = self.init() else {
            return Said { code: None, stdout: String::new(), stderr: "the machine is off".to_owned() };
        };
        let mut command = Command::new("nsenter");
        command.args(["--target", &init.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid", "--"]);
        command.args(["sh", "-euc", script]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        run(command)
    }

    /// Turns it off, and returns when nothing of it runs.
    fn turn_off(&mut self) {
        if let Some(init) = self.init() {
            kill(init);
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while matches!(self.keeper.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            if let Some(init) = self.init() {
                kill(init);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _gone = self.keeper.kill();
        let _reaped = self.keeper.wait();
    }

    /// Boots it again, and waits until users can log in.
    pub fn reboot(&self) {
        let before = self.init();
        self.try_sh("systemctl reboot");
        wait_until(&format!("{} boots again", self.name), BOOT_MAX, || {
            self.init().is_some_and(|now| Some(now) != before)
        });
        self.await_login();
    }

    /// Waits until users can log in.
    pub fn await_login(&self) {
        wait_until(&format!("{} lets users log in", self.name), BOOT_MAX, || self.lets_in());
    }

    /// Waits until users can log in to a machine that was just started. One that hangs while it boots, which has nothing to do
    /// with what is tested, is booted again, and says why.
    fn await_first_login(&self) {
        let deadline = std::time::Instant::now() + BOOT_MAX / 2;
        while !self.lets_in() {
            if std::time::Instant::now() > deadline {
                let why = self.try_sh("systemctl list-jobs; systemctl --failed; journalctl -n 40 --no-pager");
                println!("{} does not come up, and is booted again: {}", self.name, why.all());
                self.try_sh("systemctl reboot -ff");
                return self.await_login();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn lets_in(&self) -> bool {
        let address: SocketAddr = format!("{}:22", self.address).parse().expect("an address and a port");
        greets(address) && self.try_sh("test ! -e /run/nologin && systemctl is-active ssh").code == Some(0)
    }

    /// The machine's first process as this machine counts it: below the keeper is systemd-nspawn, below that the machine.
    fn init(&self) -> Option<u32> {
        children(self.keeper.id()).into_iter().flat_map(children).find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd")
        })
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) else {
        return false;
    };
    let _unlimited = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).is_ok() && greeting == *b"SSH-"
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Makes an ed25519 key, and `.pub` beside it.
pub fn make_key(path: &Path, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-C", "lab", "-N", passphrase, "-f"]).arg(path);
    must(command);
}

/// Removes bridges of labs whose process was killed; their machines ended with it.
fn forget_dead_labs() {
    let mut list = Command::new("ip");
    list.args(["-o", "link", "show", "type", "bridge"]);
    for line in must(list).lines() {
        let Some(name) = line.split(": ").nth(1).filter(|name| name.starts_with("lb")) else { continue };
        let owner = name[2..].split('-').next().and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let mut delete = Command::new("ip");
            delete.args(["link", "delete", name]);
            // Another lab may have been faster.
            run(delete);
        }
    }
}

/// Makes a bridge with a subnet that nobody has, and returns the subnet's first three numbers.
fn make_bridge(name: &str) -> String {
    let ip = |arguments: &[&str]| {
        let mut command = Command::new("ip");
        command.args(arguments);
        run(command)
    };
    let said = ip(&["link", "add", name, "type", "bridge"]);
    assert_eq!(said.code, Some(0), "a bridge cannot be made: {}", said.all());
    for attempt in 0..200 {
        let seed = std::process::id()
            .wrapping_mul(31)
            .wrapping_add(LABS.load(Ordering::Relaxed) * 7 + attempt * 131);
        let subnet = format!("10.{}.{}", 128 + seed / 256 % 100, seed % 256);
        let taken = ip(&["-o", "-4", "address"]).stdout.contains(&format!(" {subnet}."));
        let added = ip(&["address", "add", &format!("{subnet}.254/24"), "dev", name]);
        // Two labs that chose at once have both; who is not alone chooses again.
        let own = ip(&["-o", "-4", "address"]).stdout.matches(&format!(" {subnet}.")).count();
        let free = TcpListener::bind((format!("{subnet}.254"), 0)).is_ok();
        if !taken && added.code == Some(0) && own == 1 && free {
            let said = ip(&["link", "set", name, "up"]);
            assert_eq!(said.code, Some(0), "{}", said.all());
            return subnet;
        }
        ip(&["address", "flush", "dev", name]);
    }
    panic!("no subnet below 10.128.0.0 is free");
}
