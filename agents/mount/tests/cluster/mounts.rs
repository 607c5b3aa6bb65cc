//! Each of two mounts sees at once what the other did.
//!
//! Invariant: no test sleeps for something to become visible.

use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::pair::{names, on_two_mounts};

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_one_mount_writes_the_other_reads_at_once() {
    on_two_mounts(|pair| {
        for round in 0..120_u64 {
            let (writer, reader) = if round % 2 == 0 { (&pair.a, &pair.b) } else { (&pair.b, &pair.a) };
            let length = [0, 1, 4095, 4096, 65_535, 65_536, 65_537, 300_000, 1 << 20, 3_500_000]
                [usize::try_from(round).unwrap() % 10];
            let data = pattern(round, length);
            let name = format!("f{}", round % 7);
            fs_err::write(writer.join(&name), &data).unwrap();
            let size = fs_err::metadata(reader.join(&name)).unwrap().len();
            assert_eq!(size, length as u64, "round {round}");
            assert!(fs_err::read(reader.join(&name)).unwrap() == data, "round {round}");
        }
    });
}

#[test]
fn files_that_both_mounts_keep_open_stay_coherent() {
    on_two_mounts(|pair| {
        let options = || {
            let mut options = fs_err::OpenOptions::new();
            options.read(true).write(true).create(true);
            options
        };
        let mut files =
            [options().open(pair.a.join("x")).unwrap(), options().open(pair.b.join("x")).unwrap()];
        for round in 0..200_u64 {
            let (writer, reader) = (usize::from(round % 3 == 0), usize::from(round % 3 != 0));
            let offset = (round * 7919) % 400_000;
            let data = pattern(round, 1 + usize::try_from(round * 37 % 9000).unwrap());
            files[writer].seek(SeekFrom::Start(offset)).unwrap();
            files[writer].write_all(&data).unwrap();
            let mut back = vec![0; data.len()];
            files[reader].seek(SeekFrom::Start(offset)).unwrap();
            files[reader].read_exact(&mut back).unwrap();
            assert!(back == data, "round {round}");
            let sizes: Vec<u64> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
            assert_eq!(sizes[0], sizes[1], "round {round}");
        }
    });
}

