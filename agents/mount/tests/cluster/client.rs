//! The client core without a mount, as movers use it.
//!
//! Not the caches; these are seen through mounts.
//! Invariant: none beyond the tests' own.

use bytes::Bytes;
use lustre_model::attr::Owner;
use lustre_model::fid::Fid;
use lustre_model::metadata::{NewInode, OpenMode, Reply, Request};

use crate::host::Cluster;

fn create(name: &str) -> Request {
    Request::Create {
        parent: Fid::ROOT,
        name: name.as_bytes().to_vec(),
        mode: 0o644,
        owner: Owner { uid: 0, gid: 0 },
        exclusive: true,
        inode: NewInode::Regular { open: Some(OpenMode::Write) },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_written_straight_to_objects_read_back_through_another_client() {
    let cluster = Cluster::start().await;
    let (writer, reader) = (cluster.client().await, cluster.client().await);
    let Reply::Opened { view, .. } = writer.call(&create("x")).await.unwrap() else { panic!("not opened") };
    let range = lustre_model::metadata::ByteRange { start: 0, end: 1 << 20 };
    let fid = view.entry.attr.fid;
    let Reply::Layout { layout } = writer.call(&Request::Instantiate { fid, range }).await.unwrap() else {
        panic!("no layout")
    };
    let data: Bytes = (0..700_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<u8>>().into();
    writer.write_objects(&layout, 12_345, &data).await.unwrap();
    writer.sync_objects(&layout).await.unwrap();
    let read = reader.read_objects(&layout, 12_345..712_345).await.unwrap();
    assert!(read == data);
    let before = reader.read_objects(&layout, 0..12_345).await.unwrap();
    assert!(before.iter().all(|byte| *byte == 0));
}
