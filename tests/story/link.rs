//! A folder of data, a bucket, a link: what is in the bucket is in the mount, and what is written comes back.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use lustre_s3::{Condition, Endpoint, Metadata, ObjectStorage, PutOptions, S3Client};

use crate::lab::{Lab, wait_until};

/// Makes a folder with files of many sizes, modes and times, a symbolic link and an empty folder.
fn furnish(lab: &Lab) {
    for number in 0..60_usize {
        let size = [0, 1, 4095, 65_536, 200_000][number % 5];
        let content: Vec<u8> =
            (0..size).map(|i| u8::try_from((i * 31 + number) % 251).expect("below 251")).collect();
        lab.write(&format!("bucket/d{}/e{}/file {number}.dat", number % 4, number % 3), content);
    }
    lab.write("bucket/large", vec![0xa5; 9 << 20]);
    lab.sh("cd bucket && chmod 640 'd0/e0/file 0.dat' && touch -d 2001-02-03T04:05:06.7Z 'd1/e1/file 1.dat' && ln -s large link && mkdir -p empty/folder");
}

/// Content, mode, owner and mtime of everything below a folder.
pub fn tree(root: &Path) -> BTreeMap<String, (u32, u32, u64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs_err::read_dir(&folder).expect("a folder can be listed") {
            let path = entry.expect("an entry can be read").path();
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            if name.starts_with(".lustre-bucket") {
                continue;
            }
            let attr = fs_err::symlink_metadata(&path).expect("an entry has attributes");
            let content = if attr.is_symlink() {
                fs_err::read_link(&path)
                    .expect("a link can be read")
                    .to_string_lossy()
                    .into_owned()
                    .into_bytes()
            } else if attr.is_dir() {
                waiting.push(path);
                Vec::new()
            } else {
                fs_err::read(&path).expect("a file can be read")
            };
            let size = if attr.is_dir() { 0 } else { attr.size() };
            let mtime = if attr.is_file() { attr.mtime() } else { 0 };
            found.insert(name, (attr.permissions().mode(), attr.uid(), size, mtime, content));
        }
    }
    found
}

