//! How fast the store moves bytes to and from a local file system, beside the bare file system in the same run.
//!
//! One thread, page cache included: what is measured is the store, not the disk.
//! Invariant: every line says how many bytes it moved, and reads check what they read.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints")]

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use lustre_model::attr::Timestamp;
use lustre_model::control::Compression;
use lustre_model::fid::Fid;
use lustre_model::layout::ObjectId;
use lustre_object::{Disk, DiskFile, FileName, Folder, ObjectStore, Options};
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, FallocateFlags, IFlags, Mode, OFlags};

const REQUEST: usize = 1 << 20;
const SMALL: usize = 4096;
const REQUESTS: usize = 512;
const FILES: u32 = 10_000;
const NOW: Timestamp = Timestamp { seconds: 1, nanoseconds: 0 };

struct Plain {
    root: OwnedFd,
    folders: Vec<OwnedFd>,
}

struct File(OwnedFd);

impl Plain {
    fn new(path: &Path) -> Self {
        let root = rustix::fs::open(path, OFlags::DIRECTORY, Mode::empty()).unwrap();
        rustix::fs::mkdirat(&root, "objects", Mode::RWXU).unwrap();
        // As the agent does; not every file system knows the flag.
        let objects = rustix::fs::openat(&root, "objects", OFlags::DIRECTORY, Mode::empty()).unwrap();
        let flags = rustix::fs::ioctl_getflags(&objects).map(|flags| flags | IFlags::TOPDIR);
        let _ = flags.and_then(|flags| rustix::fs::ioctl_setflags(&objects, flags));
        for folder in Folder::of_objects() {
            rustix::fs::mkdirat(&root, folder.path(), Mode::RWXU).unwrap();
        }
        Self::open(path)
    }

    fn open(path: &Path) -> Self {
        let root = rustix::fs::open(path, OFlags::DIRECTORY, Mode::empty()).unwrap();
        let folder = |path: &str| rustix::fs::openat(&root, path, OFlags::DIRECTORY, Mode::empty()).unwrap();
        let folders = Folder::of_objects().map(|f| folder(&f.path())).collect();
        Self { root, folders }
    }

    fn folder(&self, name: FileName) -> &OwnedFd {
        match name.folder() {
            Folder::Root => &self.root,
            Folder::Objects(number) => &self.folders[usize::from(number)],
        }
    }
}

impl Disk for Plain {
    type File = File;

    fn open(&self, name: FileName) -> io::Result<Option<File>> {
        match rustix::fs::openat(self.folder(name), name.base(), OFlags::RDWR, Mode::empty()) {
            Ok(file) => Ok(Some(File(file))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self, name: FileName) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        Ok(File(rustix::fs::openat(self.folder(name), name.base(), flags, Mode::RUSR | Mode::WUSR)?))
    }

    fn create_new(&self, name: FileName) -> io::Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        match rustix::fs::openat(self.folder(name), name.base(), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Some(File(file))),
            Err(rustix::io::Errno::EXIST) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn stored(&self, name: FileName) -> io::Result<Option<u64>> {
        match rustix::fs::statat(self.folder(name), name.base(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(u64::try_from(found.st_blocks).unwrap() * 512)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self.folder(name), name.base(), AtFlags::empty())?)
    }

    fn sync_folder(&self, _: Folder) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }

    fn free(&self) -> io::Result<u64> {
        let found = rustix::fs::fstatvfs(&self.root)?;
        Ok(found.f_bavail * found.f_frsize)
    }

    fn objects(&self, _: &mut dyn FnMut(ObjectId, u64)) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for File {
    fn read_at(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let end = into.len() + length;
        into.reserve_exact(length);
        if into.capacity() == end {
            rustix::io::pread(&self.0, spare_capacity(into), offset)?;
        }
        into.resize(end, 0);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert_eq!(rustix::io::pwrite(&self.0, bytes, offset)?, bytes.len());
        Ok(())
    }

    fn write_both_at(&self, offset: u64, first: &[u8], second: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(first), IoSlice::new(second)];
        assert_eq!(rustix::io::pwritev(&self.0, &parts, offset)?, first.len() + second.len());
        Ok(())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.0, flags, offset, length)?)
    }

    fn clear(&self) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(&self.0, 0)?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }

    fn stored(&self) -> io::Result<u64> {
        Ok(u64::try_from(rustix::fs::fstat(&self.0)?.st_blocks).unwrap() * 512)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(u64::try_from(rustix::fs::fstat(&self.0)?.st_size).unwrap())
    }
}

