//! The namespace against an oracle: random operations with crashes between them give the same errors and trees.
//!
//! Invariant: the oracle knows POSIX and nothing of the target.

use std::collections::BTreeMap;

use lustre_model::attr::{AttrChange, FileKind, Owner};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{LeaseKind, NewInode, Notice, RemoveKind, RenameMode, Reply, Request};
use proptest::prelude::*;

use crate::cluster::{Cluster, entry, is_directory};

/// A file system as POSIX describes it.
#[derive(Debug, Clone)]
struct Oracle {
    nodes: BTreeMap<usize, Node>,
    next: usize,
}

#[derive(Debug, Clone)]
struct Node {
    fid: Fid,
    kind: FileKind,
    mode: u32,
    links: u32,
    entries: BTreeMap<String, usize>,
    parent: usize,
}

impl Oracle {
    fn new() -> Self {
        let root = Node {
            fid: Fid::ROOT,
            kind: FileKind::Directory,
            mode: 0o755,
            links: 2,
            entries: BTreeMap::new(),
            parent: 0,
        };
        Self { nodes: BTreeMap::from([(0, root)]), next: 1 }
    }

    fn directories(&self) -> Vec<usize> {
        self.nodes.iter().filter(|(_, node)| node.kind == FileKind::Directory).map(|(id, _)| *id).collect()
    }

    fn child(&self, parent: usize, name: &str) -> Option<usize> {
        self.nodes[&parent].entries.get(name).copied()
    }

    fn is_dir(&self, id: usize) -> bool {
        self.nodes[&id].kind == FileKind::Directory
    }

    fn add(&mut self, parent: usize, name: &str, kind: FileKind, fid: Fid) {
        let id = self.next;
        self.next += 1;
        let is_dir = kind == FileKind::Directory;
        let inherited = if is_dir { self.nodes[&parent].mode & 0o2000 } else { 0 };
        let mode = if kind == FileKind::Symlink { 0o777 } else { 0o644 | inherited };
        let links = if is_dir { 2 } else { 1 };
        self.nodes.insert(id, Node { fid, kind, mode, links, entries: BTreeMap::new(), parent });
        let above = self.nodes.get_mut(&parent).unwrap();
        above.entries.insert(name.to_owned(), id);
        above.links += u32::from(is_dir);
    }

    fn drop_name(&mut self, parent: usize, name: &str) {
        let id = self.nodes.get_mut(&parent).unwrap().entries.remove(name).unwrap();
        let is_dir = self.is_dir(id);
        if is_dir {
            self.nodes.get_mut(&parent).unwrap().links -= 1;
        }
        let node = self.nodes.get_mut(&id).unwrap();
        node.links -= 1;
        if is_dir || node.links == 0 {
            self.nodes.remove(&id);
        }
    }

    fn remove(&mut self, parent: usize, name: &str, kind: RemoveKind) -> Result<(), Fault> {
        let id = self.child(parent, name).ok_or(Fault::NotFound)?;
        match (kind, self.is_dir(id)) {
            (RemoveKind::File, true) => return Err(Fault::IsDirectory),
            (RemoveKind::Directory, false) => return Err(Fault::NotDirectory),
            _ if !self.nodes[&id].entries.is_empty() => return Err(Fault::NotEmpty),
            _ => {}
        }
        self.drop_name(parent, name);
        Ok(())
    }

    fn link(&mut self, id: usize, parent: usize, name: &str) -> Result<(), Fault> {
        if self.is_dir(id) {
            return Err(Fault::NotPermitted);
        }
        if self.child(parent, name).is_some() {
            return Err(Fault::Exists);
        }
        self.nodes.get_mut(&parent).unwrap().entries.insert(name.to_owned(), id);
        self.nodes.get_mut(&id).unwrap().links += 1;
        Ok(())
    }

    fn is_above(&self, id: usize, below: usize) -> bool {
        let mut at = below;
        while at != id {
            if at == 0 {
                return false;
            }
            at = self.nodes[&at].parent;
        }
        true
    }

