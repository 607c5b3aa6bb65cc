//! The mover against the bucket: what it exports is in the folder, what is in the folder it imports.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lustre_model::attr::{Attr, FileKind, Timestamp};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::hsm::{
    HsmAction, HsmEnd, HsmOutcome, HsmProgress, HsmVerb, ImportEntry, Link, LinkId, Listed,
    RepositoryEndpoint,
};
use lustre_model::layout::Layout;
use lustre_model::metadata::ByteRange;
use lustre_repository::{FileSystem, Imported, S3Connect};
use tokio::sync::Notify;

use super::{Server, server};

/// One file, and actions on it that are given out one after another.
#[derive(Clone)]
struct OneFile {
    link: Link,
    attr: Attr,
    state: Arc<Mutex<State>>,
    done: Arc<Notify>,
}

#[derive(Default)]
struct State {
    verbs: VecDeque<HsmVerb>,
    bytes: Vec<u8>,
    ends: Vec<HsmOutcome>,
    imported: Vec<ImportEntry>,
}

impl OneFile {
    fn new(server: &Server, size: usize) -> Self {
        let endpoint = &server.endpoint;
        let repository = RepositoryEndpoint {
            bucket: endpoint.bucket.clone(),
            prefix: "in/".into(),
            endpoint_url: endpoint.endpoint_url.clone(),
            region: None,
            path_style: true,
            credentials_file: endpoint.credentials_file.clone(),
        };
        let link = Link {
            id: LinkId(1),
            name: "test".into(),
            file_system_path: "/".into(),
            repository,
            batch_import_meta_data_on_create: true,
            imported_file_chunk_size: 1024,
            auto_import: Vec::new(),
            auto_export: Vec::new(),
        };
        let time = Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 };
        let attr = Attr {
            fid: Fid::ROOT,
            kind: FileKind::Regular,
            mode: 0o640,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            link_count: 1,
            size: size as u64,
            blocks: 0,
            device: 0,
            atime: time,
            mtime: time,
            ctime: time,
            change: 0,
        };
        let bytes = (0..size).map(|at| (at / 1021) as u8).collect();
        let state = Arc::new(Mutex::new(State { bytes, ..State::default() }));
        Self { link, attr, state, done: Arc::default() }
    }

    /// Has the mover do something, and returns what came of it.
    async fn ask(&self, verb: HsmVerb) -> HsmOutcome {
        self.state.lock().unwrap().verbs.push_back(verb);
        let done = Arc::clone(&self.done);
        let mover = lustre_repository::run(self.clone(), S3Connect, async move { done.notified().await });
        tokio::time::timeout(Duration::from_secs(60), mover).await.unwrap().unwrap();
        self.state.lock().unwrap().ends.pop().unwrap()
    }

    async fn stored(&self, verb: HsmVerb) -> String {
        match self.ask(verb).await {
            HsmOutcome::Stored { etag } => etag,
            other @ (HsmOutcome::Done | HsmOutcome::Identified { .. } | HsmOutcome::Failed { .. }) => {
                panic!("{other:?}")
            }
        }
    }
}

fn layout() -> Layout {
    Layout { generation: 0, components: Vec::new() }
}

impl FileSystem for OneFile {
    async fn receive(&self, _: u32, wait_ms: u32) -> Result<Vec<HsmAction>, Fault> {
        let verb = self.state.lock().unwrap().verbs.pop_front();
        match verb {
            Some(verb) => Ok(vec![HsmAction {
                cookie: 1,
                link: LinkId(1),
                repository: self.link.repository.fingerprint(),
                fid: Fid::ROOT,
                verb,
            }]),
            None => {
                tokio::time::sleep(Duration::from_millis(wait_ms.into())).await;
                Ok(Vec::new())
            }
        }
    }

    async fn progress(&self, _: HsmProgress) -> Result<(), Fault> {
        Ok(())
    }

    async fn end(&self, end: HsmEnd) -> Result<(), Fault> {
        self.state.lock().unwrap().ends.push(end.outcome);
        self.done.notify_one();
        Ok(())
    }

