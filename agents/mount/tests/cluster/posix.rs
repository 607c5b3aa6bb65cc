//! What POSIX says of single calls, where suites that others wrote found us wrong.
//!
//! Invariant: each test names one call and what it must do.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::pair::on_two_mounts;

/// Lets other users through to the mounts.
fn open_up(folder: &Path) {
    for path in [folder, &folder.join("a"), &folder.join("b")] {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_name_that_is_too_long_is_refused_as_such_also_where_all_names_are_known() {
    on_two_mounts(|pair| {
        let folder = pair.a.join("new");
        fs_err::create_dir(&folder).unwrap();
        let longest = folder.join("n".repeat(255));
        fs_err::write(&longest, "x").unwrap();
        assert_eq!(fs_err::read(pair.b.join("new").join("n".repeat(255))).unwrap(), b"x");
        let longer = folder.join("n".repeat(256));
        let create = OFlags::CREATE | OFlags::WRONLY;
        assert_eq!(rustix::fs::stat(&longer).err(), Some(Errno::NAMETOOLONG));
        assert_eq!(rustix::fs::unlink(&longer), Err(Errno::NAMETOOLONG));
        assert_eq!(rustix::fs::open(&longer, create, Mode::empty()).err(), Some(Errno::NAMETOOLONG));
        assert_eq!(rustix::fs::rename(&longest, &longer), Err(Errno::NAMETOOLONG));
    });
}

#[test]
fn a_program_that_runs_is_not_cut_by_an_open_that_is_refused() {
    on_two_mounts(|pair| {
        let program = pair.a.join("program");
        fs_err::copy("/bin/sleep", &program).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let whole = fs_err::read(&program).unwrap();
        let mut running = Command::new(&program).arg("60").spawn().unwrap();
        let cut = || rustix::fs::open(&program, OFlags::RDONLY | OFlags::TRUNC, Mode::empty());
        assert_eq!(cut().err(), Some(Errno::TXTBSY));
        assert!(fs_err::read(pair.b.join("program")).unwrap() == whole);
        running.kill().unwrap();
        running.wait().unwrap();
        // The kernel tells us a little later that nobody runs it.
        while let Err(error) = cut() {
            assert_eq!(error, Errno::TXTBSY);
        }
        assert_eq!(fs_err::metadata(pair.b.join("program")).unwrap().len(), 0);
    });
}

#[test]
fn whoever_cuts_a_file_by_opening_it_takes_its_privileges() {
    on_two_mounts(|pair| {
        let mode = |name: &str| fs_err::metadata(pair.b.join(name)).unwrap().permissions().mode() & 0o7777;
        for name in ["by_root", "by_another"] {
            fs_err::write(pair.a.join(name), "program").unwrap();
            fs_err::set_permissions(pair.a.join(name), std::fs::Permissions::from_mode(0o6777)).unwrap();
        }
        open_up(pair.a.parent().unwrap());
        fs_err::write(pair.a.join("by_root"), "").unwrap();
        assert_eq!(mode("by_root"), 0o6777);
        run(Command::new("sh").arg("-c").arg(": > by_another").current_dir(&pair.a).uid(65_534));
        assert_eq!(mode("by_another"), 0o777);
    });
}

#[test]
fn a_program_that_is_written_loses_its_capabilities() {
    const NAME: &str = "security.capability";
    // Revision 2 with its effective bit, and one permitted capability.
    let value: Vec<u8> = [0x0200_0001_u32, 1 << 13, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
    on_two_mounts(move |pair| {
        let path = pair.a.join("program");
        let has = |root: &Path| {
            let got = rustix::fs::getxattr(root.join("program"), NAME, &mut [0_u8; 64][..]);
            assert!(matches!(got, Ok(20) | Err(Errno::NODATA)), "{got:?}");
            got.is_ok()
        };
        let set = || rustix::fs::setxattr(&path, NAME, &value, rustix::fs::XattrFlags::empty()).unwrap();
        let file = fs_err::File::create(&path).unwrap();
        file.file().write_all_at(b"code", 0).unwrap();
        set();
        drop(file);
        assert!(has(&pair.b), "what is set behind the last write stays");
        for root in [&pair.a, &pair.b] {
            let other = fs_err::OpenOptions::new().write(true).open(root.join("program")).unwrap();
            assert!(has(&pair.a) && has(&pair.b), "opening is not writing");
            other.file().write_all_at(b"else", 0).unwrap();
            drop(other);
            assert!(!has(&pair.a) && !has(&pair.b));
            set();
        }
    });
}

#[test]
fn times_are_what_was_set_before_1970_and_at_the_ends_of_time() {
    on_two_mounts(|pair| {
        let path = pair.a.join("old");
        fs_err::write(&path, "").unwrap();
        // Nobody ends the mount with a time: the kernel rounds those at either end and says no more of them.
        let ends = [(i64::MIN, 0), (i64::MIN + 1, 5), (i64::MAX - 1, 5), (i64::MAX, 0)];
        let times = [(-6, 999_999_999), (-1, 1), (-5, 0), (0, 7), (1 << 33, 123_456_789)];
        for (seconds, nanoseconds) in ends.into_iter().chain(times) {
            let at = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let times = rustix::fs::Timestamps { last_access: at, last_modification: at };
            rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
            let seen = fs_err::metadata(pair.b.join("old")).unwrap();
            assert_eq!((seen.mtime(), seen.mtime_nsec()), (seconds, nanoseconds));
            assert_eq!((seen.atime(), seen.atime_nsec()), (seconds, nanoseconds));
        }
    });
}

/// Numbers that look random and are the same in each run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(state >> 33)
    })
}

