//! A metadata target in memory: scripts of what is asked for each file, one action at a time, repeated until it succeeded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use lustre_model::attr::{Attr, FileKind, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{
    HsmAction, HsmEnd, HsmOutcome, HsmProgress, HsmVerb, ImportEntry, KeyRange, Link, LinkEvent, LinkId,
    Listed, RepositoryEndpoint,
};
use lustre_model::layout::{Component, ComponentTemplate, END_OF_FILE, Layout, StripeCount};
use tokio::sync::Notify;

use crate::file_system::{FileSystem, Imported};

/// A step of a file's life.
#[derive(Debug, Clone)]
pub enum Step {
    Write(Vec<u8>),
    Chmod(u32),
    Move(String),
    Delete,
    Read,
    Ask,
    Check,
}

#[derive(Debug, Clone)]
pub struct File {
    pub fid: Fid,
    pub key: String,
    pub bytes: Vec<u8>,
    pub mode: u32,
    pub time: i64,
    pub kind: FileKind,
    pub symlink: Option<Vec<u8>>,
    /// What the repository is known to hold.
    pub etag: Option<String>,
    pub script: VecDeque<Step>,
    pub outcomes: Vec<HsmOutcome>,
}

#[derive(Debug, Default)]
pub struct State {
    pub files: BTreeMap<Fid, File>,
    pub list_wanted: bool,
    pub list_outcomes: Vec<HsmOutcome>,
    pub imported: Vec<ImportEntry>,
    /// Ranges of keys that were listed, as they came.
    pub ranges: Vec<KeyRange>,
    flights: BTreeMap<u64, Fid>,
    flying: BTreeSet<Fid>,
    cookies: u64,
    pub unsynced: BTreeSet<Fid>,
    pub progress: Vec<HsmProgress>,
    pub written: Vec<(u64, Bytes)>,
    /// Attributes change when bytes were read this often.
    pub change_at_read: Option<u32>,
    /// Ends that fail before they are heard.
    pub deaf: u32,
}

#[derive(Debug, Clone, Default)]
pub struct MemoryTarget {
    state: Arc<Mutex<State>>,
    pub idle: Arc<Notify>,
}

pub const LINK: LinkId = LinkId(7);
pub const PREFIX: &str = "data/";

pub fn link() -> Link {
    let repository = RepositoryEndpoint {
        bucket: "memory".into(),
        prefix: PREFIX.into(),
        endpoint_url: None,
        region: None,
        path_style: true,
        credentials_file: None,
    };
    Link {
        id: LINK,
        name: "test".into(),
        file_system_path: "/".into(),
        repository,
        batch_import_meta_data_on_create: true,
        imported_file_chunk_size: 1024,
        auto_import: vec![LinkEvent::Deleted],
        auto_export: Vec::new(),
    }
}

/// A layout whose generation tells which file it is of.
pub fn layout(fid: Fid) -> Layout {
    let template = ComponentTemplate {
        end: END_OF_FILE,
        stripe_size: 1 << 20,
        stripe_count: StripeCount::All,
        pool: None,
    };
    Layout { generation: fid.object, components: vec![Component { start: 0, template, stripes: Vec::new() }] }
}

impl File {
    pub fn new(number: u64, script: Vec<Step>) -> Self {
        Self {
            fid: Fid::from_serial(number),
            key: format!("{PREFIX}f{number}"),
            bytes: Vec::new(),
            mode: 0o644,
            time: 0,
            kind: FileKind::Regular,
            symlink: None,
            etag: None,
            script: script.into(),
            outcomes: Vec::new(),
        }
    }

    pub fn attr(&self) -> Attr {
        let time = Timestamp { seconds: self.time, nanoseconds: 5 };
        Attr {
            fid: self.fid,
            kind: self.kind,
            mode: self.mode,
            uid: 1,
            gid: 2,
            link_count: 1,
            size: self.bytes.len() as u64,
            blocks: 0,
            device: 0,
            atime: time,
            mtime: time,
            ctime: time,
            change: 0,
        }
    }

    /// What the step asks of a mover, the change itself being made now.
    fn verb(&mut self) -> Option<HsmVerb> {
        let (key, expect) = (self.key.clone(), self.etag.clone());
        Some(match self.script.front()?.clone() {
            Step::Write(bytes) => {
                if self.bytes != bytes {
                    self.time += 1;
                }
                self.bytes = bytes;
                let layout = (self.kind == FileKind::Regular).then(|| layout(self.fid));
                HsmVerb::Archive { key, attr: self.attr(), symlink: self.symlink.clone(), layout, expect }
            }
            Step::Chmod(mode) => {
                self.mode = mode;
                HsmVerb::SetMetadata { key, attr: self.attr(), expect }
            }
            Step::Move(to) => HsmVerb::Rename { from: key, to, expect },
            Step::Delete => HsmVerb::Remove { key, expect },
            Step::Read => {
                let size = self.bytes.len() as u64;
                let end = size.next_multiple_of(4096);
                let ranges = vec![lustre_model::metadata::ByteRange { start: 0, end }];
                HsmVerb::Restore { key, etag: expect?, size, layout: layout(self.fid), ranges }
            }
            Step::Ask => HsmVerb::Identify { key },
            Step::Check => HsmVerb::Check,
        })
    }

