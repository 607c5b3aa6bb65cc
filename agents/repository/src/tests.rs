//! The mover between a bucket and a metadata target, both in memory and both failing.

mod bucket;
mod target;

use std::collections::BTreeSet;
use std::time::Duration;

use lustre_model::attr::FileKind;
use lustre_model::hsm::{HsmFailure, HsmOutcome, KeyRange, PosixMetadata};
use proptest::prelude::*;

use crate::archive::FID;
use crate::tests::bucket::{MemoryBucket, Stored};
use crate::tests::target::{File, MemoryTarget, PREFIX, Step};
use crate::{posix, run};

/// Longest that a test's mover may take; none comes near.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a mover until nothing is left to do.
async fn settle(target: &MemoryTarget, bucket: &MemoryBucket) {
    let idle = target.idle.clone();
    let done = run(target.clone(), bucket.clone(), async move { idle.notified().await });
    tokio::time::timeout(PATIENCE, done).await.expect("everything is done in time").unwrap();
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn object(bucket: &MemoryBucket, number: u64) -> Option<Stored> {
    bucket.state().objects.get(&format!("{PREFIX}f{number}")).cloned()
}

/// The failure that an action ended with.
fn failure(file: &File) -> (HsmFailure, bool) {
    match file.outcomes.last() {
        Some(HsmOutcome::Failed { code, retry, .. }) => (*code, *retry),
        other => panic!("not a failure: {other:?}"),
    }
}

#[test]
fn a_file_is_stored_with_fsx_s_metadata_and_its_own_fid() {
    let target = MemoryTarget::with(vec![File::new(1, vec![Step::Write(b"hello".to_vec())])]);
    let bucket = MemoryBucket::default();
    block_on(settle(&target, &bucket));
    let stored = object(&bucket, 1).unwrap();
    assert_eq!(&stored.bytes[..], b"hello");
    assert_eq!(target.file(1).etag, Some(stored.etag));
    let mut metadata = stored.metadata;
    assert_eq!(metadata.remove(FID), Some("[0x200000400:0x2:0x0]".into()));
    let text: Vec<String> = metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let time = "1000000005ns";
    assert_eq!(
        text.join(" "),
        format!(
            "file-atime={time} file-group=2 file-mtime={time} file-owner=1 file-permissions=0100644 user-agent=aws-fsx-lustre"
        )
    );
}

#[test]
fn links_and_directories_have_the_forms_that_fsx_gives_them() {
    let mut link = File::new(1, vec![Step::Write(Vec::new()), Step::Ask]);
    (link.kind, link.symlink, link.mode) = (FileKind::Symlink, Some(b"../to".to_vec()), 0o777);
    let mut directory = File::new(2, vec![Step::Write(Vec::new())]);
    (directory.kind, directory.key, directory.mode) = (FileKind::Directory, format!("{PREFIX}d/"), 0o755);
    let target = MemoryTarget::with(vec![link, directory]);
    let bucket = MemoryBucket::default();
    block_on(settle(&target, &bucket));
    let stored = object(&bucket, 1).unwrap();
    assert_eq!((&stored.bytes[..], stored.metadata[posix::PERMISSIONS].as_str()), (&b"../to"[..], "0120777"));
    let stored = bucket.state().objects[&format!("{PREFIX}d/")].clone();
    assert_eq!((stored.bytes.len(), stored.metadata[posix::PERMISSIONS].as_str()), (0, "040755"));
    let identified = target.file(1).outcomes.pop();
    assert!(
        matches!(&identified, Some(HsmOutcome::Identified { symlink: Some(to), metadata })
            if to == b"../to" && metadata.permissions == Some(0o120_777)),
        "{identified:?}"
    );
}

#[test]
fn what_an_object_does_not_say_is_absent() {
    let target = MemoryTarget::with(vec![File::new(1, vec![Step::Ask]), File::new(2, vec![Step::Ask])]);
    let bucket = MemoryBucket::default();
    bucket.state().put(&format!("{PREFIX}f1"), "x", Default::default());
    block_on(settle(&target, &bucket));
    let outcome = target.file(1).outcomes.pop();
    let nothing = PosixMetadata::default();
    assert_eq!(outcome, Some(HsmOutcome::Identified { metadata: nothing, symlink: None }));
    assert_eq!(failure(&target.file(2)), (HsmFailure::NotFound, false));
}

#[test]
fn keys_that_were_changed_are_read_again_when_the_old_ones_are_refused() {
    let files = vec![File::new(1, vec![Step::Write(b"one".to_vec()), Step::Write(b"two".to_vec())])];
    let target = MemoryTarget::with(files);
    let bucket = MemoryBucket::default();
    bucket.state().at = Some((2, |state| (state.keys_taken, state.keys_in_file) = (1, 1)));
    block_on(settle(&target, &bucket));
    assert_eq!(&object(&bucket, 1).unwrap().bytes[..], b"two");
    let outcomes = target.file(1).outcomes;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, HsmOutcome::Stored { .. })), "{outcomes:?}");
}

