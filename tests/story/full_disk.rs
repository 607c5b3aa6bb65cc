//! Everything on one small disk that fills to its last byte: what is refused, what goes on, and that all comes back by itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::lab::{Lab, Said, kill, wait_until};

/// Bytes of the disk: the agent's binary takes a good part of it in a test build.
const DISK: &str = "640M";

/// A lab whose agent, names and objects all lie on one real, small disk at `disk`.
fn on_one_disk(targets: u32) -> Lab {
    let lab = Lab::new();
    lab.sh(&format!(
        "truncate -s {DISK} image && mkfs.ext4 -q -m 0 -O ^has_journal image && mkdir disk && mount -o loop image disk"
    ));
    let root = lab.path("").display().to_string();
    let root = root.trim_end_matches('/');
    let mut spec = lab.cluster(targets, "NONE");
    for folder in ["agent", "mdt", "ost"] {
        spec = spec.replace(&format!("\"{root}/{folder}\""), &format!("\"{root}/disk/{folder}\""));
    }
    lab.spec(&(spec + &lab.mount("mnt")));
    lab.apply();
    lab
}

/// Fills the disk from outside to its last byte, and what is given back meanwhile too.
fn fill(lab: &Lab) {
    wait_until("the disk is full", || {
        for size in ["1M", "4k", "512"] {
            lab.try_sh(&format!("dd if=/dev/zero of=disk/foreign bs={size} oflag=append conv=notrunc"));
        }
        free(lab) == 0
    });
}

/// Waits until all is as the state says.
fn until_well(lab: &Lab) {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let status = lab.lustre(["status"]);
        if status.code == Some(0) {
            return;
        }
        assert!(Instant::now() < deadline, "{}", status.all());
    }
}

fn free(lab: &Lab) -> u64 {
    lab.sh("df --output=avail -B1 disk | tail -1").trim().parse().expect("a number")
}

fn refused_for_room(said: &Said) {
    assert_ne!(said.code, Some(0), "{}", said.all());
    assert!(said.stderr.contains("No space left on device"), "{}", said.all());
}

/// The processes that the agent keeps, by what they are.
fn kept(lab: &Lab) -> BTreeMap<String, u32> {
    let processes = lab.processes().into_iter().filter(|(_, line)| !line.contains(" run "));
    processes
        .map(|(pid, line)| (line.split(" --dir").next().unwrap_or_default().to_owned(), pid, line))
        .map(|(kind, pid, line)| (format!("{kind} {}", line.rsplit('/').next().unwrap_or_default()), pid))
        .collect()
}

#[test]
fn a_disk_that_fills_to_the_last_byte_refuses_what_grows_and_nothing_dies_of_it() {
    let lab = on_one_disk(2);
    lab.sh("mkdir mnt/d && for i in $(seq 50); do echo $i > mnt/d/f$i; done; head -c 20000000 /dev/urandom > mnt/big; sync");
    let before = kept(&lab);
    assert_eq!(before.len(), 4, "{before:?}");

    // Through the mount the disk never gets to its last byte, and it is said at the write.
    let filling = lab.try_sh("dd if=/dev/zero of=mnt/filling bs=1M");
    refused_for_room(&filling);
    assert!(filling.stderr.contains("writing"), "not at close: {}", filling.all());
    assert!(free(&lab) > 32 << 20, "{} bytes are left", free(&lab));
    lab.sh("mkdir mnt/names-go-on && rmdir mnt/names-go-on");

    fill(&lab);
    for growing in
        ["mkdir mnt/new", "touch mnt/new", "echo x > mnt/new", "ln -s a mnt/new", "ln mnt/d/f1 mnt/new"]
    {
        wait_until("the metadata target notices", || lab.try_sh(growing).code != Some(0));
        refused_for_room(&lab.try_sh(growing));
    }
    refused_for_room(&lab.try_sh("dd if=/dev/zero of=mnt/d/f1 bs=1M count=4 conv=notrunc"));
    lab.sh("test \"$(cat mnt/d/f7)\" = 7 && rm mnt/d/f1 mnt/d/f2 && mv mnt/d/f3 mnt/d/f4 && : > mnt/d/f5");
    assert_eq!(kept(&lab), before, "nothing died");

    // Room made by a removal through the mount counts at once; what others took is still gone.
    lab.sh("rm disk/foreign mnt/filling");
    wait_until("writes are taken again", || {
        lab.try_sh("mkdir -p mnt/new && cp /bin/sh mnt/new/sh").code == Some(0)
    });
    lab.sh("cmp /bin/sh mnt/new/sh && test \"$(cat mnt/d/f4)\" = 3 && test ! -s mnt/d/f5");
    assert_eq!(kept(&lab), before, "nothing had to be started again");
    lab.must(["status"]);
}

