//! Open files, their sizes, layouts and attributes.
//!
//! Invariant: sizes are those of the objects that a client wrote, whoever crashed.

use lustre_model::attr::AttrChange;
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::layout::{
    ComponentTemplate, END_OF_FILE, LayoutTemplate, STRIPE_SIZE_DEFAULT, StripeCount,
};
use lustre_model::metadata::{
    ByteRange, LeaseKind, NewInode, OpenId, OpenMode, RemoveKind, Reply, Request, WriteUpdate, XattrMode,
};

use crate::cluster::{Cluster, LEASE_MS, OWNER, close, entry, opened, striped};
use lustre_metadata::{Input, Work};

fn resize(size: u64) -> AttrChange {
    AttrChange { size: Some(size), ..AttrChange::default() }
}

#[test]
fn an_unlinked_file_lives_until_its_last_close_and_then_its_objects_go() {
    let mut cluster = Cluster::new(2, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    let (_, other) = cluster.open_file(1, fid, OpenMode::Read);
    cluster.write_objects(&view, 3 << 20);
    assert_eq!(cluster.objects.len(), 2);
    cluster.remove(1, Fid::ROOT, "f").unwrap();
    assert_eq!(cluster.lookup(0, Fid::ROOT, "f"), Err(Fault::NotFound));
    assert_eq!(cluster.attr(1, fid).link_count, 0);
    cluster.restart(0);
    cluster.ask(0, close(fid, open, None)).unwrap();
    assert_eq!(cluster.attr(1, fid).link_count, 0, "the other still has it open");
    cluster.ask(1, close(fid, other, None)).unwrap();
    assert_eq!(cluster.ask(1, Request::GetAttr { fid }), Err(Fault::Stale));
    assert!(cluster.objects.is_empty());
}

#[test]
fn the_root_belongs_to_who_runs_the_target() {
    let mut cluster = Cluster::new(1, 1);
    let root = cluster.attr(0, Fid::ROOT);
    assert_eq!((root.uid, root.gid, root.mode), (OWNER.uid, OWNER.gid, 0o755));
}

#[test]
fn only_files_that_may_have_objects_give_object_targets_work_when_they_go() {
    let mut cluster = Cluster::new(2, 2);
    let removed = |cluster: &mut Cluster, name| {
        cluster.prompt = false;
        cluster.remove(0, Fid::ROOT, name).unwrap();
        let destroys = cluster.work.iter().filter(|(_, work)| matches!(work, Work::Destroy { .. })).count();
        while !cluster.work.is_empty() {
            cluster.end_work(None);
        }
        cluster.prompt = true;
        destroys
    };
    let (view, open) = cluster.create_open(0, Fid::ROOT, "empty");
    cluster.ask(0, close(view.entry.attr.fid, open, None)).unwrap();
    assert_eq!(removed(&mut cluster, "empty"), 0);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "written");
    cluster.write_and_close(0, &view, open, 10);
    assert_eq!(removed(&mut cluster, "written"), 1);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "being written");
    cluster.restart(0);
    cluster.ask(0, close(view.entry.attr.fid, open, None)).unwrap();
    assert_eq!(removed(&mut cluster, "being written"), 1, "nobody knows what was written before the crash");
    let (view, open) = cluster.create_open(0, Fid::ROOT, "truncated");
    cluster.ask(0, Request::SetAttr { fid: view.entry.attr.fid, change: resize(0) }).unwrap();
    cluster.ask(0, close(view.entry.attr.fid, open, None)).unwrap();
    assert_eq!(removed(&mut cluster, "truncated"), 1, "its writer may have written before");
}

#[test]
fn bytes_of_an_unlinked_file_that_were_not_told_count_after_a_crash() {
    let mut cluster = Cluster::new(2, 1);
    let (view, _) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_objects(&view, 3 << 20);
    cluster.remove(0, Fid::ROOT, "f").unwrap();
    cluster.restart(0);
    assert_eq!(cluster.attr(0, view.entry.attr.fid).size, 3 << 20);
}

