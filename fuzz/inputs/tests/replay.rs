//! Every kept input of the fuzzers (`fuzz/seeds/<sort>/*`) keeps its promises in an ordinary build too.
//!
//! Adding a case is adding a file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As much as the main thread of a command has.
const STACK_BYTES: usize = 8 << 20;

/// What one input may take. The fuzzers allow 5 s on an optimised build.
const INPUT_MAX: Duration = Duration::from_mins(1);

/// Most bytes of all kept inputs.
const SEEDS_BYTES_MAX: usize = 300 << 10;

fn seeds(sort: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(sort);
    let mut paths: Vec<PathBuf> =
        fs_err::read_dir(folder).expect("each sort has seeds").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs_err::read(&path).expect("a seed can be read");
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

fn replay(sort: &str) {
    let (_, run) = lustre_inputs::SORTS.into_iter().find(|(name, _)| *name == sort).expect("a sort of input");
    let seeds = seeds(sort);
    assert!(seeds.len() >= 5, "{sort} has only {} seeds", seeds.len());
    let all = move || {
        let mut failed = Vec::new();
        for (path, bytes) in seeds {
            let began = Instant::now();
            let kept = catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_ok();
            if !kept || began.elapsed() > INPUT_MAX {
                failed.push(format!("{} ({:?})", path.display(), began.elapsed()));
            }
        }
        failed
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(all).expect("a thread");
    let failed = thread.join().expect("failures are caught");
    assert!(failed.is_empty(), "broken promises, told above in this order:\n  {}", failed.join("\n  "));
}

#[test]
fn texts_are_read_or_refused() {
    replay("parse");
}

#[test]
fn specs_are_planned_or_refused() {
    replay("evaluate");
}

#[test]
fn canonical_form_is_stable_and_says_the_same() {
    replay("format");
}

#[test]
fn plan_files_are_read_or_refused() {
    replay("plan_file");
}

#[test]
fn states_are_read_or_refused() {
    replay("state_file");
}

#[test]
fn what_a_peer_sends_is_read_or_refused() {
    replay("message");
}

#[test]
fn what_is_kept_stays_small() {
    let sorts = lustre_inputs::SORTS.iter();
    let bytes: usize = sorts.flat_map(|(name, _)| seeds(name)).map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= SEEDS_BYTES_MAX, "{bytes} bytes: drop what `-merge=1` finds to be of no use");
}