#[test]
fn on_a_full_disk_what_is_killed_comes_back_is_told_truly_and_can_be_destroyed() {
    let lab = on_one_disk(2);
    lab.sh("mkdir mnt/d && echo kept > mnt/d/f && sync");
    for round in 0..3 {
        fill(&lab);
        let before = kept(&lab);
        before.values().for_each(|pid| kill(*pid));
        wait_until(&format!("all comes back, round {round}"), || {
            let now = kept(&lab);
            now.len() == before.len() && now.iter().all(|(kind, pid)| before[kind] != *pid)
        });
    }
    until_well(&lab);
    wait_until("it can be read", || lab.try_sh("test \"$(cat mnt/d/f)\" = kept").code == Some(0));
    assert_eq!(lab.lustre(["plan", "-detailed-exitcode"]).code, Some(0));

    // A target that cannot come back: its folder is taken away from it.
    lab.sh("mv disk/mdt disk/elsewhere && touch disk/mdt");
    let metadata = kept(&lab).into_iter().find(|(kind, _)| kind.contains(" metadata ")).expect("it runs").1;
    kill(metadata);
    let status = lab.lustre(["status"]);
    assert_eq!(status.code, Some(1), "{}", status.all());
    wait_until("the cause is told", || lab.lustre(["status"]).stdout.contains("disk/mdt"));
    let plan = lab.lustre(["plan", "-detailed-exitcode"]);
    assert_ne!(plan.code, Some(0), "{}", plan.all());
    for needle in [
        "MDT0000\"] on host.here is not as recorded",
        "its process fails",
        "cannot have its folder",
        "mend the cause",
    ] {
        assert!(plan.all().contains(needle), "{needle}: {}", plan.all());
    }
    lab.sh("rm disk/mdt && mv disk/elsewhere disk/mdt");
    until_well(&lab);

    fill(&lab);
    lab.must(["destroy", "-auto-approve", "-allow-data-loss=cluster.*"]);
    assert!(lab.processes().is_empty(), "{:?}", lab.processes());
    assert_eq!(lab.sh("ls disk"), "foreign\nlost+found\n");
}

#[test]
fn targets_that_share_a_disk_count_it_once_and_everyone_says_the_same() {
    let lab = on_one_disk(3);
    lab.sh("head -c 5000000 /dev/urandom > mnt/f && sync");
    let disk: u64 = lab.sh("df --output=size -B1 disk | tail -1").trim().parse().expect("a number");
    let whole = 1 << 20;
    let near = |one: u64, other: u64| one.abs_diff(other) < 4 * whole;
    wait_until("the three say the same", || {
        let df = lab.sh("df --output=size,avail -B1 mnt | tail -1");
        let df: Vec<u64> = df.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let fs_df = lab.must(["fs", "df", &lab.path("mnt").display().to_string()]).stdout;
        let summary = fs_df.lines().find(|line| line.starts_with("filesystem_summary")).expect("a summary");
        let words: Vec<&str> = summary.split_whitespace().collect();
        let [size, available] = [1, 3].map(|at: usize| words[at].parse::<u64>().expect("KiB") << 10);
        let status: Json = serde_json::from_str(&lab.must(["status", "-json"]).stdout).expect("JSON");
        let targets = status["clusters"][0]["targets"].as_array().expect("targets").clone();
        let sum =
            |field: &str| targets.iter().map(|target| target[field].as_u64().expect("a number")).sum::<u64>();
        assert_eq!(targets.len(), 3);
        assert!(df[0] < disk && sum("capacity") < disk, "{df:?} {disk} {status}");
        near(df[0], size)
            && near(df[1], available)
            && near(size, sum("capacity"))
            && near(available, sum("capacity") - sum("used"))
    });
}

#[test]
fn a_host_without_room_for_the_agent_says_how_much_it_needs_and_keeps_no_part_of_it() {
    let lab = Lab::new();
    lab.sh("mkdir disk && mount -t tmpfs -o size=8M none disk");
    let agent = format!("\"{}\"", lab.path("agent").display());
    let there = format!("\"{}\"", lab.path("disk/agent").display());
    lab.spec(&lab.cluster(1, "NONE").replace(&agent, &there));
    let apply = lab.lustre(["apply", "-auto-approve"]);
    assert_eq!(apply.code, Some(1), "{}", apply.all());
    for needle in ["on host.here", "bytes are needed", "are free", "disk/agent", "MiB free"] {
        assert!(apply.all().contains(needle), "{needle}: {}", apply.all());
    }
    assert_eq!(lab.sh("find disk -type f"), "", "nothing is left of it");
    lab.sh("mount -o remount,size=512M disk");
    lab.apply();
}
