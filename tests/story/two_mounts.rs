//! Two mounts of one cluster see each other's writes at once: no sleep, no time-out, no remount.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use fs_err::{File, OpenOptions};

use crate::lab::Lab;

fn two_mounts() -> Lab {
    let lab = Lab::new();
    lab.spec(&(lab.cluster(3, "NONE") + &lab.mount("a") + &lab.mount("b")));
    lab.apply();
    lab
}

#[test]
fn what_one_writes_the_other_reads_at_once() {
    let lab = two_mounts();
    // Whole files of varying sizes, alternating sides; every size is checked by stat and by content.
    for round in 0..120_usize {
        let (from, to) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let size = (round * 7919) % 300_000;
        let content = vec![u8::try_from(round % 251).expect("below 251"); size];
        fs_err::write(lab.path(from).join("file"), &content).expect("one side writes");
        let seen = fs_err::read(lab.path(to).join("file")).expect("the other reads");
        assert!(seen == content, "round {round}: {size} bytes written, {} read", seen.len());
        assert_eq!(fs_err::metadata(lab.path(to).join("file")).expect("attributes").len(), size as u64);
    }
    // Both sides keep the file open; every write is seen by the next read.
    let a = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(lab.path("a/open"))
        .expect("opens");
    let b = OpenOptions::new().read(true).write(true).open(lab.path("b/open")).expect("opens");
    for round in 0..400_u64 {
        let (from, to) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let offset = (round * 4099) % 50_000;
        from.file().write_all_at(&round.to_le_bytes(), offset).expect("writes");
        let mut seen = [0_u8; 8];
        to.file().read_exact_at(&mut seen, offset).expect("reads");
        assert_eq!(u64::from_le_bytes(seen), round);
    }
}

#[test]
fn names_appear_change_and_vanish_on_both_sides_at_once() {
    let lab = two_mounts();
    for round in 0..150 {
        let (from, to) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let name = format!("name{round}");
        assert!(!lab.path(to).join(&name).exists(), "a name that is not there is remembered as absent");
        fs_err::write(lab.path(from).join(&name), "x").expect("creates");
        assert!(lab.path(to).join(&name).exists(), "round {round}");
        let listed = fs_err::read_dir(lab.path(to)).expect("lists").count();
        assert_eq!(listed, 1);
        fs_err::rename(lab.path(to).join(&name), lab.path(to).join("moved")).expect("renames");
        assert!(!lab.path(from).join(&name).exists() && lab.path(from).join("moved").exists());
        fs_err::remove_file(lab.path(from).join("moved")).expect("removes");
        assert!(!lab.path(to).join("moved").exists());
    }
}

#[test]
fn creating_in_one_directory_from_both_sides_never_stops() {
    let lab = two_mounts();
    fs_err::create_dir(lab.path("a/shared")).expect("creates");
    std::thread::scope(|scope| {
        for side in ["a", "b"] {
            for worker in 0..3 {
                let folder = lab.path(side).join("shared");
                scope.spawn(move || {
                    for number in 0..60 {
                        let path = folder.join(format!("{side}-{worker}-{number}"));
                        let mut file = File::create(&path).expect("creates");
                        file.write_all(path.to_string_lossy().as_bytes()).expect("writes");
                        if number % 3 == 0 {
                            drop(file);
                            fs_err::remove_file(path).expect("removes");
                        }
                    }
                });
            }
        }
    });
    for side in ["a", "b"] {
        let count = fs_err::read_dir(lab.path(side).join("shared")).expect("lists").count();
        assert_eq!(count, 2 * 3 * 40, "{side}");
    }
}

#[test]
fn a_mapped_file_shows_what_the_other_side_wrote() {
    let lab = two_mounts();
    fs_err::write(lab.path("a/mapped"), vec![1_u8; 10_000]).expect("writes");
    // `cmp` maps or reads; the python-free way to map is to execute: a script run from the mount is mapped by the kernel.
    lab.sh("printf '#!/bin/sh\\necho one\\n' > a/script && chmod +x a/script");
    assert_eq!(lab.sh("b/script"), "one\n");
    lab.sh("printf '#!/bin/sh\\necho two\\n' > a/script");
    assert_eq!(lab.sh("b/script"), "two\n");
    let mut file = File::open(lab.path("b/mapped")).expect("opens");
    let mut first = [0_u8; 100];
    file.read_exact(&mut first).expect("reads");
    fs_err::write(lab.path("a/mapped"), vec![2_u8; 10_000]).expect("writes");
    file.seek(SeekFrom::Start(0)).expect("seeks");
    file.read_exact(&mut first).expect("reads");
    assert_eq!(first, [2_u8; 100]);
}
