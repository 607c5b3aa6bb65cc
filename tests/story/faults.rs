//! What goes wrong is said: where, why, and what to do. All of it in one run.

use std::net::TcpListener;

use crate::lab::Lab;

#[test]
fn a_full_target_says_so_at_write_and_takes_writes_again_after_a_delete() {
    let lab = Lab::new();
    let spec = lab.cluster(1, "NONE").replace("\"1GiB\"", "\"64MiB\"");
    lab.spec(&(spec + &lab.mount("mnt")));
    lab.apply();
    let said = lab.try_sh("head -c 200000000 /dev/zero | tr '\\000' x > mnt/big");
    assert_ne!(said.code, Some(0));
    assert!(said.stderr.contains("No space left on device"), "{}", said.all());
    lab.sh("rm mnt/big && for i in $(seq 100); do cp /bin/sh mnt/small 2>/dev/null && break; sleep 0.1; done && cmp /bin/sh mnt/small");
}

#[test]
fn what_the_host_cannot_do_is_found_at_plan_time_all_at_once() {
    let lab = Lab::new();
    lab.write("mdt/story-MDT0000/foreign", "somebody else's file");
    lab.write("mnt/occupied", "here");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it has an address").port();
    let spec = lab.cluster(1, "NONE") + &lab.mount("mnt") + &lab.link();
    let control =
        spec.lines().find(|line| line.contains("control_port")).expect("the spec names it").to_owned();
    lab.spec(&spec.replace(&control, &format!("  control_port = {port}")));
    let plan = lab.lustre(["plan"]);
    assert_eq!(plan.code, Some(1), "{}", plan.all());
    let said = plan.all();
    for needle in ["mdt", "not empty", "mnt", &port.to_string(), "bucket"] {
        assert!(said.contains(needle), "{needle} is named:\n{said}");
    }
    drop(taken);
}

#[test]
fn an_unreachable_bucket_is_named_at_plan_time() {
    let lab = Lab::new();
    lab.write("keys", "[default]\naws_access_key_id = none\naws_secret_access_key = none\n");
    let keys = format!("\"{}\"", lab.path("keys").display());
    let link = lab.link();
    let association = link.find("data_repository_association").expect("the link is there");
    let association = link[association..]
        .replace("bucket.data.endpoint_url", "\"http://127.0.0.1:1\"")
        .replace("bucket.data.data_repository_path", "\"s3://elsewhere\"")
        .replace("bucket.data.credentials_file", &keys);
    let spec = lab.cluster(1, "NONE") + &association;
    lab.spec(&spec);
    let plan = lab.lustre(["plan"]);
    assert_eq!(plan.code, Some(1), "{}", plan.all());
    assert!(plan.all().contains("127.0.0.1:1") && plan.all().contains("elsewhere"), "{}", plan.all());
}
