//! Targets are added while clients write; what cannot change in place says DATA LOSS and stops.

use std::process::{Command, Stdio};

use crate::lab::{Lab, wait_until};

#[test]
fn two_more_targets_come_under_running_io() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(4, "NONE") + &lab.mount("mnt")));
    lab.apply();
    let script = "for i in $(seq 400); do head -c 100000 /dev/urandom > copy && cp copy mnt/f$i && cmp copy mnt/f$i || exit 1; done";
    let mut writer = Command::new("sh")
        .args(["-c", script])
        .current_dir(lab.path("."))
        .stderr(Stdio::inherit())
        .spawn()
        .expect("a shell starts");

    lab.spec(&(lab.cluster(6, "NONE") + &lab.mount("mnt")));
    let plan = lab.lustre(["plan", "-detailed-exitcode"]);
    assert_eq!(plan.code, Some(2), "{}", plan.all());
    assert!(plan.stdout.contains("story-OST0004") && plan.stdout.contains("story-OST0005"), "{}", plan.all());
    assert!(plan.stdout.contains("Plan: 2 to add"), "{}", plan.all());
    lab.apply();
    assert!(writer.wait().expect("the writer ends").success(), "I/O went on undisturbed");

    lab.must(["fs", "setstripe", "-c", "6", &lab.path("mnt/wide").to_string_lossy()]);
    lab.sh("head -c 12000000 /dev/urandom > copy && cp copy mnt/wide && cmp copy mnt/wide");
    let stripes = lab.must(["fs", "getstripe", &lab.path("mnt/wide").to_string_lossy()]).stdout;
    assert!(stripes.contains("lmm_stripe_count:  6"), "{stripes}");
}

#[test]
fn what_would_lose_data_is_shown_and_stopped_before_the_first_step() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(2, "NONE") + &lab.mount("mnt")));
    lab.apply();
    lab.sh("echo precious > mnt/file");
    let moved = (lab.cluster(2, "NONE") + &lab.mount("mnt")).replace("/mdt\"", "/elsewhere\"");
    lab.spec(&moved);
    let plan = lab.must(["plan"]);
    assert!(plan.stdout.contains("DATA LOSS"), "{}", plan.all());
    let apply = lab.lustre(["apply", "-auto-approve"]);
    assert_eq!(apply.code, Some(4), "{}", apply.all());
    assert!(apply.all().contains("-allow-data-loss="), "the flag is named: {}", apply.all());
    assert_eq!(lab.sh("cat mnt/file"), "precious\n");
    let destroy = lab.lustre(["destroy", "-auto-approve"]);
    assert_eq!(destroy.code, Some(4), "{}", destroy.all());
    assert_eq!(lab.sh("cat mnt/file"), "precious\n");
}

/// A target that is replaced is another target: its files say that they are gone, and new ones go to the new one.
#[test]
fn a_target_is_replaced_on_request_and_its_cluster_stays_in_use() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(2, "NONE") + &lab.mount("mnt")));
    lab.apply();
    lab.sh("for i in $(seq 8); do head -c 200000 /dev/urandom > mnt/large$i; done && sync");
    let replace = "-replace=cluster.story.target[\"story-OST0001\"]";
    let gated = lab.lustre(["apply", "-auto-approve", replace]);
    assert_eq!(gated.code, Some(4), "{}", gated.all());
    assert!(gated.all().contains("an index is never given twice"), "{}", gated.all());
    let apply = lab.must(["apply", "-auto-approve", replace, "-allow-data-loss=cluster.story"]);
    assert!(apply.stdout.contains("story-OST0002"), "{}", apply.all());
    assert_eq!(lab.lustre(["plan", "-detailed-exitcode"]).code, Some(0));
    let df = lab.must(["fs", "df", &lab.path("mnt").to_string_lossy()]).stdout;
    assert!(df.contains("OST0002") && !df.contains("OST0001"), "{df}");
    let gone = lab.sh("for i in $(seq 8); do cat mnt/large$i > copy 2> error || cat error; done");
    assert!(gone.lines().all(|line| line.contains("Input/output error")), "{gone}");
    assert!((1..8).contains(&gone.lines().count()), "those of one target of two: {gone}");
    lab.sh("for i in $(seq 20); do echo new > mnt/new$i; done; cat mnt/new* | wc -l | grep -x 20");
    lab.must(["destroy", "-auto-approve", "-allow-data-loss=cluster.story"]);
}

/// What was on a removed target is gone and said to be gone; nothing takes its place unnoticed, nothing waits for it.
#[test]
fn files_of_a_removed_target_say_so_and_its_successor_is_another_target() {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(3, "NONE") + &lab.link() + &lab.mount("mnt")));
    lab.write("bucket/object", vec![7; 300_000]);
    lab.apply();
    lab.sh(
        "mkdir mnt/kept && for i in $(seq 12); do head -c 200000 /dev/urandom > mnt/kept/$i; done && sync",
    );
    lab.sh("cat mnt/data/object | cmp - bucket/object && cp bucket/object mnt/data/exported");
    wait_until("the file is exported", || lab.path("bucket/exported").exists());
    let on = |index: u32| {
        let paths = lab.sh("ls mnt/kept/* mnt/data/*");
        let on = paths.lines().filter(|path| {
            let path = lab.path(path);
            lab.must(["fs", "getstripe", "-i", &path.to_string_lossy()]).stdout.trim() == index.to_string()
        });
        on.map(str::to_owned).collect::<Vec<_>>()
    };
    let lost = on(2);
    assert!(!lost.is_empty(), "some files are on the third target");

    // The target goes while the mount is in use.
    lab.spec(&(lab.cluster(2, "NONE") + &lab.link() + &lab.mount("mnt")));
    assert_eq!(lab.lustre(["apply", "-auto-approve"]).code, Some(4));
    lab.must(["apply", "-auto-approve", "-allow-data-loss=cluster.story"]);
    lab.spec(&(lab.cluster(3, "NONE") + &lab.link() + &lab.mount("mnt")));
    let apply = lab.apply();
    assert!(apply.stdout.contains("story-OST0003"), "the index is a new one: {}", apply.all());

    for path in &lost {
        let read = lab.try_sh(&format!("cat {path} > copy"));
        if path.starts_with("mnt/data/") {
            assert_eq!(read.code, Some(0), "{path} is in the bucket: {}", read.all());
            lab.sh("cmp copy bucket/object");
        } else {
            assert!(read.stderr.contains("Input/output error"), "{path}: {}", read.all());
            lab.sh(&format!("stat -c %s {path} | grep -x 200000"));
        }
    }
    // Nothing waits: a hundred new files, the space, the status.
    let begun = std::time::Instant::now();
    lab.sh("for i in $(seq 100); do echo new > mnt/new$i; done; cat mnt/new* | wc -l | grep -x 100; df mnt");
    let df = lab.must(["fs", "df", &lab.path("mnt").to_string_lossy()]).stdout;
    assert!(df.contains("OST0003") && !df.contains("OST0002"), "{df}");
    let status = lab.must(["status"]).stdout;
    assert!(!status.contains("OST0002"), "{status}");
    assert!(begun.elapsed().as_secs() < 30, "took {:?}", begun.elapsed());
    // What is gone can be replaced and removed.
    for path in lost.iter().filter(|path| !path.starts_with("mnt/data/")) {
        lab.sh(&format!("echo restored > {path} && grep -x restored {path} && rm {path}"));
    }
    lab.must(["destroy", "-auto-approve", "-allow-data-loss=cluster.story"]);
}