#[test]
fn a_file_that_was_opened_under_a_lease_outlives_its_name() {
    let mut cluster = Cluster::new(1, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_and_close(0, &view, open, 10);
    let fid = view.entry.attr.fid;
    cluster.attr(1, fid);
    cluster.clients[1].obliging = false;
    let name = b"f".to_vec();
    let removal = cluster.start(0, Request::Remove { parent: Fid::ROOT, name, kind: RemoveKind::File });
    assert!(cluster.answer(removal).is_none(), "it waits for the reader's lease");
    let (keep, open) = (LeaseKind::None, OpenId(1 << 40));
    cluster.ask(1, Request::Downgrade { fid, keep, update: None, open: Some(open) }).unwrap();
    assert!(matches!(cluster.answer(removal), Some(Ok(Reply::Removed { .. }))));
    assert_eq!((cluster.attr(1, fid).link_count, cluster.objects.len()), (0, 1));
    cluster.ask(1, close(fid, open, None)).unwrap();
    assert_eq!(cluster.ask(1, Request::GetAttr { fid }), Err(Fault::Stale));
    assert!(cluster.objects.is_empty());
}

#[test]
fn what_was_open_under_a_lease_is_noted_before_a_lost_connection_gives_the_lease_away() {
    let mut cluster = Cluster::new(1, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_and_close(0, &view, open, 10);
    let fid = view.entry.attr.fid;
    cluster.attr(1, fid);
    cluster.clients[1].obliging = false;
    cluster.clients[1].opens = vec![(fid, OpenId(1 << 40))];
    let connection = cluster.clients[1].connection;
    cluster.drop_connection(connection);
    let name = b"f".to_vec();
    let removal = cluster.start(0, Request::Remove { parent: Fid::ROOT, name, kind: RemoveKind::File });
    cluster.reconnect(1);
    assert!(matches!(cluster.answer(removal), Some(Ok(Reply::Removed { .. }))));
    assert_eq!(cluster.attr(1, fid).link_count, 0);
}

#[test]
fn after_a_restart_no_file_goes_before_everybody_said_what_they_have_open() {
    let mut cluster = Cluster::new(1, 3);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_and_close(0, &view, open, 10);
    let fid = view.entry.attr.fid;
    cluster.attr(1, fid);
    cluster.restart_alone(0);
    cluster.reconnect(0);
    cluster.remove(0, Fid::ROOT, "f").unwrap();
    assert_eq!(cluster.objects.len(), 1, "client 1 was not heard");
    cluster.clients[1].opens = vec![(fid, OpenId(1 << 40))];
    cluster.reconnect(1);
    cluster.reconnect(2);
    assert_eq!(cluster.attr(1, fid).link_count, 0);
    cluster.ask(1, close(fid, OpenId(1 << 40), None)).unwrap();
    assert!(cluster.objects.is_empty());
}

#[test]
fn a_client_that_never_comes_back_after_a_restart_holds_no_removed_file_for_ever() {
    let mut cluster = Cluster::new(1, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_and_close(0, &view, open, 10);
    cluster.restart_alone(0);
    cluster.reconnect(0);
    cluster.remove(0, Fid::ROOT, "f").unwrap();
    assert_eq!(cluster.objects.len(), 1);
    for _ in 0..4 {
        cluster.pass(u64::from(LEASE_MS) / 2);
        cluster.ask(0, Request::Renew).unwrap();
    }
    assert!(cluster.objects.is_empty());
}

#[test]
fn orphans_of_a_client_that_vanished_go_with_its_session() {
    let mut cluster = Cluster::new(1, 2);
    let (view, _) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_objects(&view, 10);
    cluster.remove(0, Fid::ROOT, "f").unwrap();
    assert_eq!(cluster.objects.len(), 1);
    for _ in 0..4 {
        cluster.pass(u64::from(LEASE_MS) / 2);
        cluster.ask(1, Request::Renew).unwrap();
    }
    assert!(cluster.objects.is_empty());
    let Ok(Reply::Statistics { inodes, .. }) = cluster.ask(1, Request::Statistics) else { panic!() };
    assert_eq!(inodes, 1);
}

#[test]
fn objects_are_destroyed_in_the_end_when_their_targets_were_away() {
    let mut cluster = Cluster::new(1, 1);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_and_close(0, &view, open, 10);
    cluster.prompt = false;
    cluster.remove(0, Fid::ROOT, "f").unwrap();
    cluster.end_work(Some(Fault::Unreachable));
    assert!(cluster.work.is_empty());
    cluster.prompt = true;
    cluster.pass(2000);
    assert!(cluster.objects.is_empty());
}

#[test]
fn destruction_survives_a_restart() {
    let mut cluster = Cluster::new(1, 1);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_and_close(0, &view, open, 10);
    cluster.prompt = false;
    cluster.remove(0, Fid::ROOT, "f").unwrap();
    cluster.prompt = true;
    assert_eq!(cluster.objects.len(), 1);
    cluster.restart(usize::MAX);
    assert!(cluster.objects.is_empty());
}

#[test]
fn destruction_that_failed_is_tried_again_after_a_restart() {
    for keep in [0, usize::MAX] {
        let mut cluster = Cluster::new(2, 1);
        let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
        cluster.write_and_close(0, &view, open, 3 << 20);
        cluster.prompt = false;
        cluster.remove(0, Fid::ROOT, "f").unwrap();
        for _ in 0..3 {
            cluster.end_work(Some(Fault::Unreachable));
            cluster.pass(2000);
        }
        cluster.restart(keep);
        assert!(matches!(cluster.end_work(Some(Fault::Unreachable)), Work::Destroy { .. }));
        assert_eq!(cluster.objects.len(), 2);
        cluster.restart(keep);
        cluster.end_work(None);
        assert!(cluster.objects.is_empty());
        cluster.restart(keep);
        assert!(cluster.work.is_empty(), "{:?}", cluster.work);
    }
}

#[test]
fn a_writer_that_vanished_leaves_the_size_that_its_bytes_have() {
    let mut cluster = Cluster::new(3, 2);
    let (view, _) = cluster.create_open(0, Fid::ROOT, "f");
    assert_eq!(view.entry.lease, LeaseKind::Write);
    cluster.write_objects(&view, 5_000_000);
    cluster.restart(0);
    assert_eq!(cluster.attr(1, view.entry.attr.fid).size, 5_000_000);
    let (view, _) = cluster.create_open(0, Fid::ROOT, "g");
    cluster.write_objects(&view, 7_000_000);
    cluster.clients[0].obliging = false;
    let token = cluster.start(1, Request::GetAttr { fid: view.entry.attr.fid });
    for _ in 0..4 {
        assert!(cluster.answer(token).is_none(), "nothing is answered before the writer is fenced");
        cluster.pass(u64::from(LEASE_MS) / 4);
        cluster.ask(1, Request::Renew).unwrap();
    }
    cluster.pass(1000);
    assert_eq!(entry(cluster.answer(token).expect("answered after eviction")).attr.size, 7_000_000);
    assert_eq!(cluster.fences.len(), 1);
}

#[test]
fn a_write_that_is_told_while_object_targets_are_asked_counts() {
    let mut cluster = Cluster::new(1, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    cluster.write_and_close(0, &view, open, 1000);
    cluster.open_file(0, fid, OpenMode::Write);
    cluster.open_file(1, fid, OpenMode::Write);
    let update = WriteUpdate { size: 0, blocks: None, mtime: cluster.now.wall };
    cluster.prompt = false;
    cluster.ask(0, Request::Flush { fid, update }).unwrap();
    let token = cluster.start(1, Request::GetAttr { fid });
    let (job, work) = cluster.work.pop_front().expect("the object targets are asked");
    let result = Ok(cluster.perform(&work));
    cluster.write_objects(&view, 2000);
    cluster.ask(0, Request::Flush { fid, update }).unwrap();
    cluster.prompt = true;
    cluster.input(Input::WorkDone { job, result });
    assert_eq!(entry(cluster.answer(token).expect("asked again")).attr.size, 2000);
}

#[test]
fn after_a_restart_nobody_sees_or_cuts_a_file_before_its_writer_knows() {
    for change in [None, Some(resize(100))] {
        let mut cluster = Cluster::new(2, 2);
        let (view, _) = cluster.create_open(0, Fid::ROOT, "f");
        let fid = view.entry.attr.fid;
        cluster.write_objects(&view, 1000);
        cluster.restart_alone(0);
        cluster.reconnect(1);
        let expected = change.as_ref().map_or(5 << 20, |_| 100);
        let token = cluster.start(
            1,
            match change {
                Some(change) => Request::SetAttr { fid, change },
                None => Request::GetAttr { fid },
            },
        );
        // It has not noticed yet that the target was killed, and what it wrote is acknowledged.
        cluster.write_objects(&view, 5 << 20);
        assert!(cluster.answer(token).is_none(), "its lease may still be believed in");
        cluster.reconnect(0);
        assert_eq!(entry(cluster.answer(token).expect("its writer came back")).attr.size, expected);
        assert_eq!(cluster.attr(0, fid).size, expected);
    }
}

#[test]
fn a_file_extended_behind_its_objects_keeps_its_size_over_a_crash() {
    let mut cluster = Cluster::new(1, 1);
    let (view, _) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    cluster.write_objects(&view, 10);
    cluster.ask(0, Request::SetAttr { fid, change: resize(1 << 40) }).unwrap();
    cluster.restart(0);
    assert_eq!(cluster.attr(0, fid).size, 1 << 40);
}

#[test]
fn bytes_are_cut_before_the_new_size_is_answered_and_nobody_gets_between() {
    let mut cluster = Cluster::new(2, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    cluster.write_and_close(0, &view, open, 5 << 20);
    cluster.prompt = false;
    let cut = cluster.start(0, Request::SetAttr { fid, change: resize(100) });
    let look = cluster.start(1, Request::GetAttr { fid });
    assert!(cluster.answer(cut).is_none() && cluster.answer(look).is_none());
    let work = cluster.end_work(None);
    assert!(matches!(work, Work::Truncate { .. }), "{work:?}");
    assert_eq!(entry(cluster.answer(cut).expect("cut")).attr.size, 100);
    assert_eq!(entry(cluster.answer(look).expect("seen after")).attr.size, 100);
    let kept: u64 = cluster.objects.values().sum();
    assert_eq!(kept, 100);
}

#[test]
fn a_cut_that_failed_half_way_is_told_and_the_size_found_out() {
    let mut cluster = Cluster::new(1, 1);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    cluster.write_and_close(0, &view, open, 1000);
    cluster.prompt = false;
    let cut = cluster.start(0, Request::SetAttr { fid, change: resize(100) });
    cluster.objects.values_mut().for_each(|size| *size = 100);
    cluster.end_work(Some(Fault::Unreachable));
    assert_eq!(cluster.answer(cut), Some(Err(Fault::Unreachable)));
    cluster.prompt = true;
    assert_eq!(cluster.attr(0, fid).size, 100);
}

#[test]
fn opening_with_truncation_empties_the_file() {
    let mut cluster = Cluster::new(1, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    cluster.write_and_close(0, &view, open, 1000);
    let (view, open) = cluster.open_file(1, fid, OpenMode::Truncate);
    assert_eq!((view.entry.attr.size, view.entry.lease), (0, LeaseKind::Write));
    assert_eq!(cluster.objects.values().sum::<u64>(), 0);
    cluster.write_and_close(1, &view, open, 7);
    assert_eq!(cluster.attr(0, fid).size, 7);
}

#[test]
fn components_get_objects_when_they_are_written() {
    let mut cluster = Cluster::new(4, 1);
    let dir = cluster.mkdir(0, Fid::ROOT, "d");
    let part = |end, count| ComponentTemplate {
        end,
        stripe_size: STRIPE_SIZE_DEFAULT,
        stripe_count: count,
        pool: None,
    };
    let template = LayoutTemplate {
        components: vec![part(100 << 20, StripeCount::Exact(1)), part(END_OF_FILE, StripeCount::All)],
    };
    cluster.ask(0, Request::SetLayout { fid: dir, template: Some(template.clone()) }).unwrap();
    let below = cluster.mkdir(0, dir, "below");
    assert_eq!(cluster.ask(0, Request::GetLayout { fid: below }), Ok(Reply::Template { template }));
    let (view, _) = cluster.create_open(0, below, "f");
    let counts = |layout: &lustre_model::layout::Layout| -> Vec<usize> {
        layout.components.iter().map(|component| component.stripes.len()).collect()
    };
    assert_eq!(counts(&view.layout), [1, 0]);
    let range = ByteRange { start: 0, end: (100 << 20) + 1 };
    let fid = view.entry.attr.fid;
    let Ok(Reply::Layout { layout }) = cluster.ask(0, Request::Instantiate { fid, range }) else { panic!() };
    assert_eq!(counts(&layout), [1, 4]);
    assert_eq!(layout.components[0].stripes, view.layout.components[0].stripes);
    let template = Some(striped(1));
    assert_eq!(cluster.ask(0, Request::SetLayout { fid, template }), Err(Fault::Exists));
}

#[test]
fn without_object_targets_a_file_cannot_be_written_but_made() {
    let mut cluster = Cluster::new(0, 1);
    let open = Some(OpenMode::Write);
    assert_eq!(cluster.create(0, Fid::ROOT, "f", NewInode::Regular { open }), Err(Fault::NoSpace));
    assert_eq!(cluster.lookup(0, Fid::ROOT, "f"), Err(Fault::NotFound));
    cluster.create(0, Fid::ROOT, "f", NewInode::Regular { open: None }).unwrap();
}

#[test]
fn creating_what_exists_opens_it_unless_exclusive() {
    let mut cluster = Cluster::new(1, 1);
    let (first, _) = cluster.create_open(0, Fid::ROOT, "f");
    let inode = NewInode::Regular { open: Some(OpenMode::Write) };
    assert_eq!(cluster.create(0, Fid::ROOT, "f", inode.clone()), Err(Fault::Exists));
    let owner = lustre_model::attr::Owner { uid: 0, gid: 0 };
    let name = b"f".to_vec();
    let request = Request::Create { parent: Fid::ROOT, name, mode: 0, owner, exclusive: false, inode };
    assert_eq!(opened(cluster.ask(0, request)).0.entry.attr.fid, first.entry.attr.fid);
}

#[test]
fn extended_attributes_obey_their_flags_and_limits() {
    let mut cluster = Cluster::new(1, 1);
    let fid = cluster.mkdir(0, Fid::ROOT, "d");
    let mut set = |name: &str, value: usize, mode| {
        cluster.ask(0, Request::SetXattr { fid, name: name.into(), value: vec![7; value], mode })
    };
    assert_eq!(set("user.a", 3, XattrMode::Replace), Err(Fault::NoData));
    assert_eq!(set("user.a", 3, XattrMode::Create), Ok(Reply::Done));
    assert_eq!(set("user.a", 4, XattrMode::Create), Err(Fault::Exists));
    assert_eq!(set("user.a", 64 << 10, XattrMode::Set), Ok(Reply::Done));
    assert_eq!(set("user.b", (64 << 10) + 1, XattrMode::Set), Err(Fault::NoSpace));
    assert_eq!(set(&"x".repeat(256), 1, XattrMode::Set), Err(Fault::Range));
    assert_eq!(set("lustre.fid", 1, XattrMode::Set), Err(Fault::NotSupported));
    let names = cluster.ask(0, Request::ListXattr { fid });
    assert_eq!(names, Ok(Reply::Names { names: vec![b"user.a".to_vec()] }));
    let text = cluster.ask(0, Request::GetXattr { fid, name: b"lustre.fid".to_vec() });
    assert_eq!(text, Ok(Reply::Bytes { bytes: fid.to_string().into_bytes() }));
    let remove = Request::RemoveXattr { fid, name: b"user.a".to_vec() };
    assert_eq!(cluster.ask(0, remove.clone()), Ok(Reply::Done));
    assert_eq!(cluster.ask(0, remove), Err(Fault::NoData));
}

#[test]
fn times_move_with_what_moves_them() {
    let mut cluster = Cluster::new(1, 1);
    let before = cluster.attr(0, Fid::ROOT);
    cluster.now.wall.seconds += 5;
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    let dir = cluster.attr(0, Fid::ROOT);
    assert!(dir.mtime > before.mtime && dir.ctime > before.ctime && dir.change > before.change);
    cluster.now.wall.seconds += 5;
    let update = WriteUpdate { size: 3, blocks: None, mtime: cluster.now.wall };
    let fid = view.entry.attr.fid;
    cluster.ask(0, close(fid, open, Some(update))).unwrap();
    let file = cluster.attr(0, fid);
    assert_eq!((file.size, file.mtime), (3, cluster.now.wall));
    assert_eq!(cluster.attr(0, Fid::ROOT).mtime, dir.mtime, "writing a file leaves its directory alone");
}
