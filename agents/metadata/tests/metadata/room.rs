//! A disk that is nearly full: what grows is refused, all else is done, and a refusal writes nothing.

use lustre_metadata::{Input, Room};
use lustre_model::attr::AttrChange;
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::metadata::{NewInode, OpenMode, RenameMode, Reply, Request, XattrMode};

use crate::cluster::{Cluster, striped};

#[test]
fn what_grows_is_refused_and_writes_nothing_while_all_else_goes_on() {
    let mut cluster = Cluster::new(2, 1);
    let dir = cluster.mkdir(0, Fid::ROOT, "d");
    for name in ["f", "g", "h"] {
        let (view, open) = cluster.create_open(0, dir, name);
        cluster.write_and_close(0, &view, open, 10);
    }
    let file = cluster.lookup(0, dir, "f").unwrap().fid;
    cluster.input(Input::Room { room: Room::Scarce });

    let name = || b"new".to_vec();
    let growing = [
        Request::Link { fid: file, parent: dir, name: name() },
        Request::SetXattr { fid: file, name: b"user.a".to_vec(), value: vec![1; 9], mode: XattrMode::Set },
        Request::SetLayout { fid: dir, template: Some(striped(2)) },
    ];
    let before = cluster.log.with(|bytes| bytes.len());
    for request in growing.clone() {
        assert_eq!(cluster.ask(0, request.clone()), Err(Fault::NoSpace), "{request:?}");
    }
    for inode in [NewInode::Directory, NewInode::Regular { open: Some(OpenMode::Write) }] {
        assert_eq!(cluster.create(0, dir, "new", inode), Err(Fault::NoSpace));
    }
    assert_eq!(cluster.log.with(|bytes| bytes.len()), before, "a refusal takes none of what is left");

    cluster.remove(0, dir, "f").unwrap();
    let rename =
        Request::Rename { from: (dir, b"g".to_vec()), to: (dir, b"h".to_vec()), mode: RenameMode::Replace };
    assert!(cluster.ask(0, rename).is_ok());
    let fid = cluster.lookup(0, dir, "h").unwrap().fid;
    let change = AttrChange { size: Some(0), ..AttrChange::default() };
    assert!(cluster.ask(0, Request::SetAttr { fid, change }).is_ok());
    cluster.open_file(0, fid, OpenMode::Read);
    assert_eq!(cluster.list(0, dir, 10).len(), 1);

    cluster.input(Input::Room { room: Room::Ample });
    assert_eq!(cluster.ask(0, Request::SetLayout { fid: dir, template: Some(striped(2)) }), Ok(Reply::Done));
    cluster.mkdir(0, dir, "new");
}