fn object(ordinal: u32) -> ObjectId {
    ObjectId { fid: Fid::from_serial(1), ordinal }
}

/// Half text that LZ4 shrinks, half noise that it cannot, in runs of 256 KiB.
fn mixed() -> Vec<u8> {
    let text = include_bytes!("../src/store.rs");
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(REQUEST);
    while bytes.len() < REQUEST {
        if bytes.len() / (256 << 10) % 2 == 0 {
            bytes.extend_from_slice(text);
        } else {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.extend_from_slice(&(state >> 16).to_le_bytes()[..4]);
        }
    }
    bytes.truncate(REQUEST);
    bytes
}

/// Runs something and prints its rate and its processor time.
fn measure(name: &str, bytes: usize, act: impl FnOnce()) {
    let (begun, before) = (Instant::now(), processor_time());
    act();
    let (elapsed, cpu) = (begun.elapsed(), processor_time() - before);
    let mib = bytes as f64 / f64::from(1 << 20);
    let per_gib = cpu.as_secs_f64() / mib * 1024.0;
    println!("{name:<44} {:>8.0} MiB/s   {per_gib:>6.3} CPU s/GiB", mib / elapsed.as_secs_f64());
}

fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap(), u32::try_from(used.tv_nsec).unwrap())
}

fn bare(path: &Path, data: &[u8]) {
    let flags = OFlags::RDWR | OFlags::CREATE;
    let file = rustix::fs::open(path.join("bare"), flags, Mode::RUSR | Mode::WUSR).unwrap();
    let total = REQUESTS * REQUEST;
    measure("bare file: write 1 MiB", total, || {
        for index in 0..REQUESTS {
            rustix::io::pwrite(&file, data, (index * REQUEST) as u64).unwrap();
        }
    });
    measure("bare file: overwrite 1 MiB", total, || {
        for index in 0..REQUESTS {
            rustix::io::pwrite(&file, data, (index * REQUEST) as u64).unwrap();
        }
    });
    measure("bare file: read 1 MiB", total, || {
        for index in 0..REQUESTS {
            let mut bytes = Vec::with_capacity(REQUEST);
            rustix::io::pread(&file, spare_capacity(&mut bytes), (index * REQUEST) as u64).unwrap();
            assert_eq!(bytes.len(), REQUEST);
        }
    });
    drop(file);
    rustix::fs::unlink(path.join("bare")).unwrap();
}

fn store(path: &Path, data: &[u8], compression: Compression) {
    let options = Options { capacity: 1 << 40, reserve: 0, compression, open_objects_max: 8192 };
    let store = ObjectStore::open(Plain::new(path), options).unwrap();
    let total = REQUESTS * REQUEST;
    let name = match compression {
        Compression::None => "plain",
        Compression::Lz4 => "lz4",
    };
    let write = |object: ObjectId| {
        for index in 0..REQUESTS {
            store.write(object, (index * REQUEST) as u64, data, NOW).unwrap();
        }
    };
    measure(&format!("{name}: write 1 MiB"), total, || write(object(0)));
    measure(&format!("{name}: read 1 MiB"), total, || {
        for index in 0..REQUESTS {
            let bytes = store.read(object(0), (index * REQUEST) as u64, REQUEST as u32).unwrap();
            assert_eq!(bytes.len(), REQUEST);
        }
    });
    measure(&format!("{name}: overwrite 1 MiB, not yet durable"), total, || write(object(0)));
    store.checkpoint().unwrap();
    measure(&format!("{name}: overwrite 1 MiB, durable before"), total, || write(object(0)));
    let small = REQUESTS * 16;
    measure(&format!("{name}: append 4 KiB"), small * SMALL, || {
        for index in 0..small {
            store.write(object(1), (index * SMALL) as u64, &data[..SMALL], NOW).unwrap();
        }
    });
    measure(&format!("{name}: read 4 KiB at random"), small * SMALL, || {
        for index in 0..small {
            let at = index.wrapping_mul(7919) % (total / SMALL) * SMALL;
            assert_eq!(store.read(object(0), at as u64, SMALL as u32).unwrap().len(), SMALL);
        }
    });
    store.checkpoint().unwrap();
    let stat = store.stat(object(0)).unwrap();
    println!("{name}: stored {:.2} of the bytes", stat.blocks as f64 * 512.0 / stat.size as f64);
    store.close().unwrap();
}