#[test]
fn a_check_reads_the_keys_anew_and_says_what_to_do() {
    let target = MemoryTarget::with(vec![File::new(1, vec![Step::Check, Step::Check])]);
    let bucket = MemoryBucket::default();
    bucket.state().keys_taken = 1;
    bucket.state().at = Some((2, |state| state.keys_in_file = 1));
    block_on(settle(&target, &bucket));
    let outcomes = target.file(1).outcomes;
    assert!(
        matches!(&outcomes[0], HsmOutcome::Failed { cause, code: HsmFailure::AccessDenied, retry: true }
            if cause.contains("ExpiredToken") && cause.contains("s3:ListBucket")),
        "{outcomes:?}"
    );
    assert_eq!(outcomes.last(), Some(&HsmOutcome::Done));
}

#[test]
fn foreign_objects_are_left_alone() {
    let scripts =
        [Step::Write(b"mine".to_vec()), Step::Chmod(0o600), Step::Delete, Step::Move("data/m".into())];
    let files = scripts.into_iter().zip(1..).map(|(step, number)| File {
        etag: (number > 1).then(|| "known".to_owned()),
        ..File::new(number, vec![step])
    });
    let target = MemoryTarget::with(files.collect());
    let bucket = MemoryBucket::default();
    for number in 1..=4 {
        bucket.state().put(&format!("{PREFIX}f{number}"), "theirs", Default::default());
    }
    block_on(settle(&target, &bucket));
    for number in 1..=4 {
        assert_eq!(failure(&target.file(number)), (HsmFailure::Changed, false), "{number}");
        let stored = object(&bucket, number).unwrap();
        assert_eq!((&stored.bytes[..], stored.metadata.len()), (&b"theirs"[..], 0));
    }
    assert_eq!(bucket.state().objects.len(), 4);
}

#[test]
fn a_rename_does_not_overwrite_somebody_else_s_object() {
    let script = vec![Step::Write(b"mine".to_vec()), Step::Move(format!("{PREFIX}f9"))];
    let target = MemoryTarget::with(vec![File::new(1, script)]);
    let bucket = MemoryBucket::default();
    bucket.state().put(&format!("{PREFIX}f9"), "theirs", Default::default());
    block_on(settle(&target, &bucket));
    assert_eq!(failure(&target.file(1)), (HsmFailure::Changed, false));
    assert_eq!(&object(&bucket, 9).unwrap().bytes[..], b"theirs");
    assert_eq!(&object(&bucket, 1).unwrap().bytes[..], b"mine");
}

#[test]
fn changed_attributes_keep_what_others_put_beside_them() {
    let mut file = File::new(1, vec![Step::Chmod(0o600)]);
    let bucket = MemoryBucket::default();
    let metadata = [("colour".to_owned(), "blue".to_owned())].into();
    file.etag = Some(bucket.state().put(&file.key, "text", metadata));
    let target = MemoryTarget::with(vec![file]);
    block_on(settle(&target, &bucket));
    let stored = object(&bucket, 1).unwrap();
    assert_eq!(stored.metadata["colour"], "blue");
    assert_eq!(stored.metadata[posix::PERMISSIONS], "0100600");
    assert_eq!(stored.content_type.as_deref(), Some("text/plain"));
    assert_eq!(target.file(1).etag, Some(stored.etag));
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 4096) as u8 ^ at as u8).collect()
}