#[test]
fn a_bucket_appears_as_files_and_changes_travel_back() {
    let lab = Lab::new();
    furnish(&lab);
    lab.spec(&(lab.cluster(4, "LZ4") + &lab.link() + &lab.mount("mnt")));
    lab.apply();
    let plan = lab.lustre(["plan", "-detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "a second plan says no changes: {}", plan.all());

    // Nothing has local bytes yet; reading one brings it in.
    let state = lab.must(["fs", "hsm_state", &lab.path("mnt/data/large").to_string_lossy()]).stdout;
    assert!(state.contains("(0x0000000d) released exists archived"), "{state}");
    assert_eq!(tree(&lab.path("mnt/data")), tree(&lab.path("bucket")), "mount and bucket agree");
    let state = lab.must(["fs", "hsm_state", &lab.path("mnt/data/large").to_string_lossy()]).stdout;
    assert!(state.contains("(0x00000009) exists archived"), "{state}");

    // A tree written through the mount comes to the bucket; deletes, renames and modes follow.
    lab.sh("mkdir -p src/a/b && for i in $(seq 30); do head -c $((i * 7000)) /dev/urandom > src/a/b/f$i; done && cp -a src mnt/data/src");
    lab.sh("rm 'mnt/data/d0/e0/file 0.dat' && mv mnt/data/d1 mnt/data/moved && chmod 600 mnt/data/large && echo changed >> 'mnt/data/d2/e2/file 2.dat'");
    wait_until("the bucket has what the mount has", || {
        let (mount, bucket) = (tree(&lab.path("mnt/data")), tree(&lab.path("bucket")));
        mount.keys().eq(bucket.keys())
            && mount.iter().all(|(name, there)| {
                bucket
                    .get(name)
                    .is_some_and(|here| here.4 == there.4 && (name.as_str() != "large" || here.0 == there.0))
            })
    });

    let destroy = lab.must(["destroy", "-auto-approve", "-allow-data-loss=cluster.*"]);
    assert!(lab.processes().is_empty(), "{:?}\n{}", lab.processes(), destroy.all());
    assert!(lab.mounts().is_empty(), "{:?}", lab.mounts());
    for gone in ["agent", "mdt", "ost"] {
        assert!(!lab.path(gone).exists(), "{gone} is left: {}", lab.sh(&format!("find {gone} | head")));
    }
    assert!(lab.path("bucket/src/a/b/f30").exists(), "the bucket's folder is the user's and stays");
}

#[test]
fn odd_keys_are_refused_one_by_one_and_the_rest_is_imported() {
    let lab = Lab::new();
    lab.write("bucket/good", "good");
    let link = lab.link();
    let bucket = &link[..link.find("data_repository_association").expect("the link is there")];
    lab.spec(
        &(lab.cluster(1, "NONE") + bucket + "output \"endpoint\" {\n  value = bucket.data.endpoint_url\n}\n"),
    );
    lab.apply();
    let endpoint = lab.must(["output", "-raw", "endpoint"]).stdout;
    let long = "l".repeat(300);
    let odd = ["a//b", "../up", "x/../y", "trailing/", "/absolute", long.as_str()];
    put_objects(&lab, &endpoint, &odd);

    lab.spec(&(lab.cluster(1, "NONE") + &link + &lab.mount("mnt")));
    lab.apply();
    assert_eq!(lab.sh("ls mnt/data"), "good\n");
    let status = lab.must(["status"]).stdout;
    for key in odd {
        assert!(status.contains(key), "{key} is named: {status}");
    }
    assert!(!lab.path("up").exists() && !lab.path("mnt/up").exists());
}

#[test]
fn what_others_do_to_the_bucket_comes_into_the_mount() {
    let lab = Lab::new();
    for name in ["stays", "changes", "goes", "mine"] {
        lab.write(&format!("bucket/{name}"), "before");
    }
    let policy = "auto_export_policy {\n      events = [\"NEW\", \"DELETED\"]\n    }\n    auto_import_policy {\n      events = [\"NEW\", \"CHANGED\", \"DELETED\"]\n    }\n  }\n}\n";
    let link = lab.link();
    let link = format!("{}{policy}", &link[..link.find("auto_export_policy").expect("it exports")]);
    let endpoint = "output \"endpoint\" {\n  value = bucket.data.endpoint_url\n}\n";
    lab.spec(&(lab.cluster(2, "LZ4") + &link + &lab.mount("mnt") + endpoint));
    lab.apply();
    let read = |name: &str| fs_err::read_to_string(lab.path(&format!("mnt/data/{name}"))).unwrap_or_default();
    assert_eq!((read("changes"), read("goes")), ("before".to_owned(), "before".to_owned()));
    // What is written here is exported where it is new, and stays here where nothing exports it.
    lab.write("mnt/data/ours", "written here");
    lab.write("mnt/data/mine", "changed here");
    wait_until("what is new here is exported", || lab.path("bucket/ours").exists());

    let endpoint = lab.must(["output", "-raw", "endpoint"]).stdout;
    put_objects(&lab, &endpoint, &["changes", "comes", "deep/er/comes"]);
    let (runtime, client) = client(&lab, &endpoint);
    runtime.block_on(async {
        client.delete("goes").await.expect("it can be deleted");
        client.delete("mine").await.expect("it can be deleted");
    });
    wait_until("the bucket was listed again", || lab.path("mnt/data/deep/er/comes").exists());
    assert_eq!((read("comes"), read("deep/er/comes")), ("content".to_owned(), "content".to_owned()));
    assert_eq!((read("changes"), read("stays")), ("content".to_owned(), "before".to_owned()));
    assert_eq!((read("ours"), read("mine")), ("written here".to_owned(), "changed here".to_owned()));
    assert!(!lab.path("mnt/data/goes").exists());
    assert_eq!(lab.lustre(["plan", "-detailed-exitcode"]).code, Some(0));
}

/// An ordinary S3 client of the bucket.
fn client(lab: &Lab, endpoint: &str) -> (tokio::runtime::Runtime, S3Client) {
    let endpoint = Endpoint {
        bucket: "data".to_owned(),
        endpoint_url: Some(endpoint.trim().to_owned()),
        region: None,
        path_style: true,
        credentials_file: Some(lab.path("agent/credentials/data").to_string_lossy().into_owned()),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = runtime.block_on(S3Client::connect(&endpoint)).expect("the bucket answers");
    (runtime, client)
}

/// Writes objects as others do.
fn put_objects(lab: &Lab, endpoint: &str, keys: &[&str]) {
    let options = PutOptions { metadata: Metadata::new(), content_type: None, condition: Condition::Always };
    let (runtime, client) = client(lab, endpoint);
    runtime.block_on(async {
        for key in keys {
            client.put(key, "content".into(), &options).await.expect("any key can be an object");
        }
    });
}
