//! `-refresh-only` on a real cluster: it tells what hosts report, starts nothing, and leaves the repair to apply.

use crate::lab::Lab;

#[test]
fn a_refresh_tells_what_drifted_and_touches_no_host() {
    let lab = Lab::new();
    lab.spec(&lab.cluster(1, "NONE"));
    lab.apply();
    let whole = lab.must(["plan", "-refresh-only", "-detailed-exitcode"]);
    assert!(whole.stdout.contains("Hosts report everything as recorded"), "{}", whole.all());

    lab.kill_everything();
    let drifted = lab.lustre(["plan", "-refresh-only", "-detailed-exitcode", "-out=refresh.plan"]);
    assert_eq!(drifted.code, Some(2), "{}", drifted.all());
    assert!(drifted.stdout.contains("Hosts report that these are not as recorded"), "{}", drifted.all());
    assert!(drifted.stdout.contains("-OST0000"), "a target is named: {}", drifted.all());
    let json = lab.must(["show", "-json", "refresh.plan"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert!(json["resource_drift"].as_array().is_some_and(|all| all.len() >= 3), "{json:#}");
    let state = || lab.must(["show", "-json"]).stdout;
    let before = state();
    lab.must(["apply", "refresh.plan"]);
    lab.must(["apply", "-refresh-only", "-auto-approve"]);
    assert!(lab.processes().is_empty(), "nothing was started: {:?}", lab.processes());
    assert_eq!(state(), before, "what was applied is what the state says");

    lab.apply();
    lab.must(["plan", "-refresh-only", "-detailed-exitcode"]);
}

#[test]
fn what_the_state_forgot_is_found_running_by_an_apply_and_left_alone() {
    let lab = Lab::new();
    let bucket = format!(
        "\nbucket \"data\" {{\n  host = host.here\n  path = \"{}\"\n}}\n",
        lab.path("bucket").display()
    );
    lab.spec(&(lab.cluster(1, "NONE") + &bucket + &lab.mount("a")));
    fs_err::create_dir_all(lab.path("bucket")).expect("a folder can be made");
    lab.apply();
    let before = lab.processes();
    let open = fs_err::File::create(lab.path("a/open")).expect("a file can be made");
    for address in ["mount.a", "bucket.data"] {
        lab.must(["state", "rm", address]);
        let said = lab.lustre(["import", address, "x"]);
        assert!(said.code == Some(1) && said.all().contains("cannot be imported"), "{}", said.all());
    }
    lab.apply();
    assert_eq!(lab.processes(), before, "no process was started anew");
    open.set_len(5).expect("what was open is open");
    assert!(lab.must(["state", "list"]).stdout.contains("mount.a"));
    lab.must(["plan", "-detailed-exitcode"]);
}
