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