    fn rename(&mut self, from: (usize, &str), to: (usize, &str), mode: RenameMode) -> Result<(), Fault> {
        let id = self.child(from.0, from.1).ok_or(Fault::NotFound)?;
        let target = self.child(to.0, to.1);
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Fault::Exists),
            (RenameMode::Exchange, None) => return Err(Fault::NotFound),
            (_, Some(target)) if target == id => return Ok(()),
            (RenameMode::Exchange, Some(target)) => return self.exchange((from, id), (to, target)),
            _ => {}
        }
        let is_dir = self.is_dir(id);
        if is_dir && self.is_above(id, to.0) {
            return Err(Fault::Invalid);
        }
        if let Some(target) = target {
            match (is_dir, self.is_dir(target)) {
                (true, false) => return Err(Fault::NotDirectory),
                (false, true) => return Err(Fault::IsDirectory),
                _ if !self.nodes[&target].entries.is_empty() => return Err(Fault::NotEmpty),
                _ => self.drop_name(to.0, to.1),
            }
        }
        self.nodes.get_mut(&from.0).unwrap().entries.remove(from.1);
        self.nodes.get_mut(&to.0).unwrap().entries.insert(to.1.to_owned(), id);
        if is_dir {
            self.nodes.get_mut(&from.0).unwrap().links -= 1;
            self.nodes.get_mut(&to.0).unwrap().links += 1;
            self.nodes.get_mut(&id).unwrap().parent = to.0;
        }
        Ok(())
    }

    fn exchange(
        &mut self,
        (from, id): ((usize, &str), usize),
        (to, other): ((usize, &str), usize),
    ) -> Result<(), Fault> {
        for (moved, into) in [(id, to.0), (other, from.0)] {
            if self.is_dir(moved) && self.is_above(moved, into) {
                return Err(Fault::Invalid);
            }
        }
        for (moved, out, into, name) in [(id, from.0, to.0, to.1), (other, to.0, from.0, from.1)] {
            self.nodes.get_mut(&into).unwrap().entries.insert(name.to_owned(), moved);
            if self.is_dir(moved) {
                self.nodes.get_mut(&out).unwrap().links -= 1;
                self.nodes.get_mut(&into).unwrap().links += 1;
                self.nodes.get_mut(&moved).unwrap().parent = into;
            }
        }
        Ok(())
    }
}

/// An operation; places are chosen among the directories there are.
#[derive(Debug, Clone)]
enum Op {
    Make { dir: usize, name: u8, kind: u8 },
    Remove { dir: usize, name: u8, kind: RemoveKind },
    Rename { from: (usize, u8), to: (usize, u8), mode: RenameMode },
    Link { from: (usize, u8), to: (usize, u8) },
    Chmod { dir: usize, name: u8, mode: u32 },
    Crash { keep: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let place = || (0_usize..8, 0_u8..4);
    let mode = prop_oneof![
        4 => Just(RenameMode::Replace), 1 => Just(RenameMode::NoReplace), 2 => Just(RenameMode::Exchange),
    ];
    let kind = prop_oneof![Just(RemoveKind::File), Just(RemoveKind::Directory)];
    prop_oneof![
        5 => (place(), 0_u8..4).prop_map(|((dir, name), kind)| Op::Make { dir, name, kind }),
        3 => (place(), kind).prop_map(|((dir, name), kind)| Op::Remove { dir, name, kind }),
        5 => (place(), place(), mode).prop_map(|(from, to, mode)| Op::Rename { from, to, mode }),
        2 => (place(), place()).prop_map(|(from, to)| Op::Link { from, to }),
        1 => (place(), 0_u32..0o10000).prop_map(|((dir, name), mode)| Op::Chmod { dir, name, mode }),
        1 => (0_usize..4).prop_map(|keep| Op::Crash { keep }),
    ]
}

struct World {
    cluster: Cluster,
    oracle: Oracle,
    turn: usize,
}

impl World {
    fn dir(&self, index: usize) -> usize {
        let all = self.oracle.directories();
        all[index % all.len()]
    }

    fn fid(&self, id: usize) -> Fid {
        self.oracle.nodes[&id].fid
    }

    fn ask(&mut self, request: Request) -> Result<Reply, Fault> {
        self.turn += 1;
        self.cluster.ask(self.turn % 2, request)
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Make { dir, name, kind } => self.make(self.dir(*dir), &text(*name), *kind),
            Op::Remove { dir, name, kind } => {
                let (dir, name) = (self.dir(*dir), text(*name));
                let request = Request::Remove { parent: self.fid(dir), name: bytes(&name), kind: *kind };
                let real = self.ask(request).map(|_| ());
                assert_eq!(real, self.oracle.remove(dir, &name, *kind));
            }
            Op::Rename { from, to, mode } => {
                let (from, to) = ((self.dir(from.0), text(from.1)), (self.dir(to.0), text(to.1)));
                let request = Request::Rename {
                    from: (self.fid(from.0), bytes(&from.1)),
                    to: (self.fid(to.0), bytes(&to.1)),
                    mode: *mode,
                };
                let real = self.ask(request).map(|_| ());
                assert_eq!(real, self.oracle.rename((from.0, &from.1), (to.0, &to.1), *mode));
            }
            Op::Link { from, to } => {
                self.link((self.dir(from.0), text(from.1)), (self.dir(to.0), text(to.1)))
            }
            Op::Chmod { dir, name, mode } => {
                let Some(id) = self.oracle.child(self.dir(*dir), &text(*name)) else { return };
                let change = AttrChange { mode: Some(*mode), ..AttrChange::default() };
                self.ask(Request::SetAttr { fid: self.fid(id), change }).unwrap();
                self.oracle.nodes.get_mut(&id).unwrap().mode = *mode;
            }
            Op::Crash { keep } => {
                // What was never committed is as if it had never been asked.
                let name = b"uncommitted".to_vec();
                let owner = Owner { uid: 0, gid: 0 };
                let inode = NewInode::Directory;
                self.cluster.handle_only(
                    0,
                    Request::Create { parent: Fid::ROOT, name, mode: 0, owner, exclusive: true, inode },
                );
                self.cluster.restart(*keep);
                self.compare();
            }
        }
    }

