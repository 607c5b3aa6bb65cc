//! What `tar` does, under SIGKILL: whatever it was told is done is there afterwards, with its bytes, time, owner and mode.
//!
//! A thread makes files with the calls of GNU tar in their order, and notes which of them were answered. What was under way
//! when something was killed may have been done or not.
//! Invariant: nothing is compared on the mount that did it; its caches are no witness.

use std::collections::BTreeMap;
use std::io::Result;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};

use crate::lab::{Lab, kill, wait_until};
use crate::link::tree;

/// Files of one directory.
const FILES: usize = 24;

/// Files that are made whatever happens.
const FILES_MIN: usize = 60;

/// What `statfs` says of a mount.
const FUSE: i64 = 0x6573_5546;

const OWNER: u32 = 4242;
const NUMBER: &str = "user.number";

/// One call of the extraction of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Create,
    /// Appends up to this size.
    Write(usize),
    Truncate(usize),
    Time,
    Owner,
    Mode,
    Xattr,
    Rename,
    Link,
    /// With a time of its own.
    Symlink,
}

impl Step {
    /// How long it makes the file.
    fn size(self) -> Option<usize> {
        if let Self::Write(size) | Self::Truncate(size) = self { Some(size) } else { None }
    }
}

/// A file, and how far it came.
#[derive(Debug)]
struct Extracted {
    number: usize,
    path: String,
    answered: Vec<Step>,
    /// The call that failed as something was killed.
    unanswered: Option<Step>,
}

fn content(number: usize) -> Vec<u8> {
    let size = [0, 3, 9_000, 70_000, 300_000][number % 5];
    (0..size).map(|at| u8::try_from((at * 13 + number) % 251).expect("below 251")).collect()
}

fn steps(number: usize) -> Vec<Step> {
    let size = content(number).len();
    let mut steps = vec![Step::Create];
    steps.extend((1..=size.div_ceil(10_240)).map(|block| Step::Write(size.min(block * 10_240))));
    if number % 7 == 3 {
        steps.push(Step::Truncate(size / 2));
    }
    steps.extend([Step::Time, Step::Owner, Step::Mode]);
    match number % 4 {
        0 => steps.push(Step::Rename),
        1 => steps.push(Step::Link),
        2 => steps.push(Step::Symlink),
        _ => steps.push(Step::Xattr),
    }
    steps
}

fn time_of(number: usize) -> Timestamps {
    let seconds = 981_173_106 + i64::try_from(number).expect("a small number") * 86_401;
    let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_700 };
    Timestamps { last_access: time, last_modification: time }
}

fn mode_of(number: usize) -> u32 {
    [0o600, 0o644, 0o755, 0o440][number % 4]
}

/// The root of the mount; an error while there is only the folder below it.
fn mounted(path: &Path) -> Result<OwnedFd> {
    let root = fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let is_mount = fs::fstatfs(&root)?.f_type == FUSE;
    if is_mount { Ok(root) } else { Err(std::io::ErrorKind::NotConnected.into()) }
}

/// Makes one file as far as it goes.
fn extract(root: &OwnedFd, number: usize, path: String) -> Extracted {
    let mut made = Extracted { number, path, answered: Vec::new(), unanswered: None };
    let mut file = None;
    for step in steps(number) {
        match carry_out(root, &mut made, &mut file, step) {
            Ok(()) => made.answered.push(step),
            Err(_) => {
                made.unanswered = Some(step);
                break;
            }
        }
    }
    made
}