    async fn links(&self) -> Result<Vec<Link>, Fault> {
        Ok(vec![self.link.clone()])
    }

    async fn import(&self, _: LinkId, _: Listed, entries: Vec<ImportEntry>) -> Result<Imported, Fault> {
        let imported = entries.len() as u64;
        self.state.lock().unwrap().imported.extend(entries);
        Ok(Imported { imported, ..Imported::default() })
    }

    async fn attr(&self, _: Fid) -> Result<Attr, Fault> {
        Ok(self.attr)
    }

    async fn read(&self, _: &Layout, range: Range<u64>) -> Result<Bytes, Fault> {
        let state = self.state.lock().unwrap();
        Ok(Bytes::copy_from_slice(&state.bytes[range.start as usize..range.end as usize]))
    }

    async fn write(&self, _: &Layout, offset: u64, bytes: &Bytes) -> Result<(), Fault> {
        let mut state = self.state.lock().unwrap();
        state.bytes[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    async fn sync(&self, _: &Layout) -> Result<(), Fault> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_to_the_bucket_changes_there_and_comes_back() {
    let server = server().await;
    for size in [0, 5, (20 << 20) + 3] {
        let file = OneFile::new(&server, size);
        let content = file.state.lock().unwrap().bytes.clone();
        let (attr, key) = (file.attr, format!("in/d/f{size}"));
        let archive = |expect| HsmVerb::Archive {
            key: key.clone(),
            attr,
            symlink: None,
            layout: Some(layout()),
            expect,
        };
        let etag = file.stored(archive(None)).await;
        let path = server.folder.path().join(&key);
        assert!(fs_err::read(&path).unwrap() == content);
        let outcome = file.ask(HsmVerb::Identify { key: key.clone() }).await;
        assert!(
            matches!(outcome, HsmOutcome::Identified { metadata, symlink: None }
                if metadata.permissions == Some(0o100_640) && metadata.mtime == Some(attr.mtime)),
            "{outcome:?}"
        );
        // An attempt whose answer was lost: nothing is expected where our own object is.
        let etag_again = file.stored(archive(None)).await;
        let changed = Attr { mode: 0o600, ..attr };
        let set = HsmVerb::SetMetadata { key: key.clone(), attr: changed, expect: Some(etag_again.clone()) };
        let etag_set = file.stored(set).await;
        assert_eq!((&etag, &etag), (&etag_again, &etag_set), "the content stayed");
        let to = format!("in/other {size}\u{e4}");
        let rename = HsmVerb::Rename { from: key.clone(), to: to.clone(), expect: Some(etag_set) };
        let etag_moved = file.stored(rename).await;
        assert!(!path.exists());
        file.state.lock().unwrap().bytes.fill(0);
        let ranges = vec![ByteRange { start: 0, end: (size as u64).next_multiple_of(4 << 20) }];
        let restore = HsmVerb::Restore {
            key: to.clone(),
            etag: etag_moved.clone(),
            size: size as u64,
            layout: layout(),
            ranges,
        };
        assert_eq!(file.ask(restore).await, HsmOutcome::Done);
        assert!(file.state.lock().unwrap().bytes == content);
        assert_eq!(file.ask(HsmVerb::Remove { key: to, expect: Some(etag_moved) }).await, HsmOutcome::Done);
    }
    assert!(!server.folder.path().join("in").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_a_real_folder_is_imported_once() {
    let server = server().await;
    let mut expected = vec!["d/".to_owned()];
    fs_err::create_dir_all(server.folder.path().join("in/d")).unwrap();
    for number in 0..2500 {
        fs_err::write(server.folder.path().join(format!("in/d/{number}")), "x").unwrap();
        expected.push(format!("d/{number}"));
    }
    super::put(&server.client, "in/a//b", "odd").await;
    expected.push("a//b".to_owned());
    let file = OneFile::new(&server, 0);
    assert_eq!(file.ask(HsmVerb::List).await, HsmOutcome::Done);
    let mut imported: Vec<String> =
        file.state.lock().unwrap().imported.iter().map(|entry| entry.key.clone()).collect();
    imported.sort();
    expected.sort();
    assert_eq!(imported, expected);
}