    fn succeeded(&mut self, outcome: &HsmOutcome) {
        match self.script.pop_front() {
            Some(Step::Move(to)) => self.key = to,
            Some(Step::Delete) => self.etag = None,
            Some(Step::Write(_) | Step::Chmod(_) | Step::Read | Step::Ask | Step::Check) | None => {}
        }
        if let HsmOutcome::Stored { etag } = outcome {
            self.etag = Some(etag.clone());
        }
    }
}

impl MemoryTarget {
    pub fn with(files: Vec<File>) -> Self {
        let target = Self::default();
        target.state().files = files.into_iter().map(|file| (file.fid, file)).collect();
        target
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn file(&self, number: u64) -> File {
        self.state().files[&Fid::from_serial(number)].clone()
    }

    /// A mover is gone: what it had is to be done again.
    pub fn mover_lost(&self) {
        let mut state = self.state();
        state.flights.clear();
        state.flying.clear();
    }

    fn is_idle(&self) -> bool {
        let state = self.state();
        !state.list_wanted && state.files.values().all(|file| file.script.is_empty())
    }

    fn next(&self, limit: u32) -> Vec<HsmAction> {
        let mut state = self.state();
        let state = &mut *state;
        let mut actions = Vec::new();
        if state.list_wanted && state.flying.insert(Fid::ROOT) {
            state.cookies += 1;
            state.flights.insert(state.cookies, Fid::ROOT);
            actions.push(HsmAction {
                cookie: state.cookies,
                link: LINK,
                repository: link().repository.fingerprint(),
                fid: Fid::ROOT,
                verb: HsmVerb::List,
            });
        }
        for file in state.files.values_mut() {
            if actions.len() >= limit as usize {
                break;
            }
            if state.flying.contains(&file.fid) {
                continue;
            }
            let Some(verb) = file.verb() else { continue };
            state.cookies += 1;
            state.flights.insert(state.cookies, file.fid);
            state.flying.insert(file.fid);
            actions.push(HsmAction {
                cookie: state.cookies,
                link: LINK,
                repository: link().repository.fingerprint(),
                fid: file.fid,
                verb,
            });
        }
        actions
    }
}

impl FileSystem for MemoryTarget {
    async fn receive(&self, limit: u32, _: u32) -> Result<Vec<HsmAction>, Fault> {
        loop {
            let actions = self.next(limit);
            if !actions.is_empty() {
                return Ok(actions);
            }
            if self.is_idle() {
                self.idle.notify_one();
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    async fn progress(&self, progress: HsmProgress) -> Result<(), Fault> {
        assert!(self.state().unsynced.is_empty(), "bytes were reported before they were durable");
        self.state().progress.push(progress);
        Ok(())
    }

    async fn end(&self, end: HsmEnd) -> Result<(), Fault> {
        let mut state = self.state();
        if state.deaf > 0 {
            state.deaf -= 1;
            return Err(Fault::TimedOut);
        }
        let Some(fid) = state.flights.remove(&end.cookie) else { return Ok(()) };
        state.flying.remove(&fid);
        let again = matches!(end.outcome, HsmOutcome::Failed { retry: true, .. });
        if fid == Fid::ROOT {
            state.list_wanted &= again;
            state.list_outcomes.push(end.outcome);
            return Ok(());
        }
        assert!(state.unsynced.is_empty() || again, "the action ended before its bytes were durable");
        let file = state.files.get_mut(&fid).unwrap();
        match &end.outcome {
            HsmOutcome::Failed { retry: true, .. } => {}
            HsmOutcome::Failed { .. } => file.script.clear(),
            outcome @ (HsmOutcome::Done | HsmOutcome::Identified { .. } | HsmOutcome::Stored { .. }) => {
                file.succeeded(outcome);
            }
        }
        file.outcomes.push(end.outcome);
        Ok(())
    }

    async fn links(&self) -> Result<Vec<Link>, Fault> {
        Ok(vec![link()])
    }

    async fn import(
        &self,
        link: LinkId,
        listed: Listed,
        entries: Vec<ImportEntry>,
    ) -> Result<Imported, Fault> {
        assert_eq!(link, LINK);
        let count = entries.len() as u64;
        tokio::task::yield_now().await;
        let mut state = self.state();
        state.imported.extend(entries);
        state.ranges.push(listed.range);
        Ok(Imported { imported: count, ..Imported::default() })
    }

    async fn attr(&self, fid: Fid) -> Result<Attr, Fault> {
        Ok(self.state().files.get(&fid).ok_or(Fault::NotFound)?.attr())
    }

    async fn read(&self, layout: &Layout, range: Range<u64>) -> Result<Bytes, Fault> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        let left = state.change_at_read.as_mut().map(|left| {
            *left = left.saturating_sub(1);
            *left
        });
        let file = state.files.values_mut().find(|file| file.fid.object == layout.generation);
        let file = file.ok_or(Fault::NotFound)?;
        let bytes = Bytes::copy_from_slice(&file.bytes[range.start as usize..range.end as usize]);
        if left == Some(0) {
            file.time += 1;
            state.change_at_read = None;
        }
        Ok(bytes)
    }

    async fn write(&self, layout: &Layout, offset: u64, bytes: &Bytes) -> Result<(), Fault> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        let fid = state.files.values().find(|file| file.fid.object == layout.generation).unwrap().fid;
        state.unsynced.insert(fid);
        state.written.push((offset, bytes.clone()));
        Ok(())
    }

    async fn sync(&self, layout: &Layout) -> Result<(), Fault> {
        self.state().unsynced.retain(|fid| fid.object != layout.generation);
        Ok(())
    }
}