fn carry_out(root: &OwnedFd, made: &mut Extracted, file: &mut Option<OwnedFd>, step: Step) -> Result<()> {
    let (number, path) = (made.number, made.path.clone());
    if step == Step::Create {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        *file = Some(fs::openat(root, &path, flags, Mode::from_raw_mode(0o600))?);
        return Ok(());
    }
    let open = file.as_ref().expect("it was created");
    match step {
        Step::Create => {}
        Step::Write(end) => {
            let from = usize::try_from(fs::seek(open, fs::SeekFrom::Current(0))?).expect("a small file");
            let written = rustix::io::write(open, &content(number)[from..end])?;
            assert_eq!(written, end - from, "a file system writes all or fails");
        }
        Step::Truncate(size) => fs::ftruncate(open, size as u64)?,
        Step::Time => fs::futimens(open, &time_of(number))?,
        Step::Owner => fs::fchown(open, Some(Uid::from_raw(OWNER)), Some(Gid::from_raw(OWNER)))?,
        Step::Mode => fs::fchmod(open, Mode::from_raw_mode(mode_of(number)))?,
        Step::Xattr => fs::fsetxattr(open, NUMBER, number.to_string().as_bytes(), XattrFlags::empty())?,
        Step::Rename => {
            fs::renameat(root, &path, root, format!("{path}.renamed"))?;
            made.path = format!("{path}.renamed");
        }
        Step::Link => fs::linkat(root, &path, root, format!("{path}.link"), AtFlags::empty())?,
        Step::Symlink => {
            fs::symlinkat(&path, root, format!("{path}.symlink"))?;
            fs::utimensat(root, format!("{path}.symlink"), &time_of(number), AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

/// Everything that a thread extracted, with the directories whose time was set at the end.
#[derive(Debug, Default)]
struct Tree {
    files: Vec<Extracted>,
    directories: Vec<(String, usize)>,
}

/// Extracts below `base` until `done`.
fn extract_tree(base: &Path, done: &AtomicBool) -> Tree {
    let mut tree = Tree::default();
    let mut number = 0;
    let mut directory = 0;
    while !done.load(Ordering::Relaxed) || number < FILES_MIN {
        directory += 1;
        let name = format!("d{directory}");
        let begin = || {
            let root = mounted(base)?;
            fs::mkdirat(&root, &name, Mode::from_raw_mode(0o755))?;
            Result::Ok(root)
        };
        let Ok(root) = begin() else {
            sleep(Duration::from_millis(20));
            continue;
        };
        let made: Vec<Extracted> =
            (0..FILES).map(|file| extract(&root, number + file, format!("{name}/f{file}"))).collect();
        number += made.iter().filter(|made| made.unanswered.is_none()).count();
        tree.files.extend(made);
        if fs::utimensat(&root, &name, &time_of(directory), AtFlags::empty()).is_ok() {
            tree.directories.push((name, directory));
        }
    }
    tree
}

fn assert_time(path: &Path, number: usize) {
    let attr = fs_err::symlink_metadata(path).expect("it is there");
    let time = time_of(number).last_modification;
    assert_eq!((attr.mtime(), attr.mtime_nsec()), (time.tv_sec, time.tv_nsec), "{}", path.display());
}

impl Extracted {
    fn was(&self, step: Step) -> bool {
        self.answered.contains(&step)
    }

    fn assert_there(&self, base: &Path) {
        if !self.was(Step::Create) {
            return;
        }
        let mut path = base.join(&self.path);
        if self.unanswered == Some(Step::Rename) && !path.exists() {
            path = base.join(format!("{}.renamed", self.path));
        }
        assert!(path.exists(), "it is gone: {self:?}");
        let attr = fs_err::metadata(&path).expect("it is there");
        self.assert_bytes(&path);
        if self.was(Step::Time) {
            assert_time(&path, self.number);
        }
        if self.was(Step::Owner) {
            assert_eq!((attr.uid(), attr.gid()), (OWNER, OWNER), "{self:?}");
        }
        if self.was(Step::Mode) {
            assert_eq!(attr.mode() & 0o7777, mode_of(self.number), "{self:?}");
        }
        if self.was(Step::Xattr) {
            let mut value = [0; 20];
            let length = fs::getxattr(&path, NUMBER, &mut value).expect("the attribute is there");
            assert_eq!(&value[..length], self.number.to_string().as_bytes(), "{self:?}");
        }
        if self.was(Step::Link) {
            let link = fs_err::metadata(base.join(format!("{}.link", self.path))).expect("the link is there");
            assert_eq!((link.ino(), link.nlink()), (attr.ino(), 2), "{self:?}");
        }
        if self.was(Step::Symlink) {
            let link = base.join(format!("{}.symlink", self.path));
            let target = fs_err::read_link(&link).expect("the symbolic link is there");
            assert_eq!(target.as_os_str().as_bytes(), self.path.as_bytes());
            assert_time(&link, self.number);
        }
    }

    fn assert_bytes(&self, path: &Path) {
        let found = fs_err::read(path).expect("it can be read");
        let size = self.answered.iter().filter_map(|step| step.size()).next_back().unwrap_or(0);
        let whole = content(self.number);
        let end = self.unanswered.and_then(Step::size).unwrap_or(size);
        let partly = matches!(self.unanswered, Some(Step::Write(_))) && (size..=end).contains(&found.len());
        let fits = found.len() == size || found.len() == end || partly;
        assert!(fits, "{} bytes instead of {size}: {self:?}", found.len());
        assert!(found == whole[..found.len()], "other bytes: {self:?}");
    }
}

impl Tree {
    fn assert_there(&self, base: &Path) {
        let whole = self.files.iter().filter(|file| file.unanswered.is_none()).count();
        assert!(whole >= FILES_MIN, "only {whole} files were extracted");
        for file in &self.files {
            file.assert_there(base);
        }
        for (name, number) in &self.directories {
            assert_time(&base.join(name), *number);
        }
    }
}

/// Kills the processes whose command lines have all of these words, and waits for others in their place.
fn kill_those(lab: &Lab, words: &[&str]) {
    let those = || {
        let processes = lab.processes().into_iter();
        let fits = |line: &str| words.iter().all(|word| line.contains(word));
        processes.filter(|(_, line)| fits(line)).map(|(pid, _)| pid).collect::<Vec<u32>>()
    };
    let before = those();
    assert!(!before.is_empty(), "nothing is called {words:?}: {:?}", lab.processes());
    before.iter().for_each(|pid| kill(*pid));
    wait_until("killed processes are started again", || {
        let now = those();
        !now.is_empty() && now.iter().all(|pid| !before.contains(pid))
    });
}

/// Extracts into a folder of the mount while `kill` is called so often, at moments that differ.
fn while_killed(base: PathBuf, kills: u64, mut kill: impl FnMut()) -> Tree {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let extracting = scope.spawn(|| extract_tree(&base, &done));
        for round in 0..kills {
            sleep(Duration::from_millis(60 + round * 83 % 270));
            kill();
        }
        done.store(true, Ordering::Relaxed);
        extracting.join().expect("the extraction goes on whatever is killed")
    })
}

fn lab_with_two_mounts() -> Lab {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(3, "LZ4") + &lab.mount("mnt") + &lab.mount("witness")));
    lab.apply();
    lab
}