#[test]
fn reads_in_any_order_give_the_bytes_that_were_asked_for() {
    const LENGTH: u64 = 1 << 20;
    on_two_mounts(|pair| {
        let data: Vec<u8> =
            (0..LENGTH / 8).flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
        fs_err::write(pair.a.join("data"), &data).unwrap();
        let file = fs_err::File::open(pair.b.join("data")).unwrap();
        let mut next = numbers(1);
        let mut below = |limit: u64| next.next().unwrap() % limit;
        let mut last = 0;
        for round in 0..3_000 {
            // Mostly anywhere, sometimes on from where the last one ended, so that bytes are read ahead.
            let start = if below(3) == 0 { last % LENGTH } else { below(LENGTH) };
            let length = 1 + below(128 << 10);
            last = (start + length).min(LENGTH);
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            let read = file.file().read_at(&mut bytes, start);
            let expected = &data[usize::try_from(start).unwrap()..usize::try_from(last).unwrap()];
            assert_eq!(read.ok(), Some(expected.len()), "round {round}: {length} bytes at {start}");
            assert!(&bytes[..expected.len()] == expected, "round {round}: {length} bytes at {start}");
        }
    });
}

#[test]
fn a_hole_takes_no_room_once_its_file_is_closed() {
    on_two_mounts(|pair| {
        fs_err::write(pair.a.join("dense"), vec![1; 100_000]).unwrap();
        let sparse = fs_err::File::create(pair.a.join("sparse")).unwrap();
        sparse.file().write_all_at(&[1; 4096], 64 << 20).unwrap();
        sparse.set_len(128 << 20).unwrap();
        sparse.file().write_all_at(&[1; 4096], 0).unwrap();
        assert_eq!(sparse.metadata().unwrap().blocks(), 16);
        drop(sparse);
        for root in [&pair.b, &pair.a] {
            assert_eq!(fs_err::metadata(root.join("dense")).unwrap().blocks(), 100_000_u64.div_ceil(512));
            assert_eq!(fs_err::metadata(root.join("sparse")).unwrap().blocks(), 16);
        }
    });
}

#[test]
fn a_file_that_is_cut_or_grown_while_it_is_written_keeps_count_of_its_blocks() {
    on_two_mounts(|pair| {
        for (name, size, blocks) in [("cut", 500_000_u64, 977), ("grown", 5 << 20, 1954)] {
            let file = fs_err::File::create(pair.a.join(name)).unwrap();
            file.file().write_all_at(&vec![1; 1_000_000], 0).unwrap();
            file.set_len(size).unwrap();
            assert_eq!(file.metadata().unwrap().blocks(), blocks);
            drop(file);
            // Archivers take a file without blocks for one without content.
            assert_eq!(fs_err::metadata(pair.b.join(name)).unwrap().blocks(), blocks);
        }
    });
}

#[test]
fn fallocate_zeroes_extends_and_refuses_what_cannot_fit() {
    use rustix::fs::FallocateFlags as Flags;
    on_two_mounts(|pair| {
        let path = pair.a.join("file");
        fs_err::write(&path, vec![1; 300_000]).unwrap();
        let file = fs_err::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let seen = || fs_err::read(pair.b.join("file")).unwrap();
        let mut expected = vec![1; 300_000];
        rustix::fs::fallocate(file.file(), Flags::ZERO_RANGE | Flags::KEEP_SIZE, 290_000, 50_000).unwrap();
        expected[290_000..].fill(0);
        assert!(seen() == expected);
        rustix::fs::fallocate(file.file(), Flags::ZERO_RANGE, 100_001, 250_000).unwrap();
        expected[100_001..].fill(0);
        expected.resize(350_001, 0);
        assert!(seen() == expected);
        for flags in [Flags::empty(), Flags::KEEP_SIZE] {
            assert_eq!(rustix::fs::fallocate(file.file(), flags, 0, 1 << 50), Err(Errno::NOSPC));
        }
        assert!(seen() == expected);
    });
}