#[test]
fn large_files_go_and_come_in_pieces() {
    let bytes = pattern((40 << 20) + 11);
    let target = MemoryTarget::with(vec![File::new(1, vec![Step::Write(bytes.clone()), Step::Read])]);
    let bucket = MemoryBucket::default();
    block_on(settle(&target, &bucket));
    assert!(object(&bucket, 1).unwrap().bytes == bytes);
    let mut back = vec![0; bytes.len()];
    for (offset, piece) in &target.state().written {
        back[*offset as usize..*offset as usize + piece.len()].copy_from_slice(piece);
    }
    assert!(back == bytes);
    assert!(!target.state().progress.is_empty(), "readers of the first piece do not wait for the last");
    assert_eq!(bucket.state().open_uploads(), 0);
}

#[test]
fn two_versions_are_never_spliced() {
    let bytes = vec![1_u8; 40 << 20];
    let mut file = File { bytes: bytes.clone(), ..File::new(1, vec![Step::Read]) };
    let bucket = MemoryBucket::default();
    file.etag = Some(bucket.state().put(&file.key, bytes, Default::default()));
    let target = MemoryTarget::with(vec![file]);
    bucket.state().at = Some((4, |state| {
        state.put("data/f1", vec![2_u8; 40 << 20], Default::default());
    }));
    block_on(settle(&target, &bucket));
    assert_eq!(failure(&target.file(1)), (HsmFailure::Changed, false));
    assert!(target.state().written.iter().all(|(_, piece)| piece.iter().all(|byte| *byte == 1)));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_stored() {
    for size in [10, 40 << 20] {
        let target = MemoryTarget::with(vec![File::new(1, vec![Step::Write(vec![3; size])])]);
        target.state().change_at_read = Some(1);
        let bucket = MemoryBucket::default();
        block_on(settle(&target, &bucket));
        let file = target.file(1);
        assert!(
            matches!(file.outcomes[0], HsmOutcome::Failed { retry: true, code: HsmFailure::Changed, .. }),
            "{:?}",
            file.outcomes
        );
        assert!(matches!(file.outcomes[1], HsmOutcome::Stored { .. }), "{:?}", file.outcomes);
        assert_eq!(bucket.state().open_uploads(), 0, "the upload was aborted");
    }
}

#[test]
fn an_end_that_is_not_heard_is_said_again() {
    let target = MemoryTarget::with(vec![File::new(1, vec![Step::Write(b"x".to_vec())])]);
    target.state().deaf = 2;
    let bucket = MemoryBucket::default();
    block_on(settle(&target, &bucket));
    assert_eq!(target.file(1).outcomes.len(), 1);
}

#[test]
fn a_mover_that_cannot_end_an_action_gives_up() {
    let target = MemoryTarget::with(vec![File::new(1, vec![Step::Delete])]);
    target.state().deaf = 1000;
    let mover = run(target, MemoryBucket::default(), std::future::pending());
    let ended = block_on(async { tokio::time::timeout(PATIENCE, mover).await });
    assert!(ended.unwrap().is_err());
}

fn keys(bucket: &MemoryBucket, count: usize) -> BTreeSet<String> {
    let keys: BTreeSet<String> =
        (0..count).map(|number| format!("{:x}/{number:05}-\u{e4}", number % 37)).collect();
    for key in &keys {
        bucket.state().put(&format!("{PREFIX}{key}"), "x", Default::default());
    }
    bucket.state().put(PREFIX, "", Default::default());
    bucket.state().put("elsewhere/x", "", Default::default());
    keys
}

#[test]
fn every_key_is_imported_once() {
    let bucket = MemoryBucket::default();
    let keys = keys(&bucket, 20_000);
    let target = MemoryTarget::default();
    target.state().list_wanted = true;
    block_on(settle(&target, &bucket));
    let imported: Vec<String> = target.state().imported.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(imported.len(), keys.len());
    assert!(imported.into_iter().collect::<BTreeSet<String>>() == keys);
    let lists = bucket.state().lists;
    assert!(lists < 100, "{lists} requests for 21 pages");
    assert!(are_whole(target.state().ranges.clone()));
}

/// Whether ranges lie beside each other without gap, from the first key to the last.
fn are_whole(mut ranges: Vec<KeyRange>) -> bool {
    ranges.sort_by(|one, other| one.after.cmp(&other.after));
    let ends = ranges.iter().map(|range| range.until.clone()).chain([None]);
    let begins = ranges.iter().skip(1).map(|range| range.after.clone()).chain([None, None]);
    ranges.first().is_some_and(|first| first.after.is_none()) && ends.eq(begins)
}

#[test]
fn a_listing_that_fails_is_repeated() {
    let bucket = MemoryBucket::seeded(3, 3);
    let keys = keys(&bucket, 3_000);
    let target = MemoryTarget::default();
    target.state().list_wanted = true;
    block_on(settle(&target, &bucket));
    let outcomes = target.state().list_outcomes.clone();
    assert!(outcomes.len() > 1 && outcomes.last() == Some(&HsmOutcome::Done), "{outcomes:?}");
    let imported: BTreeSet<String> = target.state().imported.iter().map(|e| e.key.clone()).collect();
    assert!(imported == keys);
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..8).prop_map(Step::Write),
        2 => (0_u32..0o777).prop_map(Step::Chmod),
        2 => "[a-d]{1,2}".prop_map(Step::Move),
        1 => Just(Step::Ask),
        1 => Just(Step::Read),
    ];
    (proptest::collection::vec(step, 0..6), any::<bool>()).prop_map(|(steps, delete)| {
        let first = Step::Write(b"first".to_vec());
        std::iter::once(first).chain(steps).chain(delete.then_some(Step::Delete)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Requests fail, answers are lost, the mover is killed between any two requests; in the end the bucket holds what the
    /// files are, and no step of any file was taken for a conflict.
    #[test]
    fn the_bucket_converges_whatever_fails(
        scripts in proptest::collection::vec(script(), 1..6),
        seed: u64,
        faults in 0_u64..60,
        kills in proptest::collection::vec(1_u64..3000, 0..5),
    ) {
        let files = scripts.into_iter().zip(1_u64..).map(|(script, number)| {
            let script = script.into_iter().map(|step| {
                if let Step::Move(to) = step { Step::Move(format!("{PREFIX}{number}/{to}")) } else { step }
            });
            File::new(number, script.collect())
        });
        let target = MemoryTarget::with(files.collect());
        let bucket = MemoryBucket::seeded(seed, faults);
        block_on(async {
            for kill in kills {
                let stop = tokio::time::sleep(Duration::from_micros(kill));
                run(target.clone(), bucket.clone(), stop).await.unwrap();
                target.mover_lost();
                target.state().unsynced.clear();
            }
            settle(&target, &bucket).await;
        });
        let state = target.state();
        let mut expected = BTreeSet::new();
        for file in state.files.values() {
            prop_assert!(
                !file.outcomes.iter().any(|o| matches!(o, HsmOutcome::Failed { retry: false, .. })),
                "{:?}", file.outcomes
            );
            let Some(etag) = &file.etag else { continue };
            expected.insert(file.key.clone());
            let stored = bucket.state().objects.get(&file.key).cloned();
            let stored = stored.ok_or_else(|| TestCaseError::fail(format!("{} is missing", file.key)))?;
            prop_assert_eq!(&stored.etag, etag);
            prop_assert_eq!(&stored.bytes[..], &file.bytes[..]);
            prop_assert_eq!(posix::read(&stored.metadata).permissions, Some(0o100_000 | file.mode));
        }
        let there: BTreeSet<String> = bucket.state().objects.keys().cloned().collect();
        prop_assert_eq!(there, expected);
    }
}