/// Runs something for many objects and prints what each costs.
fn each(name: &str, act: impl Fn(u32)) {
    let (begun, before) = (Instant::now(), processor_time());
    (0..FILES).for_each(act);
    let (elapsed, cpu) = (begun.elapsed() / FILES, (processor_time() - before) / FILES);
    println!("{name:<44} {:>8.1} us each      {:>8.1} us of CPU", micros(elapsed), micros(cpu));
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Many objects of one block: made, read by a store that does not know them, removed.
fn many(path: &Path, data: &[u8], compression: Compression) {
    let name = match compression {
        Compression::None => "plain",
        Compression::Lz4 => "lz4",
    };
    let options = Options { capacity: 1 << 40, reserve: 0, compression, open_objects_max: 8192 };
    let store = ObjectStore::open(Plain::new(path), options).unwrap();
    each(&format!("{name}: new objects of 4 KiB"), |ordinal| {
        store.write(object(ordinal), 0, &data[..SMALL], NOW).unwrap();
    });
    each(&format!("{name}: checkpoint of them"), |ordinal| {
        if ordinal == 0 {
            store.checkpoint().unwrap();
        }
    });
    store.close().unwrap();
    drop(store);
    let store = ObjectStore::open(Plain::open(path), options).unwrap();
    each(&format!("{name}: first read of 4 KiB"), |ordinal| {
        assert_eq!(store.read(object(ordinal), 0, SMALL as u32).unwrap()[..], data[..SMALL]);
    });
    each(&format!("{name}: destroy"), |ordinal| store.destroy(object(ordinal)).unwrap());
    each(&format!("{name}: destroy what is not there"), |ordinal| {
        store.destroy(object(FILES + ordinal)).unwrap();
    });
    each(&format!("{name}: new objects of 4 KiB, again"), |ordinal| {
        store.write(object(ordinal), 0, &data[..SMALL], NOW).unwrap();
    });
    each(&format!("{name}: destroy what is new"), |ordinal| store.destroy(object(ordinal)).unwrap());
    each(&format!("{name}: checkpoint of that"), |ordinal| {
        if ordinal == 0 {
            store.checkpoint().unwrap();
        }
    });
    store.close().unwrap();
}

/// The same with nothing but the file system.
fn bare_many(path: &Path, data: &[u8]) {
    let disk = Plain::new(path);
    let name = |ordinal| FileName::Object(object(ordinal));
    each("bare files: new of 4 KiB", |ordinal| {
        disk.create(name(ordinal)).unwrap().write_at(0, &data[..SMALL]).unwrap();
    });
    each("bare files: open and read 4 KiB", |ordinal| {
        let mut bytes = Vec::new();
        disk.open(name(ordinal)).unwrap().unwrap().read_at(0, SMALL, &mut bytes).unwrap();
    });
    each("bare files: remove", |ordinal| disk.remove(name(ordinal)).unwrap());
}

fn main() {
    let data = mixed();
    let folder = tempfile::tempdir().unwrap();
    let wants = |part: &str| std::env::args().nth(1).is_none_or(|name| name == part || name == "--bench");
    if wants("bytes") {
        bare(folder.path(), &data);
    }
    for compression in [Compression::None, Compression::Lz4] {
        let folder = tempfile::tempdir().unwrap();
        if wants("bytes") {
            store(folder.path(), &data, compression);
        }
    }
    if wants("objects") {
        let folder = tempfile::tempdir().unwrap();
        bare_many(folder.path(), &data);
        for compression in [Compression::None, Compression::Lz4] {
            let folder = tempfile::tempdir().unwrap();
            many(folder.path(), &data, compression);
        }
    }
}
