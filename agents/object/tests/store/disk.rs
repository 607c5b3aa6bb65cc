//! A disk in memory that can be crashed: kept as a killed process leaves it, or as a power loss does.
//!
//! Models a journalling file system: names and emptied files change whole or not at all; pages reach the disk in any
//! order, in any version since the last sync, and torn at sector boundaries where the store says it can bear that.
//! Invariant: what was synced is never lost.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use lustre_model::layout::ObjectId;
use lustre_object::{BLOCK, Disk, DiskFile, FileName, Folder};

const PAGE: usize = BLOCK as usize;
const SECTOR: usize = 512;

/// Where the store keeps an object's bytes; headers, checksums and records lie before and behind.
const DATA: Range<u64> = 2 << 20..(8 << 40) + (2 << 20);

type Page = Option<Arc<[u8; PAGE]>>;

/// Whether pages of objects' bytes may be torn by a power loss; those of tables always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tearing {
    Sectors,
    WholePages,
}

#[derive(Debug, Default)]
struct Inode {
    synced: BTreeMap<u64, Page>,
    /// Versions of pages since the last sync, oldest first.
    newer: BTreeMap<u64, Vec<Page>>,
    emptied: bool,
    synced_length: u64,
    length: u64,
    pages: u64,
}

#[derive(Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<FileName, usize>,
    synced_names: BTreeMap<FileName, usize>,
    /// Operations until each kind fails once; 0 is never.
    write_fails_in: u64,
    /// Whether the write that fails is the last thing that the process does.
    dies_of_it: bool,
    dead: bool,
    sync_fails_in: u64,
    pages_max: Option<u64>,
    /// Bytes free of a disk that it shares with others.
    shared: Option<Arc<AtomicU64>>,
    syncs: u64,
    boot: u64,
    after_sync: Hook,
}

/// What happens once, between the end of a file's sync and the moment the store hears of it.
#[derive(Default)]
struct Hook(Option<Box<dyn FnOnce() + Send>>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hook({})", self.0.is_some())
    }
}

/// A handle on the world; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<World>>);

pub struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
    boot: u64,
}

/// A small generator, so that a crash is a function of its seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

impl Inode {
    fn page(&self, index: u64) -> Page {
        match self.newer.get(&index).and_then(|versions| versions.last()) {
            Some(page) => page.clone(),
            None if self.emptied => None,
            None => self.synced.get(&index).cloned().flatten(),
        }
    }

    fn put(&mut self, index: u64, page: Page) {
        self.pages += u64::from(page.is_some());
        self.pages -= u64::from(self.page(index).is_some());
        self.newer.entry(index).or_default().push(page);
    }

    fn sync(&mut self) {
        if std::mem::take(&mut self.emptied) {
            self.synced.clear();
        }
        for (index, versions) in std::mem::take(&mut self.newer) {
            match versions.last().cloned().flatten() {
                Some(page) => self.synced.insert(index, Some(page)),
                None => self.synced.remove(&index),
            };
        }
        self.synced_length = self.length;
    }

    fn lose_power(&mut self, random: &mut Random, tearing: Tearing) {
        let newer = std::mem::take(&mut self.newer);
        let emptied = std::mem::take(&mut self.emptied);
        if emptied && random.coin() {
            // Nothing that came after the emptying can be there without it.
            (self.length, self.pages) = (self.synced_length, self.synced.len() as u64);
            return;
        }
        if emptied {
            self.synced.clear();
        }
        for (index, versions) in newer {
            let old = self.synced.get(&index).cloned().flatten();
            let torn = tearing == Tearing::Sectors || !DATA.contains(&(index * BLOCK));
            let chosen = choose(&old, &versions, random, torn);
            match chosen {
                Some(page) => self.synced.insert(index, Some(page)),
                None => self.synced.remove(&index),
            };
        }
        self.length = self.length.max(self.synced_length);
        self.synced_length = self.length;
        self.pages = self.synced.len() as u64;
    }
}

fn choose(old: &Page, versions: &[Page], random: &mut Random, torn: bool) -> Page {
    let mut pick = || match random.below(versions.len() as u64 + 1) {
        0 => old.clone(),
        n => versions[usize::try_from(n - 1).unwrap()].clone(),
    };
    let (first, second) = (pick(), pick());
    if !torn || random.coin() {
        return first;
    }
    let zeros = || Arc::new([0; PAGE]);
    let (first, second) = (first.unwrap_or_else(zeros), second.unwrap_or_else(zeros));
    let mut page = [0; PAGE];
    for sector in 0..PAGE / SECTOR {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        let source = if random.coin() { &first } else { &second };
        page[range.clone()].copy_from_slice(&source[range]);
    }
    Some(Arc::new(page))
}