#[test]
fn appends_of_both_mounts_lose_nothing() {
    const LINES: usize = 150;
    on_two_mounts(|pair| {
        fs_err::write(pair.a.join("log"), "").unwrap();
        std::thread::scope(|scope| {
            for (who, root) in [("a", &pair.a), ("b", &pair.b)] {
                scope.spawn(move || {
                    let mut file = fs_err::OpenOptions::new().append(true).open(root.join("log")).unwrap();
                    for line in 0..LINES {
                        file.write_all(format!("{who} {line:04}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let text = fs_err::read_to_string(pair.b.join("log")).unwrap();
        assert_eq!(text.lines().count(), 2 * LINES);
        for who in ["a", "b"] {
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(who)).collect();
            let expected: Vec<String> = (0..LINES).map(|line| format!("{who} {line:04}")).collect();
            assert_eq!(lines, expected);
        }
    });
}

#[test]
fn names_and_attributes_follow_at_once() {
    on_two_mounts(|pair| {
        for round in 0..60 {
            let (one, other) = if round % 2 == 0 { (&pair.a, &pair.b) } else { (&pair.b, &pair.a) };
            let name = format!("d{}", round % 5);
            assert!(!other.join(&name).exists());
            fs_err::create_dir(one.join(&name)).unwrap();
            assert!(other.join(&name).is_dir(), "round {round}");
            fs_err::write(other.join(&name).join("x"), "1").unwrap();
            assert_eq!(names(&one.join(&name)), ["x"]);
            fs_err::set_permissions(
                one.join(&name).join("x"),
                std::fs::Permissions::from_mode(0o600 + round % 8),
            )
            .unwrap();
            let mode = fs_err::metadata(other.join(&name).join("x")).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600 + round % 8);
            fs_err::rename(other.join(&name).join("x"), other.join(&name).join("y")).unwrap();
            assert!(!one.join(&name).join("x").exists());
            assert_eq!(names(&one.join(&name)), ["y"]);
            fs_err::hard_link(one.join(&name).join("y"), one.join(&name).join("z")).unwrap();
            assert_eq!(fs_err::metadata(other.join(&name).join("y")).unwrap().nlink(), 2);
            fs_err::remove_dir_all(other.join(&name)).unwrap();
            assert!(!one.join(&name).exists(), "round {round}");
        }
    });
}

#[test]
fn storms_of_creates_in_one_directory_from_both_mounts_end() {
    const FILES: usize = 150;
    on_two_mounts(|pair| {
        fs_err::create_dir(pair.a.join("storm")).unwrap();
        std::thread::scope(|scope| {
            for (who, root) in [("a", &pair.a), ("b", &pair.b), ("c", &pair.a), ("d", &pair.b)] {
                scope.spawn(move || {
                    for file in 0..FILES {
                        let path = root.join("storm").join(format!("{who}{file}"));
                        fs_err::write(&path, who).unwrap();
                        assert!(path.exists());
                        if file % 3 == 0 {
                            fs_err::remove_file(&path).unwrap();
                        }
                    }
                });
            }
        });
        let listed = names(&pair.a.join("storm"));
        assert_eq!(listed.len(), 4 * FILES * 2 / 3);
        assert_eq!(listed, names(&pair.b.join("storm")));
    });
}

#[test]
fn exclusive_creation_has_one_winner() {
    on_two_mounts(|pair| {
        for round in 0..40 {
            let wins: usize = std::thread::scope(|scope| {
                let attempts: Vec<_> = [&pair.a, &pair.b, &pair.a, &pair.b]
                    .into_iter()
                    .map(|root| {
                        let path = root.join(format!("lock{round}"));
                        scope.spawn(move || {
                            fs_err::OpenOptions::new().write(true).create_new(true).open(path).is_ok()
                        })
                    })
                    .collect();
                attempts.into_iter().map(|attempt| usize::from(attempt.join().unwrap())).sum()
            });
            assert_eq!(wins, 1, "round {round}");
        }
    });
}

#[test]
fn an_unlinked_file_lives_until_its_last_close() {
    on_two_mounts(|pair| {
        let path = pair.a.join("tmp");
        let mut file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.write_all(b"before").unwrap();
        let mut other = fs_err::File::open(pair.b.join("tmp")).unwrap();
        fs_err::remove_file(pair.b.join("tmp")).unwrap();
        assert!(!path.exists());
        file.write_all(b" after").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 12);
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        let mut text = String::new();
        other.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before after");
        let own = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        own.file().write_all_at(b"12345", 0).unwrap();
        fs_err::remove_file(&path).unwrap();
        let mut back = [0; 5];
        own.file().read_exact_at(&mut back, 0).unwrap();
        assert_eq!((&back, own.metadata().unwrap().len()), (b"12345", 5));
        drop((file, other, own));
        for _ in 0..200 {
            if pair.cluster.objects.count() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} objects are left", pair.cluster.objects.count());
    });
}

#[test]
fn truncation_and_extension_follow_at_once() {
    on_two_mounts(|pair| {
        let (a, b) = (pair.a.join("t"), pair.b.join("t"));
        let data = pattern(5, 500_000);
        fs_err::write(&a, &data).unwrap();
        let file = fs_err::OpenOptions::new().read(true).write(true).open(&b).unwrap();
        file.set_len(100_001).unwrap();
        assert!(fs_err::read(&a).unwrap() == data[..100_001]);
        file.set_len(300_000).unwrap();
        let grown = fs_err::read(&a).unwrap();
        assert_eq!(grown.len(), 300_000);
        assert!(grown[..100_001] == data[..100_001] && grown[100_001..].iter().all(|byte| *byte == 0));
        fs_err::OpenOptions::new().write(true).truncate(true).open(&a).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        file.file().write_all_at(b"end", 5_000_000).unwrap();
        let sparse = fs_err::read(&a).unwrap();
        assert_eq!(sparse.len(), 5_000_003);
        assert!(sparse[..5_000_000].iter().all(|byte| *byte == 0) && sparse.ends_with(b"end"));
    });
}

#[test]
fn a_full_target_is_said_at_the_write() {
    on_two_mounts(|pair| {
        let mut file = fs_err::File::create(pair.a.join("full")).unwrap();
        pair.cluster.objects.full.store(true, Ordering::Relaxed);
        let error = file.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        pair.cluster.objects.full.store(false, Ordering::Relaxed);
        file.write_all(b"x").unwrap();
        assert_eq!(fs_err::read(pair.b.join("full")).unwrap(), b"x");
    });
}

#[test]
fn mappings_follow_writes_and_writes_follow_mappings() {
    const SCRIPT: &str = r#"
import mmap, os, sys, time
a, b = sys.argv[1] + "/m", sys.argv[2] + "/m"
open(a, "wb").write(b"0" * 200000)
fa, fb = open(a, "r+b", 0), open(b, "r+b", 0)
ma, mb = mmap.mmap(fa.fileno(), 200000), mmap.mmap(fb.fileno(), 200000)
for r in range(40):
    at = r * 4099 % 190000
    value = b"%06d" % r
    if r % 2:
        fa.seek(at); fa.write(value)
        assert mb[at:at+6] == value, ("write, mapped", r, mb[at:at+6])
        assert ma[at:at+6] == value, ("write, own map", r, ma[at:at+6])
    else:
        ma[at:at+6] = value
        ma.flush()
        fb.seek(at); got = fb.read(6)
        assert got == value, ("mapped, read", r, got)
        assert mb[at:at+6] == value, ("mapped, mapped", r)
ma[100:103] = b"end"
ma.close(); fa.close()
assert open(b, "rb").read()[100:103] == b"end"
"#;
    on_two_mounts(|pair| {
        run(Command::new("python3").arg("-c").arg(SCRIPT).arg(&pair.a).arg(&pair.b));
    });
}

#[test]
fn trees_arrive_whole() {
    on_two_mounts(|pair| {
        let source = tempfile::tempdir().unwrap();
        for file in 0..200_u64 {
            let folder = source.path().join(format!("d{}/e{}", file % 7, file % 3));
            fs_err::create_dir_all(&folder).unwrap();
            let data = pattern(file, usize::try_from(file * file * 13 % 150_000).unwrap());
            fs_err::write(folder.join(format!("f{file}")), data).unwrap();
        }
        std::os::unix::fs::symlink("d1/e1", source.path().join("link")).unwrap();
        run(Command::new("sh").arg("-c").arg(format!(
            "tar -C {} --format=posix -cf - . | tar -C {} -xf -",
            source.path().display(),
            pair.a.display()
        )));
        run(Command::new("diff").arg("-r").arg("--no-dereference").arg(source.path()).arg(&pair.b));
        let listing = |root: &Path| {
            let script = "cd \"$1\" && find . -printf '%p %y %m %l %T@ %s\\n' | grep -v '^\\. ' | sed '/ d /s/ [0-9]*$//' | sort";
            Command::new("sh").arg("-c").arg(script).arg("sh").arg(root).output().unwrap().stdout
        };
        let (expected, found) = (listing(source.path()), listing(&pair.b));
        let (expected, found) = (String::from_utf8_lossy(&expected), String::from_utf8_lossy(&found));
        let different = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
        assert_eq!((different, expected.lines().count()), (None, found.lines().count()));
        run(Command::new("rm").arg("-r").arg(pair.b.join("d1")));
        assert!(!pair.a.join("d1").exists());
    });
}

#[test]
fn virtual_attributes_describe_the_file() {
    on_two_mounts(|pair| {
        let path = pair.a.join("v");
        fs_err::write(&path, pattern(1, 200_000)).unwrap();
        let read = |path: &Path, name: &str| {
            let mut value = vec![0; 1 << 16];
            let length = rustix::fs::getxattr(path, name, &mut value[..]).unwrap();
            String::from_utf8(value[..length].to_vec()).unwrap()
        };
        let fid = read(&path, "lustre.fid");
        assert!(fid.starts_with("[0x"), "{fid}");
        assert_eq!(read(&pair.b, &format!("lustre.fid2path.{fid}")).trim(), "v");
        let layout: lustre_mount::LayoutView = serde_json::from_str(&read(&path, "lustre.lov")).unwrap();
        let lustre_mount::LayoutView::File(layout) = layout else { panic!("not a file's") };
        assert_eq!(layout.components.len(), 2);
        let status: lustre_mount::ClusterStatus =
            serde_json::from_str(&read(&pair.b, "lustre.targets")).unwrap();
        assert_eq!(status.targets.len(), 3);
        assert!(status.targets.iter().all(|target| target.used.is_some_and(|used| used >= 200_000)));
        rustix::fs::setxattr(&path, "user.colour", b"blue", rustix::fs::XattrFlags::empty()).unwrap();
        assert_eq!(read(&pair.b.join("v"), "user.colour"), "blue");
        let mut list = vec![0; 4096];
        let length = rustix::fs::listxattr(pair.b.join("v"), &mut list[..]).unwrap();
        assert_eq!(&list[..length], b"user.colour\0");
    });
}

#[test]
fn readers_are_given_bytes_ahead_and_never_old_ones() {
    on_two_mounts(|pair| {
        let data = pattern(3, 12 << 20);
        fs_err::write(pair.a.join("big"), &data).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let file = fs_err::OpenOptions::new().write(true).open(pair.a.join("big")).unwrap();
                let mut at = 0;
                while !stop.load(Ordering::Relaxed) {
                    file.file().write_all_at(&data[at..at + 4096], at as u64).unwrap();
                    at = (at + 700_000) % (11 << 20);
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            for _ in 0..3 {
                assert!(fs_err::read(pair.b.join("big")).unwrap() == data);
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn special_files_and_symbolic_links_are_what_they_were_made() {
    on_two_mounts(|pair| {
        std::os::unix::fs::symlink("some/where", pair.a.join("s")).unwrap();
        assert_eq!(fs_err::read_link(pair.b.join("s")).unwrap().as_os_str(), OsStr::new("some/where"));
        run(Command::new("mkfifo").arg("-m").arg("640").arg(pair.a.join("fifo")));
        assert_eq!(fs_err::metadata(pair.b.join("fifo")).unwrap().mode(), 0o010_640);
        fs_err::write(pair.a.join("suid"), "").unwrap();
        fs_err::set_permissions(pair.a.join("suid"), std::fs::Permissions::from_mode(0o4711)).unwrap();
        assert_eq!(fs_err::metadata(pair.b.join("suid")).unwrap().mode() & 0o7777, 0o4711);
    });
}
