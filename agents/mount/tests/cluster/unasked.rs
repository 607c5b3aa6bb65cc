//! What a client does without asking, under leases: the other mount never notices.
//!
//! Invariant: a count of requests is compared with what the operations would have cost one by one, never with a time.

use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use crate::pair::{names, on_two_mounts};

#[test]
fn a_file_that_is_written_anew_shows_its_bytes_before_its_writer_closes_it() {
    on_two_mounts(|pair| {
        let path = pair.a.join("file");
        fs_err::write(&path, [1; 5000]).unwrap();
        // Closes are told a little later; here it shall be known to have been closed.
        std::thread::sleep(Duration::from_millis(100));
        let mut reader = fs_err::File::open(pair.b.join("file")).unwrap();
        let mut seen = [0; 5000];
        reader.read_exact(&mut seen).unwrap();
        // Closed once, so that its writer holds less than it did; shared, so that opening gives no write lease.
        let mut writer = fs_err::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        for round in 2..20_u8 {
            writer.rewind().unwrap();
            writer.write_all(&[round; 5000]).unwrap();
            reader.rewind().unwrap();
            reader.read_exact(&mut seen).unwrap();
            assert_eq!(seen, [round; 5000], "round {round}");
            assert_eq!(fs_err::metadata(pair.b.join("file")).unwrap().len(), 5000);
        }
    });
}

#[test]
fn a_lease_that_came_with_attributes_brings_no_old_layout_back() {
    on_two_mounts(|pair| {
        let path = pair.a.join("file");
        fs_err::write(&path, b"first").unwrap();
        let reader = fs_err::File::open(pair.b.join("file")).unwrap();
        let mut seen = [0; 5];
        reader.file().read_exact_at(&mut seen, 0).unwrap();
        // Far behind the first component, whose objects were all there was when the reader opened the file.
        let far = 40 << 20;
        let writer = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
        writer.file().write_all_at(b"later", far).unwrap();
        assert_eq!(fs_err::metadata(pair.b.join("file")).unwrap().len(), far + 5);
        reader.file().read_exact_at(&mut seen, far).unwrap();
        assert_eq!(&seen, b"later");
    });
}

#[test]
fn what_was_opened_without_asking_outlives_its_name() {
    on_two_mounts(|pair| {
        for (remover, round) in [(&pair.a, 0), (&pair.b, 1), (&pair.a, 2), (&pair.b, 3)] {
            let name = format!("file{round}");
            let reader = pair.b.join(&name);
            fs_err::write(pair.a.join(&name), format!("content {round}")).unwrap();
            assert_eq!(fs_err::read_to_string(&reader).unwrap(), format!("content {round}"));
            // Its lease is held from the read before.
            let mut file = fs_err::File::open(&reader).unwrap();
            if round < 2 {
                fs_err::remove_file(remover.join(&name)).unwrap();
            } else {
                fs_err::write(remover.join("other"), "other").unwrap();
                fs_err::rename(remover.join("other"), remover.join(&name)).unwrap();
            }
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("content {round}"));
            assert_eq!(file.metadata().unwrap().nlink(), 0);
            drop(file);
            drop(fs_err::remove_file(&reader));
        }
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
fn a_directory_that_was_made_here_shows_what_is_made_there() {
    on_two_mounts(|pair| {
        for round in 0..20 {
            let (here, there) = if round % 2 == 0 { (&pair.a, &pair.b) } else { (&pair.b, &pair.a) };
            let name = format!("dir{round}");
            fs_err::create_dir(here.join(&name)).unwrap();
            assert!(!here.join(&name).join("x").exists());
            fs_err::write(there.join(&name).join("x"), "x").unwrap();
            assert!(here.join(&name).join("x").exists());
            fs_err::write(here.join(&name).join("y"), "y").unwrap();
            fs_err::rename(here.join(&name).join("y"), here.join(&name).join("z")).unwrap();
            assert!(!here.join(&name).join("y").exists() && here.join(&name).join("z").exists());
            fs_err::remove_file(there.join(&name).join("x")).unwrap();
            assert!(!here.join(&name).join("x").exists());
            assert_eq!(names(&here.join(&name)), ["z"]);
        }
    });
}

#[test]
fn many_lookups_in_one_directory_become_few_requests_and_stay_coherent() {
    const FILES: u64 = 300;
    on_two_mounts(|pair| {
        let (here, there) = (pair.a.join("dir"), pair.b.join("dir"));
        fs_err::create_dir(&here).unwrap();
        for number in 0..FILES {
            fs_err::write(here.join(number.to_string()), vec![b'x'; usize::try_from(number).unwrap()])
                .unwrap();
        }
        // Until its writer's closes are told, a file is left out.
        std::thread::sleep(Duration::from_millis(100));
        let before = pair.cluster.requests();
        for number in 0..FILES {
            assert_eq!(fs_err::metadata(there.join(number.to_string())).unwrap().len(), number);
        }
        let asked = pair.cluster.requests() - before;
        assert!(asked < FILES / 2, "{asked} requests");
        for number in 0..FILES {
            let text = fs_err::read(there.join(number.to_string())).unwrap();
            assert_eq!(text.len() as u64, number);
        }
        assert!(pair.cluster.requests() - before < FILES / 2, "opening asked too");
        assert!(!there.join("new").exists());
        fs_err::write(here.join("new"), "new").unwrap();
        assert_eq!(fs_err::read_to_string(there.join("new")).unwrap(), "new");
        fs_err::write(here.join("7"), "longer than before").unwrap();
        assert_eq!(fs_err::read_to_string(there.join("7")).unwrap(), "longer than before");
        fs_err::remove_file(here.join("8")).unwrap();
        assert!(!there.join("8").exists());
    });
}

#[test]
fn names_that_come_and_go_cost_one_request_each() {
    const FILES: u64 = 200;
    on_two_mounts(|pair| {
        let dir = pair.a.join("dir");
        fs_err::create_dir(&dir).unwrap();
        let made = fs_err::metadata(&dir).unwrap();
        let before = pair.cluster.requests();
        for number in 0..FILES {
            fs_err::write(dir.join(number.to_string()), "").unwrap();
        }
        for number in 0..FILES {
            fs_err::remove_file(dir.join(number.to_string())).unwrap();
        }
        fs_err::create_dir(dir.join("below")).unwrap();
        // A create and a removal each, and the closes, which are told together.
        let asked = pair.cluster.requests() - before;
        assert!(asked < FILES * 2 + FILES / 2, "{asked} requests");
        for side in [&pair.a, &pair.b] {
            let now = fs_err::metadata(side.join("dir")).unwrap();
            assert!(now.modified().unwrap() > made.modified().unwrap());
            assert_eq!(now.nlink(), 3);
        }
    });
}
