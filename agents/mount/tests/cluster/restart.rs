//! The metadata target is killed and starts again while processes work on the mounts: they only notice that it takes a while.
//!
//! Invariant: what a process was told is done is compared after the last restart, on the mount that did not do it.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

use crate::pair::{Pair, names, on_two_mounts};

/// How often the metadata target is killed in one test.
const KILLS: u64 = 12;

/// A time of another year for each number.
fn time_of(number: usize) -> Timespec {
    let number = i64::try_from(number).unwrap();
    Timespec { tv_sec: 981_173_106 + number * 1_000_003, tv_nsec: 7_000_000 + number }
}

fn times(number: usize) -> Timestamps {
    Timestamps { last_access: time_of(number), last_modification: time_of(number) }
}

fn content(number: usize) -> Vec<u8> {
    (0..number * 977 % 90_000).map(|at| u8::try_from((at * 7 + number) % 251).unwrap()).collect()
}

fn mode_of(number: usize) -> u32 {
    [0o644, 0o600, 0o755, 0o4711][number % 4]
}

/// What GNU tar does for one file, in its order.
fn extract(path: &Path, number: usize) {
    let mut file = fs_err::OpenOptions::new().write(true).create_new(true).open(path).unwrap().into_file();
    for part in content(number).chunks(10_240) {
        file.write_all(part).unwrap();
    }
    rustix::fs::futimens(&file, &times(number)).unwrap();
    rustix::fs::fchown(&file, Some(Uid::from_raw(12)), Some(Gid::from_raw(34))).unwrap();
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode_of(number))).unwrap();
    if number.is_multiple_of(3) {
        rustix::fs::fsetxattr(&file, "user.number", number.to_string().as_bytes(), XattrFlags::empty())
            .unwrap();
    }
}

fn assert_extracted(path: &Path, number: usize) {
    let attr = fs_err::metadata(path).unwrap();
    let shown = path.display();
    assert_eq!(attr.len(), content(number).len() as u64, "{shown}");
    assert_eq!(
        (attr.mtime(), attr.mtime_nsec()),
        (time_of(number).tv_sec, time_of(number).tv_nsec),
        "{shown}"
    );
    assert_eq!((attr.uid(), attr.gid(), attr.mode() & 0o7777), (12, 34, mode_of(number)), "{shown}");
    assert!(fs_err::read(path).unwrap() == content(number), "{shown}");
    let mut value = [0; 20];
    let found = rustix::fs::getxattr(path, "user.number", &mut value);
    assert_eq!(found.ok(), number.is_multiple_of(3).then_some(number.to_string().len()), "{shown}");
}

/// Runs `work` on the first mount, again and again, until the metadata target was killed often enough; returns how often.
fn while_killed(pair: &Pair, work: impl Fn(usize) + Sync) -> usize {
    let done = AtomicBool::new(false);
    let runtime = tokio::runtime::Handle::clone(&pair.runtime);
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            (0..)
                .take_while(|number| {
                    work(*number);
                    !done.load(Ordering::Relaxed)
                })
                .count()
                + 1
        });
        for kill in 0..KILLS {
            // Not in step with what is gathered for a while.
            std::thread::sleep(Duration::from_millis(40 + kill * 37 % 50));
            runtime.block_on(pair.cluster.restart_metadata());
        }
        done.store(true, Ordering::Relaxed);
        working.join().unwrap()
    })
}

#[test]
fn files_that_were_extracted_have_their_times_modes_and_bytes() {
    on_two_mounts(|pair| {
        fs_err::create_dir(pair.a.join("tree")).unwrap();
        let path = |root: &Path, number: usize| root.join("tree").join(number.to_string());
        let made = while_killed(pair, |number| extract(&path(&pair.a, number), number));
        rustix::fs::utimensat(rustix::fs::CWD, pair.a.join("tree"), &times(5), rustix::fs::AtFlags::empty())
            .unwrap();
        pair.runtime.block_on(pair.cluster.restart_metadata());
        for number in 0..made {
            assert_extracted(&path(&pair.b, number), number);
        }
        assert_eq!(names(&pair.b.join("tree")).len(), made);
        assert_eq!(fs_err::metadata(pair.b.join("tree")).unwrap().mtime(), time_of(5).tv_sec);
    });
}

#[test]
fn what_was_closed_while_nobody_could_be_told_is_not_open_for_ever() {
    on_two_mounts(|pair| {
        let made = while_killed(pair, |number| {
            let path = pair.a.join(number.to_string());
            fs_err::write(&path, content(number + 1)).unwrap();
            // Empty files are never written: nobody asks for their lease again.
            fs_err::write(pair.a.join(format!("empty{number}")), "").unwrap();
        });
        for number in 0..made {
            fs_err::remove_file(pair.a.join(number.to_string())).unwrap();
            fs_err::remove_file(pair.b.join(format!("empty{number}"))).unwrap();
        }
        for _ in 0..500 {
            if pair.cluster.objects.count() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("objects of {} files that nobody has open are left", pair.cluster.objects.count());
    });
}

#[test]
fn a_write_after_the_time_was_set_moves_it_over_a_restart() {
    on_two_mounts(|pair| {
        for opened_again in [false, true] {
            let name = format!("file{opened_again}");
            let path = pair.a.join(&name);
            let mut file = fs_err::File::create(&path).unwrap().into_file();
            file.write_all(b"first").unwrap();
            rustix::fs::futimens(&file, &times(0)).unwrap();
            if opened_again {
                drop(file);
                file = File::options().append(true).open(&path).unwrap();
            }
            file.write_all(b" second").unwrap();
            pair.runtime.block_on(pair.cluster.restart_metadata());
            let attr = fs_err::metadata(pair.b.join(&name)).unwrap();
            assert_eq!(attr.len(), 12, "{name}");
            assert!(attr.modified().unwrap().elapsed().unwrap() < Duration::from_secs(60), "{attr:?}");
        }
    });
}

#[test]
fn writers_that_go_on_over_restarts_lose_nothing() {
    on_two_mounts(|pair| {
        let log = File::options().create(true).append(true).open(pair.a.join("log")).unwrap();
        let written = while_killed(pair, |number| writeln!(&log, "{number:06}").unwrap());
        let lines = fs_err::read_to_string(pair.b.join("log")).unwrap();
        assert!(lines.lines().eq((0..written).map(|number| format!("{number:06}"))), "{lines}");
    });
}

#[test]
fn a_file_keeps_its_length_when_something_else_of_it_changes_under_its_writer() {
    on_two_mounts(|pair| {
        let path = pair.a.join("file");
        fs_err::write(&path, [1; 5000]).unwrap();
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        let mut end = File::options().append(true).open(&path).unwrap();
        file.write_all(&[2; 100]).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fsetxattr(&file, "user.a", b"b", XattrFlags::empty()).unwrap();
        file.rewind().unwrap();
        file.write_all(&[3; 200]).unwrap();
        file.sync_all().unwrap();
        fs_err::rename(&path, pair.a.join("moved")).unwrap();
        end.write_all(&[4; 10]).unwrap();
        drop((file, end));
        let there = fs_err::File::open(pair.b.join("moved")).unwrap().into_file();
        assert_eq!(there.metadata().unwrap().len(), 5010);
        let mut last = [0; 10];
        there.read_exact_at(&mut last, 5000).unwrap();
        assert_eq!(last, [4; 10]);
    });
}