    fn make(&mut self, dir: usize, name: &str, kind: u8) {
        let (kind, inode) = match kind {
            0 => (FileKind::Regular, NewInode::Regular { open: None }),
            1 => (FileKind::Symlink, NewInode::Symlink { target: b"anywhere".to_vec() }),
            2 => (FileKind::Fifo, NewInode::Node { kind: FileKind::Fifo, device: 0 }),
            _ => (FileKind::Directory, NewInode::Directory),
        };
        let owner = Owner { uid: 1, gid: 2 };
        let parent = self.fid(dir);
        let real = self.ask(Request::Create {
            parent,
            name: bytes(name),
            mode: 0o644,
            owner,
            exclusive: true,
            inode,
        });
        if self.oracle.child(dir, name).is_some() {
            assert_eq!(real, Err(Fault::Exists));
        } else {
            let fid = entry(real).attr.fid;
            self.oracle.add(dir, name, kind, fid);
        }
    }

    fn link(&mut self, from: (usize, String), to: (usize, String)) {
        let Some(id) = self.oracle.child(from.0, &from.1) else { return };
        let request = Request::Link { fid: self.fid(id), parent: self.fid(to.0), name: bytes(&to.1) };
        let real = self.ask(request).map(|_| ());
        assert_eq!(real, self.oracle.link(id, to.0, &to.1));
    }

    /// Both trees have the same names, kinds, modes, link counts and inodes; paths lead back.
    fn compare(&mut self) {
        for id in self.oracle.directories() {
            let node = self.oracle.nodes[&id].clone();
            assert_eq!(self.cluster.attr(0, node.fid).link_count, node.links, "links of a directory");
            let mut listed = self.cluster.list(1, node.fid, 2);
            listed.sort_by(|one, other| one.0.cmp(&other.0));
            let names: Vec<&String> = node.entries.keys().collect();
            assert_eq!(listed.iter().map(|(name, _)| name).collect::<Vec<_>>(), names);
            for ((name, attr), child) in listed.iter().zip(node.entries.values()) {
                let expected = &self.oracle.nodes[child];
                let seen = (attr.fid, attr.kind, attr.mode, attr.link_count);
                assert_eq!(seen, (expected.fid, expected.kind, expected.mode, expected.links), "{name}");
                let Ok(Reply::Names { names }) = self.cluster.ask(0, Request::FidToPath { fid: attr.fid })
                else {
                    panic!("no path of {name}")
                };
                assert!(names.iter().any(|path| path.rsplit(|b| *b == b'/').next() == Some(name.as_bytes())));
                assert_eq!(names.len(), if is_directory(attr) { 1 } else { expected.links as usize });
            }
        }
        let Ok(Reply::Statistics { inodes, .. }) = self.cluster.ask(0, Request::Statistics) else { panic!() };
        assert_eq!(inodes, self.oracle.nodes.len() as u64);
    }
}

fn text(name: u8) -> String {
    format!("n{name}")
}

fn bytes(name: &str) -> Vec<u8> {
    name.as_bytes().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn a_tree_changes_as_posix_says_whatever_crashes(ops in proptest::collection::vec(op(), 1..60)) {
        let mut world = World { cluster: Cluster::new(1, 2), oracle: Oracle::new(), turn: 0 };
        for op in &ops {
            world.step(op);
        }
        world.compare();
        world.cluster.restart(usize::MAX);
        world.compare();
    }
}

