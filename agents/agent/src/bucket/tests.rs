//! The bucket through the AWS SDK's client, and its listing against an oracle.

mod moved;

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use bytes::Bytes;
use lustre_s3::{Condition, Copy, Endpoint, KeyPair, ObjectStorage, PutOptions, S3Client, StorageError};
use proptest::prelude::*;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::bucket::listing::Query;
use crate::bucket::record::Draft;
use crate::bucket::store::{self, Store};

struct Server {
    folder: tempfile::TempDir,
    endpoint: Endpoint,
    client: S3Client,
    _stop: tokio_util::sync::DropGuard,
}

async fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    serve(folder).await
}

async fn serve(folder: tempfile::TempDir) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let keys = KeyPair { access_key: "AK".into(), secret_key: "secret".into(), session_token: None };
    let credentials = folder.path().with_extension("keys");
    fs_err::write(&credentials, keys.to_file()).unwrap();
    let stop = CancellationToken::new();
    let (path, token) = (folder.path().to_owned(), stop.clone());
    tokio::spawn(async move { super::serve(listener, &path, "data", &keys, token).await.unwrap() });
    let endpoint = Endpoint {
        bucket: "data".into(),
        endpoint_url: Some(format!("http://{address}")),
        region: None,
        path_style: true,
        credentials_file: Some(credentials.to_str().unwrap().to_owned()),
    };
    let client = S3Client::connect(&endpoint).await.unwrap();
    Server { folder, endpoint, client, _stop: stop.drop_guard() }
}

fn options(metadata: &[(&str, &str)]) -> PutOptions {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    PutOptions { metadata, content_type: None, condition: Condition::Always }
}

fn when(condition: Condition) -> PutOptions {
    PutOptions { condition, ..options(&[]) }
}

async fn put(client: &S3Client, key: &str, text: &'static str) -> String {
    client.put(key, Bytes::from_static(text.as_bytes()), &options(&[])).await.unwrap()
}

async fn keys(client: &S3Client, prefix: &str) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = client.list(prefix, after.as_deref(), 3).await.unwrap();
        keys.extend(page.objects.into_iter().map(|object| object.key));
        if !page.more {
            return keys;
        }
        after = keys.last().cloned();
    }
}