impl SimulatedDisk {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Ends the process that used the disk; its open files are of no use any more.
    pub fn kill(&self) {
        self.world().end_process();
    }

    /// Takes the power away: what was not synced is lost, in part and at random.
    pub fn lose_power(&self, seed: u64, tearing: Tearing) {
        let mut random = Random::new(seed);
        let mut world = self.world();
        world.end_process();
        let (now, synced) = (std::mem::take(&mut world.names), std::mem::take(&mut world.synced_names));
        let mut names = BTreeMap::new();
        for name in now.keys().chain(synced.keys()) {
            let chosen = if random.coin() { now.get(name) } else { synced.get(name) };
            if let Some(inode) = chosen {
                names.entry(*name).or_insert(*inode);
            }
        }
        for inode in &mut world.inodes {
            inode.lose_power(&mut random, tearing);
        }
        world.synced_names = names.clone();
        world.names = names;
    }

    /// Lets something happen right after the next sync of a file.
    pub fn after_sync(&self, act: impl FnOnce() + Send + 'static) {
        self.world().after_sync = Hook(Some(Box::new(act)));
    }

    /// Lets the write fail that comes after `others` more.
    pub fn fail_write(&self, others: u64) {
        self.world().write_fails_in = others + 1;
    }

    /// Ends the process in the middle of the write that comes after `others` more; what it does then changes nothing.
    pub fn die_in_write(&self, others: u64) {
        let mut world = self.world();
        (world.write_fails_in, world.dies_of_it) = (others + 1, true);
    }

    /// Lets the sync fail that comes after `others` more.
    pub fn fail_sync(&self, others: u64) {
        self.world().sync_fails_in = others + 1;
    }

    /// Lets no write or sync fail any more that has not yet.
    pub fn heal(&self) {
        let mut world = self.world();
        (world.write_fails_in, world.sync_fails_in, world.dies_of_it) = (0, 0, false);
    }

    /// Limits the disk to so many pages.
    pub fn limit(&self, pages: u64) {
        self.world().pages_max = Some(pages);
    }

    /// Has it say that so many bytes are free, whatever is stored.
    pub fn share(&self, free: &Arc<AtomicU64>) {
        self.world().shared = Some(Arc::clone(free));
    }

    /// Returns how many syncs were asked for.
    pub fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// Flips one bit of what an object's file has at `offset`, on the disk itself.
    pub fn damage(&self, object: ObjectId, offset: u64) {
        let mut world = self.world();
        let inode = world.names[&FileName::Object(object)];
        let inode = &mut world.inodes[inode];
        let (index, at) = (offset / BLOCK, usize::try_from(offset % BLOCK).unwrap());
        let mut page = *inode.page(index).expect("there are bytes to damage");
        page[at] ^= 0x10;
        inode.synced.insert(index, Some(Arc::new(page)));
        inode.newer.remove(&index);
    }

    /// Gives the file of one object the name of another.
    pub fn swap_names(&self, from: ObjectId, to: ObjectId) {
        let mut world = self.world();
        for names in [true, false] {
            let names = if names { &mut world.names } else { &mut world.synced_names };
            if let Some(inode) = names.remove(&FileName::Object(from)) {
                names.insert(FileName::Object(to), inode);
            }
        }
    }

    /// Returns the bytes that all objects take.
    pub fn stored(&self) -> u64 {
        let world = self.world();
        let objects = world.names.iter().filter(|(name, _)| matches!(name, FileName::Object(_)));
        objects.map(|(_, inode)| world.inodes[*inode].pages * BLOCK).sum()
    }

    fn file(&self, world: &World, inode: usize) -> SimulatedFile {
        SimulatedFile { disk: self.clone(), inode, boot: world.boot }
    }
}

impl World {
    fn end_process(&mut self) {
        self.boot += 1;
        (self.dead, self.dies_of_it) = (false, false);
    }

    fn pages(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].pages).sum()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if countdown(&mut self.sync_fails_in) {
            Err(io::Error::other("injected sync failure"))
        } else {
            Ok(())
        }
    }
}