#[test]
fn what_tar_was_told_is_there_when_the_metadata_target_is_killed() {
    let lab = lab_with_two_mounts();
    let tree = while_killed(lab.path("mnt"), 6, || kill_those(&lab, &["lustre-agent metadata"]));
    let failed = tree.files.iter().find(|file| file.unanswered.is_some());
    assert!(failed.is_none(), "whoever asks waits until it is back: {failed:?}");
    tree.assert_there(&lab.path("witness"));
}

#[test]
fn what_tar_was_told_is_there_when_its_mount_is_killed() {
    let lab = lab_with_two_mounts();
    let tree = while_killed(lab.path("mnt"), 5, || kill_those(&lab, &["lustre-agent mount", "_mnt-"]));
    tree.assert_there(&lab.path("witness"));
}

#[test]
fn what_tar_was_told_is_there_when_object_targets_and_the_metadata_target_are_killed() {
    let lab = lab_with_two_mounts();
    let tree = while_killed(lab.path("mnt"), 4, || {
        kill_those(&lab, &["lustre-agent object"]);
        kill_those(&lab, &["lustre-agent metadata"]);
    });
    tree.assert_there(&lab.path("witness"));
}

#[test]
fn what_tar_was_told_is_there_when_everything_is_killed() {
    let lab = lab_with_two_mounts();
    let tree = while_killed(lab.path("mnt"), 3, || {
        lab.kill_everything();
        lab.apply();
    });
    tree.assert_there(&lab.path("witness"));
}

#[test]
fn what_tar_extracts_into_a_link_is_exported_whatever_is_killed() {
    let lab = Lab::new();
    lab.write("bucket/there", "there");
    lab.spec(&(lab.cluster(2, "NONE") + &lab.link() + &lab.mount("mnt") + &lab.mount("witness")));
    lab.apply();
    wait_until("the link is there", || lab.path("mnt/data/there").exists());
    let mut mount_dies = false;
    let extracted = while_killed(lab.path("mnt/data"), 6, || {
        let words: &[&str] =
            if mount_dies { &["lustre-agent mount", "_mnt-"] } else { &["lustre-agent metadata"] };
        kill_those(&lab, words);
        mount_dies = !mount_dies;
    });
    extracted.assert_there(&lab.path("witness/data"));
    // Also what the killed mounts had open, when their sessions have ended.
    wait_until("every file is exported", || {
        let bytes = |root: &str| {
            let files = tree(&lab.path(root)).into_iter().filter(|(name, _)| !name.ends_with(".symlink"));
            files.map(|(name, (_, _, _, _, bytes))| (name, bytes)).collect::<BTreeMap<_, _>>()
        };
        bytes("witness/data") == bytes("bucket")
    });
}