#[test]
fn names_that_cannot_be_are_refused() {
    let mut cluster = Cluster::new(1, 1);
    let long = "x".repeat(256);
    for (name, fault) in
        [(long.as_str(), Fault::NameTooLong), ("a/b", Fault::Invalid), ("..", Fault::Invalid)]
    {
        assert_eq!(cluster.create(0, Fid::ROOT, name, NewInode::Directory), Err(fault));
    }
    cluster.mkdir(0, Fid::ROOT, &"x".repeat(255));
    assert_eq!(cluster.lookup(0, Fid::ROOT, &long), Err(Fault::NameTooLong));
}

#[test]
fn a_listing_goes_on_where_it_was_while_entries_come_and_go() {
    let mut cluster = Cluster::new(1, 1);
    for index in 0..100 {
        cluster.mkdir(0, Fid::ROOT, &format!("keep{index}"));
    }
    let (mut seen, mut after) = (Vec::new(), 0);
    for round in 0.. {
        let answer = cluster.ask(0, Request::ReadDirectory { fid: Fid::ROOT, after, limit: 7 });
        let Ok(Reply::Entries { entries, end, .. }) = answer else { panic!("{answer:?}") };
        for entry in entries {
            after = entry.cookie;
            seen.push(String::from_utf8(entry.name).unwrap());
        }
        if end {
            break;
        }
        cluster.mkdir(0, Fid::ROOT, &format!("new{round}"));
        if round > 0 {
            let (name, kind) = (format!("new{}", round - 1).into_bytes(), RemoveKind::Directory);
            cluster.ask(0, Request::Remove { parent: Fid::ROOT, name, kind }).unwrap();
        }
    }
    let kept = seen.iter().filter(|name| name.starts_with("keep")).count();
    assert_eq!(kept, 100, "each entry that stayed is listed once");
}

#[test]
fn a_directory_hands_its_group_down() {
    let mut cluster = Cluster::new(1, 1);
    let top = cluster.mkdir(0, Fid::ROOT, "top");
    let change = AttrChange { mode: Some(0o2770), gid: Some(77), ..AttrChange::default() };
    cluster.ask(0, Request::SetAttr { fid: top, change }).unwrap();
    let below = entry(cluster.create(0, top, "below", NewInode::Directory)).attr;
    let file = entry(cluster.create(0, top, "file", NewInode::Regular { open: None })).attr;
    assert_eq!((below.gid, below.mode, file.gid, file.mode), (77, 0o2644, 77, 0o644));
}

#[test]
fn a_change_of_owner_takes_setuid_and_setgid() {
    let mut cluster = Cluster::new(1, 1);
    for (mode, after) in [(0o6755, 0o755), (0o6644, 0o2644), (0o4711, 0o711)] {
        let name = format!("f{mode:o}");
        let fid = entry(cluster.create(0, Fid::ROOT, &name, NewInode::Regular { open: None })).attr.fid;
        cluster
            .ask(
                0,
                Request::SetAttr { fid, change: AttrChange { mode: Some(mode), ..AttrChange::default() } },
            )
            .unwrap();
        let change = AttrChange { uid: Some(5), ..AttrChange::default() };
        assert_eq!(entry(cluster.ask(0, Request::SetAttr { fid, change })).attr.mode, after);
    }
}

#[test]
fn looking_ahead_finds_every_name_once_and_what_lookups_would() {
    let mut cluster = Cluster::new(1, 2);
    let dir = cluster.mkdir(0, Fid::ROOT, "d");
    for number in 0..50 {
        cluster.create(0, dir, &format!("f{number}"), NewInode::Regular { open: None }).unwrap();
    }
    let (view, _) = cluster.create_open(0, dir, "written");
    let (mut found, mut after, mut left_out) = (Vec::new(), Some(0), false);
    while let Some(behind) = after {
        let request = Request::LookAhead { fid: dir, after: behind, limit: 7 };
        let answer = cluster.ask(1, request);
        let Ok(Reply::Ahead { entries, next, skipped, directory_lease }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(directory_lease, LeaseKind::Read);
        assert!(entries.iter().all(|found| found.entry.lease == LeaseKind::Read && found.layout.is_some()));
        found.extend(
            entries.into_iter().map(|found| (String::from_utf8(found.name).unwrap(), found.entry.attr)),
        );
        (after, left_out) = (next, left_out || skipped);
    }
    assert!(left_out, "a file that is being written is not described");
    let fid = view.entry.attr.fid;
    let recalls = |notice: &Notice| matches!(notice, Notice::Recall { fid: of, .. } if *of == fid);
    assert!(!cluster.clients[0].notices.iter().any(recalls), "its writer is not disturbed");
    assert_eq!(found.len(), 50);
    for (name, attr) in found {
        assert_eq!(cluster.lookup(1, dir, &name), Ok(attr));
    }
}