/// Returns whether the operation that was chosen to fail is this one.
fn countdown(left: &mut u64) -> bool {
    let due = *left == 1;
    *left = left.saturating_sub(1);
    due
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn open(&self, name: FileName) -> io::Result<Option<SimulatedFile>> {
        let world = self.world();
        Ok(world.names.get(&name).map(|inode| self.file(&world, *inode)))
    }

    fn create(&self, name: FileName) -> io::Result<SimulatedFile> {
        let mut world = self.world();
        let next = world.inodes.len();
        let inode = *world.names.entry(name).or_insert(next);
        if inode == next {
            world.inodes.push(Inode::default());
        }
        Ok(self.file(&world, inode))
    }

    fn create_new(&self, name: FileName) -> io::Result<Option<SimulatedFile>> {
        if self.world().names.contains_key(&name) { Ok(None) } else { self.create(name).map(Some) }
    }

    fn stored(&self, name: FileName) -> io::Result<Option<u64>> {
        let world = self.world();
        Ok(world.names.get(&name).map(|inode| world.inodes[*inode].pages * BLOCK))
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        self.world().names.remove(&name);
        Ok(())
    }

    fn sync_folder(&self, folder: Folder) -> io::Result<()> {
        let mut world = self.world();
        world.sync()?;
        world.synced_names.retain(|name, _| name.folder() != folder);
        let names: Vec<_> = world.names.iter().filter(|(name, _)| name.folder() == folder).collect();
        let names: Vec<_> = names.into_iter().map(|(name, inode)| (*name, *inode)).collect();
        world.synced_names.extend(names);
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut world = self.world();
        world.sync()?;
        world.synced_names = world.names.clone();
        world.inodes.iter_mut().for_each(Inode::sync);
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        let world = self.world();
        if let Some(free) = &world.shared {
            return Ok(free.load(Ordering::SeqCst));
        }
        Ok(world.pages_max.map_or(1 << 50, |max| max.saturating_sub(world.pages()) * BLOCK))
    }

    fn objects(&self, visit: &mut dyn FnMut(ObjectId, u64)) -> io::Result<()> {
        let world = self.world();
        for (name, inode) in &world.names {
            if let FileName::Object(object) = name {
                visit(*object, world.inodes[*inode].pages * BLOCK);
            }
        }
        Ok(())
    }
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.disk.world();
        assert_eq!(world.boot, self.boot, "a file of a dead process was used");
        if world.dead {
            return Err(io::Error::other("the process is dead"));
        }
        act(&mut world)
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
        self.with(|world| {
            let inode = &world.inodes[self.inode];
            let (mut at, end) = (offset, offset + length as u64);
            while at < end {
                let page_end = end.min((at / BLOCK + 1) * BLOCK);
                let range = usize::try_from(at % BLOCK).unwrap()
                    ..usize::try_from(page_end - at / BLOCK * BLOCK).unwrap();
                match inode.page(at / BLOCK) {
                    Some(page) => into.extend_from_slice(&page[range]),
                    None => into.resize(into.len() + range.len(), 0),
                }
                at = page_end;
            }
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|world| {
            let fails = countdown(&mut world.write_fails_in);
            world.dead = fails && world.dies_of_it;
            let mut at = offset;
            let mut rest = bytes;
            while !rest.is_empty() {
                let within = usize::try_from(at % BLOCK).unwrap();
                let (piece, later) = rest.split_at(rest.len().min(PAGE - within));
                if fails && later.len() < rest.len() / 2 + 1 {
                    return Err(io::Error::other("injected write failure"));
                }
                let old = world.inodes[self.inode].page(at / BLOCK);
                if old.is_none() && world.pages_max.is_some_and(|max| world.pages() >= max) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let mut page = old.map_or([0; PAGE], |page| *page);
                page[within..within + piece.len()].copy_from_slice(piece);
                world.inodes[self.inode].put(at / BLOCK, Some(Arc::new(page)));
                at += piece.len() as u64;
                rest = later;
                let inode = &mut world.inodes[self.inode];
                inode.length = inode.length.max(at);
            }
            Ok(())
        })
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.with(|world| {
            let inode = &mut world.inodes[self.inode];
            let end = offset + length;
            let held: Vec<u64> = inode.synced.keys().chain(inode.newer.keys()).copied().collect();
            let pages = offset / BLOCK..end.div_ceil(BLOCK);
            for index in held.into_iter().filter(|index| pages.contains(index)) {
                let Some(page) = inode.page(index) else { continue };
                let from = usize::try_from(offset.max(index * BLOCK) - index * BLOCK).unwrap();
                let to = usize::try_from(end.min((index + 1) * BLOCK) - index * BLOCK).unwrap();
                if (from, to) == (0, PAGE) {
                    inode.put(index, None);
                } else {
                    let mut page = *page;
                    page[from..to].fill(0);
                    inode.put(index, Some(Arc::new(page)));
                }
            }
            Ok(())
        })
    }

    fn clear(&self) -> io::Result<()> {
        self.with(|world| {
            let inode = &mut world.inodes[self.inode];
            inode.emptied = true;
            inode.newer.clear();
            (inode.length, inode.pages) = (0, 0);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|world| {
            world.sync()?;
            world.inodes[self.inode].sync();
            Ok(world.after_sync.0.take())
        })
        .map(|hook| hook.into_iter().for_each(|act| act()))
    }

    fn stored(&self) -> io::Result<u64> {
        self.with(|world| Ok(world.inodes[self.inode].pages * BLOCK))
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|world| Ok(world.inodes[self.inode].length))
    }
}
