//! Targets are added while clients write; what cannot change in place says DATA LOSS and stops.

use std::process::{Command, Stdio};

use crate::lab::Lab;

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