#[tokio::test]
async fn an_object_is_a_file_with_its_metadata() {
    let server = server().await;
    let metadata =
        [("file-permissions", "0100640"), ("file-mtime", "1500000000000000007ns"), ("colour", "blue")];
    let tag =
        server.client.put("a/b/c.txt", Bytes::from_static(b"hello"), &options(&metadata)).await.unwrap();
    assert_eq!(tag, "5d41402abc4b2a76b9719d911017c592");
    let path = server.folder.path().join("a/b/c.txt");
    let stat = fs_err::metadata(&path).unwrap();
    assert_eq!(stat.permissions().mode() & 0o7777, 0o640);
    let mtime = stat.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(mtime.as_nanos(), 1_500_000_000_000_000_007);
    let head = server.client.head("a/b/c.txt").await.unwrap();
    assert_eq!((head.etag.as_str(), head.size), (tag.as_str(), 5));
    assert_eq!(head.metadata, options(&metadata).metadata);
    assert_eq!(keys(&server.client, "").await, ["a/b/c.txt"]);
    let part = server.client.get("a/b/c.txt", 1..3, Some(&tag)).await.unwrap();
    assert_eq!(&part.bytes[..], b"el");
    let stale = server.client.get("a/b/c.txt", 0..3, Some("other")).await;
    assert!(matches!(stale, Err(StorageError::PreconditionFailed { .. })), "{stale:?}");
    let behind = server.client.get("a/b/c.txt", 5..9, None).await;
    assert!(
        matches!(behind, Err(StorageError::Other { ref code, .. }) if code == "InvalidRange"),
        "{behind:?}"
    );
    let missing = server.client.head("a/b").await;
    assert!(matches!(missing, Err(StorageError::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn files_that_were_there_show_their_own_attributes() {
    let server = server().await;
    let root = server.folder.path();
    fs_err::create_dir_all(root.join("dir/empty")).unwrap();
    fs_err::write(root.join("dir/file"), "one").unwrap();
    fs_err::set_permissions(root.join("dir/file"), std::fs::Permissions::from_mode(0o604)).unwrap();
    symlink("/etc/passwd", root.join("dir/link")).unwrap();
    symlink("/etc", root.join("dir/out")).unwrap();
    assert_eq!(keys(&server.client, "").await, ["dir/", "dir/empty/", "dir/file", "dir/link", "dir/out"]);
    let head = server.client.head("dir/file").await.unwrap();
    assert_eq!(head.metadata["file-permissions"], "0100604");
    assert_eq!(server.client.head("dir/empty/").await.unwrap().size, 0);
    let link = server.client.head("dir/link").await.unwrap();
    assert_eq!(link.metadata["file-permissions"], "0120777");
    let target = server.client.get("dir/link", 0..100, Some(&link.etag)).await.unwrap();
    assert_eq!(&target.bytes[..], b"/etc/passwd");
    for outside in ["dir/out/passwd", "dir/link/x"] {
        let found = server.client.head(outside).await;
        assert!(matches!(found, Err(StorageError::NotFound { .. })), "{outside}: {found:?}");
    }
    let listed = server.client.list("dir/file", None, 9).await.unwrap();
    assert_eq!(listed.objects[0].etag, head.etag);
    fs_err::write(root.join("dir/file"), "three").unwrap();
    assert_ne!(server.client.head("dir/file").await.unwrap().etag, head.etag);
}

#[tokio::test]
async fn writing_below_a_symbolic_link_does_not_leave_the_folder() {
    let server = server().await;
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), server.folder.path().join("out")).unwrap();
    put(&server.client, "out/x", "trap").await;
    assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 0);
    let back = server.client.get("out/x", 0..4, None).await.unwrap();
    assert_eq!(&back.bytes[..], b"trap");
}

#[tokio::test]
async fn no_prefix_leads_into_the_bucket_s_own_folder() {
    let server = server().await;
    put(&server.client, "a//b", "kept aside").await;
    for prefix in [".lustre-bucket/", ".lustre-bucket/odd/", "./", "./.lustre-bucket/", "../", "/"] {
        assert!(keys(&server.client, prefix).await.is_empty(), "{prefix}");
    }
}

#[tokio::test]
async fn of_many_that_create_one_key_one_wins() {
    let server = server().await;
    for round in 0..5 {
        let key = format!("race-{round}");
        let racers = (0..16).map(|racer| {
            let (client, key) = (server.client.clone(), key.clone());
            async move {
                client.put(&key, Bytes::from(format!("{racer}")), &when(Condition::IfAbsent)).await.is_ok()
            }
        });
        let won = futures::future::join_all(racers).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
    }
    let tag = put(&server.client, "k", "1").await;
    let lost = server.client.put("k", Bytes::new(), &when(Condition::IfMatch("no".into()))).await;
    assert!(matches!(lost, Err(StorageError::PreconditionFailed { .. })), "{lost:?}");
    server.client.put("k", Bytes::from_static(b"2"), &when(Condition::IfMatch(tag))).await.unwrap();
}

#[tokio::test]
async fn keys_that_are_not_paths_are_kept_and_listed_in_order() {
    let server = server().await;
    let long = format!("{}/x", "y".repeat(300));
    let odd = ["../up", "/lead", "a", "a//b", "a/b", "dir/", "q/\u{1}\u{e4}+ %41", &long];
    for key in odd {
        put(&server.client, key, "content").await;
    }
    let mut sorted: Vec<&str> = odd.to_vec();
    sorted.sort_unstable();
    assert_eq!(keys(&server.client, "").await, sorted);
    for key in odd {
        let back = server.client.get(key, 0..7, None).await;
        assert_eq!(&back.unwrap().bytes[..], b"content", "{key}");
    }
    let refused = server.client.put(".lustre-bucket/odd/x", Bytes::new(), &options(&[])).await;
    assert!(matches!(refused, Err(StorageError::AccessDenied { .. })), "{refused:?}");
    for key in odd {
        server.client.delete(key).await.unwrap();
    }
    assert!(keys(&server.client, "").await.is_empty());
    assert!(!server.folder.path().join("../up").exists());
}

#[tokio::test]
async fn directories_that_nobody_asked_for_go_with_their_last_key() {
    let server = server().await;
    let root = server.folder.path();
    fs_err::create_dir(root.join("local")).unwrap();
    put(&server.client, "local/x/y", "1").await;
    server.client.put("kept/", Bytes::new(), &options(&[("file-permissions", "040750")])).await.unwrap();
    put(&server.client, "kept/z", "1").await;
    assert_eq!(keys(&server.client, "").await, ["kept/", "kept/z", "local/", "local/x/y"]);
    server.client.delete("local/x/y").await.unwrap();
    server.client.delete("kept/").await.unwrap();
    assert_eq!(keys(&server.client, "").await, ["kept/z", "local/"]);
    server.client.delete("kept/z").await.unwrap();
    assert!(!root.join("kept").exists() && root.join("local").exists() && !root.join("local/x").exists());
}

#[tokio::test]
async fn a_multipart_upload_becomes_one_object() {
    let server = server().await;
    let client = &server.client;
    let big = Bytes::from(vec![7_u8; 5 << 20]);
    let upload = client.begin("big", &options(&[("k", "v")])).await.unwrap();
    let one = client.upload("big", &upload, 1, big.clone()).await.unwrap();
    let two = client.upload("big", &upload, 2, Bytes::from_static(b"end")).await.unwrap();
    let swapped = client.complete("big", &upload, &[two.clone(), one.clone()], &Condition::Always).await;
    assert!(matches!(swapped, Err(StorageError::Other { ref code, .. }) if code == "InvalidPartOrder"));
    let small = client.upload("big", &upload, 3, Bytes::new()).await.unwrap();
    let parts = [one.clone(), two.clone(), small];
    let tiny = client.complete("big", &upload, &parts, &Condition::Always).await;
    assert!(
        matches!(tiny, Err(StorageError::Other { ref code, .. }) if code == "EntityTooSmall"),
        "{tiny:?}"
    );
    let tag = client.complete("big", &upload, &[one, two], &Condition::IfAbsent).await.unwrap();
    assert!(tag.ends_with("-2"), "{tag}");
    let head = client.head("big").await.unwrap();
    assert_eq!((head.etag, head.size), (tag, (5 << 20) + 3));
    assert_eq!(head.metadata["k"], "v");
    let again = client.begin("big2", &options(&[])).await.unwrap();
    let copy = Copy { from: "big".into(), to: "big2".into(), replace: None, from_match: None };
    let part = client.upload_copy(&copy, &again, 1, 1..4).await.unwrap();
    client.complete("big2", &again, &[part], &Condition::Always).await.unwrap();
    assert_eq!(&client.get("big2", 0..9, None).await.unwrap().bytes[..], [7, 7, 7]);
    let dropped = client.begin("big", &options(&[])).await.unwrap();
    client.abort("big", &dropped).await.unwrap();
    client.abort("big", &dropped).await.unwrap();
    assert_eq!(fs_err::read_dir(server.folder.path().join(".lustre-bucket/uploads")).unwrap().count(), 0);
}

#[tokio::test]
async fn copies_keep_or_replace_metadata() {
    let server = server().await;
    let client = &server.client;
    let tag = client.put("a b/\u{e4}", Bytes::from_static(b"x"), &options(&[("k", "1")])).await.unwrap();
    let copy = |to: &str, replace, from_match: Option<&str>| Copy {
        from: "a b/\u{e4}".into(),
        to: to.into(),
        replace,
        from_match: from_match.map(str::to_owned),
    };
    client.copy(&copy("c", None, Some(&tag))).await.unwrap();
    assert_eq!(client.head("c").await.unwrap().metadata["k"], "1");
    let stale = client.copy(&copy("d", None, Some("no"))).await;
    assert!(matches!(stale, Err(StorageError::PreconditionFailed { .. })), "{stale:?}");
    let replaced = options(&[("file-permissions", "0100600"), ("file-mtime", "5ns")]);
    let same = client.copy(&copy("a b/\u{e4}", Some(replaced.clone()), Some(&tag))).await.unwrap();
    assert_eq!(same, tag, "a copy in place keeps the content's version");
    let head = client.head("a b/\u{e4}").await.unwrap();
    assert_eq!((head.etag, head.metadata), (tag, replaced.metadata));
}

#[tokio::test]
async fn strangers_are_told_what_is_wrong() {
    let server = server().await;
    let keys = KeyPair { access_key: "AK".into(), secret_key: "wrong".into(), session_token: None };
    let file = server.folder.path().with_extension("wrong");
    fs_err::write(&file, keys.to_file()).unwrap();
    let with = |change: &dyn Fn(&mut Endpoint)| {
        let mut endpoint = server.endpoint.clone();
        change(&mut endpoint);
        async move { S3Client::connect(&endpoint).await.unwrap().check().await }
    };
    let wrong = with(&|e| e.credentials_file = Some(file.to_str().unwrap().into())).await;
    assert!(matches!(wrong, Err(StorageError::AccessDenied { .. })), "{wrong:?}");
    let other = with(&|e| e.bucket = "other".into()).await;
    assert!(matches!(other, Err(StorageError::NoSuchBucket { .. })), "{other:?}");
    let nobody = with(&|e| e.endpoint_url = Some("http://127.0.0.1:1".into())).await;
    assert!(matches!(nobody, Err(StorageError::Unreachable { .. })), "{nobody:?}");
}

#[tokio::test]
async fn odd_keys_survive_a_restart() {
    let first = server().await;
    put(&first.client, "a//b", "1").await;
    put(&first.client, "plain", "2").await;
    let second = serve(first.folder).await;
    assert_eq!(keys(&second.client, "").await, ["a//b", "plain"]);
    assert_eq!(&second.client.get("a//b", 0..9, None).await.unwrap().bytes[..], b"1");
}

/// All pages of a query, as (key or prefix).
fn pages(store: &Store, query: &Query) -> Vec<String> {
    let (mut query, mut found) = (query.clone(), Vec::new());
    loop {
        let page = store.list(&query).unwrap();
        let mut names: Vec<String> = page.objects.into_iter().map(|listed| listed.key).collect();
        names.extend(page.prefixes);
        names.sort();
        found.extend(names);
        match page.next {
            Some(next) => query.after = next,
            None => return found,
        }
    }
}

/// What S3 would list.
fn expected(keys: &BTreeSet<String>, query: &Query) -> Vec<String> {
    let behind = keys.iter().filter(|key| key.starts_with(&query.prefix) && **key > query.after);
    let rolled = behind.map(|key| {
        let rest = &key[query.prefix.len()..];
        match query.delimiter.as_deref().and_then(|delimiter| rest.find(delimiter)) {
            Some(at) => key[..query.prefix.len() + at + 1].to_owned(),
            None => key.clone(),
        }
    });
    let rolled: BTreeSet<String> = rolled.filter(|name| *name > query.after).collect();
    rolled.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn listings_are_those_of_an_ordered_set(
        keys in proptest::collection::btree_set("[ab.-]{1,2}(/{1,2}[ab.!]{1,2}){0,3}/?", 0..24),
        removed in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        prefix in "([ab.]{0,2}/?){0,2}",
        after in "([ab.]{0,2}/?){0,2}",
        delimited: bool,
        limit in 1_usize..8,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let mut there = keys.clone();
        for key in &keys {
            let mut staged = store.stage().unwrap();
            if !key.ends_with('/') {
                staged.write(b"x").unwrap();
            }
            store.put(key, staged, Draft::default(), &store::Condition::Always).unwrap();
        }
        for index in removed.iter().filter(|_| !keys.is_empty()) {
            let key = index.get(&keys.iter().collect::<Vec<_>>()).to_string();
            store.delete(&key, &store::Condition::Always).unwrap();
            there.remove(&key);
        }
        let delimiter = delimited.then(|| "/".to_owned());
        let query = Query { prefix, delimiter, after, limit };
        prop_assert_eq!(pages(&store, &query), expected(&there, &query));
        for key in &there {
            prop_assert!(store.find(key).is_ok(), "{}", key);
        }
    }
}
