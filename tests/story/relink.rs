//! Links that go, come again and change: what is only in the bucket stays within reach, and what is said of it is true.

use std::collections::BTreeMap;

use lustre_s3::{Endpoint, Metadata, ObjectStorage, S3Client};

use crate::lab::{Lab, kill, wait_until};

/// The cluster with its bucket and mount, without the link.
fn without_link(lab: &Lab) -> String {
    let link = lab.link();
    let bucket = &link[..link.find("data_repository_association").expect("the link is there")];
    lab.cluster(1, "NONE") + bucket + &lab.mount("mnt")
}

fn with_link(lab: &Lab) -> String {
    lab.cluster(1, "NONE") + &lab.link() + &lab.mount("mnt")
}

/// The end of the mover's and the metadata target's logs.
fn logs(lab: &Lab) -> String {
    lab.sh("find agent -name '*log*' -type f -exec cat {} +")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

/// Metadata of an object, as an ordinary S3 client sees them.
fn head(lab: &Lab, endpoint: &str, key: &str) -> Option<Metadata> {
    let endpoint = Endpoint {
        bucket: "data".to_owned(),
        endpoint_url: Some(endpoint.trim().to_owned()),
        region: None,
        path_style: true,
        credentials_file: Some(lab.path("agent/credentials/data").to_string_lossy().into_owned()),
    };
    runtime().block_on(async {
        let client = S3Client::connect(&endpoint).await.expect("the bucket answers");
        client.head(key).await.ok().map(|head| head.metadata)
    })
}

#[test]
fn a_link_that_was_removed_comes_again_and_every_file_is_read() {
    let lab = Lab::new();
    for number in 0..20 {
        lab.write(&format!("bucket/d/f{number}"), format!("content {number}"));
    }
    lab.spec(&with_link(&lab));
    lab.apply();
    lab.sh("cat mnt/data/d/f0 && echo own > mnt/data/own && echo changed > mnt/data/d/f1");

    lab.spec(&without_link(&lab));
    let plan = lab.must(["plan", "-no-color"]);
    assert!(
        plan.all().contains("W0908") && plan.all().contains("18 of the files below /data"),
        "{}",
        plan.all()
    );
    assert!(plan.stdout.contains("# impact: outage"), "{}", plan.stdout);
    lab.apply();
    assert_eq!(lab.sh("cat bucket/own bucket/d/f1"), "own\nchanged\n", "exports were flushed first");
    assert_eq!(lab.sh("cat mnt/data/own mnt/data/d/f0"), "own\ncontent 0");
    let read = lab.try_sh("for i in 1 2 3; do cat mnt/data/d/f7; done");
    assert!(read.stderr.contains("Input/output error"), "{}", read.all());
    lab.sh("chmod 600 mnt/data/d/f8; for i in 1 2 3; do cat mnt/data/d/f7 || true; done; sleep 3");
    let told =
        logs(&lab).lines().filter(|line| line.contains("was removed") && line.contains("/data/d/f7")).count();
    assert_eq!(told, 1, "{}", logs(&lab));
    assert!(!logs(&lab).contains("is not known"), "{}", logs(&lab));

    // The whole cluster may have been down in between.
    lab.kill_everything();
    lab.spec(&with_link(&lab));
    lab.apply();
    for number in 2..20 {
        assert_eq!(lab.sh(&format!("cat mnt/data/d/f{number}")), format!("content {number}"));
    }
    let status = lab.must(["status"]).stdout;
    assert!(status.contains("AVAILABLE") && !status.contains("refused"), "{status}");
    assert_eq!(lab.lustre(["plan", "-detailed-exitcode"]).code, Some(0));
}

#[test]
fn a_replaced_link_takes_up_what_has_moved_in_the_bucket() {
    let lab = Lab::new();
    lab.write("bucket/old/f", "content");
    lab.write("bucket/old/d/g", "content of g");
    lab.write("bucket/old/changed", "before");
    let at = |prefix: &str| {
        with_link(&lab).replace("bucket.data.data_repository_path", &format!("\"s3://data/{prefix}/\""))
    };
    lab.spec(&at("old"));
    lab.apply();
    lab.sh("echo mine > mnt/data/own");
    wait_until("what was written is exported", || lab.path("bucket/old/own").exists());
    lab.sh("cp -a bucket/old bucket/new && rm -r bucket/old && echo newer > bucket/new/changed");
    lab.spec(&at("new"));
    let plan = lab.must(["plan"]);
    assert!(
        plan.stdout.contains("# impact: recreate") && plan.all().contains("3 of the files"),
        "{}",
        plan.all()
    );
    lab.apply();
    assert_eq!(
        lab.sh("cat mnt/data/f mnt/data/d/g mnt/data/changed mnt/data/own"),
        "contentcontent of gnewer\nmine\n"
    );
    lab.sh("echo more >> mnt/data/own");
    wait_until("changes go to the new place", || lab.sh("cat bucket/new/own") == "mine\nmore\n");
    let status = lab.must(["status"]).stdout;
    assert!(status.contains("AVAILABLE") && !status.contains("not exported"), "{status}");
}

#[test]
fn changed_attributes_travel_without_the_bytes() {
    let lab = Lab::new();
    lab.write("bucket/d/f", "content");
    lab.write("bucket/still", "content");
    lab.spec(&(with_link(&lab) + "output \"endpoint\" {\n  value = bucket.data.endpoint_url\n}\n"));
    lab.apply();
    let endpoint = lab.must(["output", "-raw", "endpoint"]).stdout;
    lab.sh("ln -s d/f mnt/data/s && cat mnt/data/still");
    lab.sh("touch -d 2001-02-03T04:05:06Z mnt/data/d/f && touch -h -d 2002-02-03T04:05:06Z mnt/data/s");
    lab.sh("chmod 750 mnt/data/d && touch -d 2003-02-03T04:05:06Z mnt/data/d && chown 5:6 mnt/data/d/f");
    let expected: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::from([
        ("d/f", vec![("file-mtime", "981173106000000000ns"), ("file-owner", "5"), ("file-group", "6")]),
        ("s", vec![("file-mtime", "1012709106000000000ns"), ("file-permissions", "0120777")]),
        ("d/", vec![("file-mtime", "1044245106000000000ns"), ("file-permissions", "040750")]),
    ]);
    for (key, wanted) in expected {
        wait_until(key, || {
            let found = head(&lab, &endpoint, key).unwrap_or_default();
            wanted.iter().all(|(name, value)| found.get(*name).is_some_and(|found| found == value))
        });
    }
    let state = lab.must(["fs", "hsm_state", &lab.path("mnt/data/d/f").to_string_lossy()]).stdout;
    assert!(state.contains("released exists archived"), "nothing was read for it: {state}");
    let still = head(&lab, &endpoint, "still").expect("it is there");
    assert!(!still.contains_key("lustre-fid"), "what was only read is not exported: {still:?}");
}

#[test]
fn other_credentials_are_tried_before_they_are_taken_and_a_refusal_is_shown_until_it_ends() {
    let lab = Lab::new();
    lab.write("bucket/f", "content");
    lab.write("bucket/g", "content");
    let keys = lab.path("keys").to_string_lossy().into_owned();
    let own = with_link(&lab).replace("bucket.data.credentials_file", &format!("{keys:?}"));
    lab.spec(&(without_link(&lab)));
    lab.apply();
    lab.sh("cp agent/credentials/data keys");
    lab.spec(&own);
    lab.apply();
    assert_eq!(lab.sh("cat mnt/data/f"), "content");

    // A file that is not there, or has other keys, is refused before anything is done.
    lab.spec(&own.replace(&keys, &format!("{keys}-none")));
    let plan = lab.lustre(["plan"]);
    assert!(plan.code == Some(1) && plan.all().contains("E0907"), "{}", plan.all());
    lab.sh("sed 's/^\\(aws_secret_access_key\\).*/\\1 = wrong/' keys > keys-wrong");
    lab.spec(&own.replace(&keys, &format!("{keys}-wrong")));
    let plan = lab.lustre(["plan"]);
    assert!(plan.code == Some(1) && plan.all().contains("E0907"), "{}", plan.all());
    let applied = lab.lustre(["apply", "-auto-approve", "-refresh=false"]);
    assert!(applied.code == Some(1) && applied.all().contains("s3:ListBucket"), "{}", applied.all());
    let status = lab.lustre(["status"]).stdout;
    assert!(status.contains("MISCONFIGURED") && status.contains("s3:ListBucket"), "{status}");

    // The right keys in the same file: it works again without any apply.
    lab.sh("cp keys keys-wrong");
    wait_until("the link is available again", || lab.lustre(["status"]).stdout.contains("AVAILABLE"));
    lab.apply();
    assert_eq!(lab.sh("cat mnt/data/g"), "content");

    // The store takes other keys from now on, and the file says so a little later.
    lab.sh("sed -i 's/^\\(aws_secret_access_key\\).*/\\1 = rotated/' agent/credentials/data");
    let bucket = lab.processes().into_iter().find(|(_, line)| line.contains(" bucket "));
    kill(bucket.expect("the bucket runs").0);
    lab.sh("echo new > mnt/data/new");
    wait_until("the refusal is shown", || lab.lustre(["status"]).stdout.contains("MISCONFIGURED"));
    lab.sh("cp agent/credentials/data keys-wrong");
    wait_until("the link is available again", || lab.lustre(["status"]).stdout.contains("AVAILABLE"));
    wait_until("the new file is exported", || lab.path("bucket/new").exists());
}

#[test]
fn names_without_a_key_are_reported_after_every_process_was_killed() {
    let lab = Lab::new();
    lab.write("bucket/f", "content");
    lab.spec(&with_link(&lab));
    lab.apply();
    lab.sh("touch \"mnt/data/$(printf 'bad\\377name')\"");
    let reported = |lab: &Lab| lab.must(["status"]).stdout.contains("/data/bad\\xffname");
    wait_until("the name is reported", || reported(&lab));
    lab.kill_everything();
    lab.apply();
    assert!(reported(&lab), "{}", lab.must(["status"]).stdout);
}

#[test]
fn a_link_that_the_state_forgot_is_named_with_what_brings_it_back() {
    let lab = Lab::new();
    lab.spec(&with_link(&lab));
    fs_err::create_dir_all(lab.path("bucket")).expect("a folder can be made");
    lab.apply();
    lab.must(["state", "rm", "data_repository_association.data"]);
    let said = lab.lustre(["apply", "-auto-approve"]);
    assert_eq!(said.code, Some(1), "{}", said.all());
    for part in [
        "data_repository_association.data links /data with s3://data/ already",
        "lustre state push -force lustre.state.backup",
    ] {
        assert!(said.all().contains(part), "{part}: {}", said.all());
    }
    lab.must(["state", "push", "-force", "lustre.state.backup"]);
    lab.must(["plan", "-detailed-exitcode"]);
}
