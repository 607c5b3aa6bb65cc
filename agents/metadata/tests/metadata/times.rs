//! When a file was last written: set by somebody, or by a write, whoever crashed in between.
//!
//! Objects always claim to have been written at this moment, so that a time taken from them shows.
//! Invariant: what was acknowledged last decides.

use lustre_model::attr::{AttrChange, SetTime, Timestamp};
use lustre_model::fid::Fid;
use lustre_model::metadata::{FileView, LeaseKind, OpenId, OpenMode, Request, WriteUpdate};

use crate::cluster::{Cluster, LEASE_MS, close};

const SET: Timestamp = Timestamp { seconds: 981_173_106, nanoseconds: 700_000_000 };
const SIZE: u64 = 3_000_000;

fn set_time(cluster: &mut Cluster, client: usize, fid: Fid) {
    let change = AttrChange { mtime: Some(SetTime::At(SET)), ..AttrChange::default() };
    cluster.ask(client, Request::SetAttr { fid, change }).unwrap();
}

/// What a client says before its first write under a lease, and before its first after it set the time.
fn announce(cluster: &mut Cluster, fid: Fid, size: u64) {
    let update = WriteUpdate { size, blocks: None, mtime: cluster.now.wall };
    cluster.ask(0, Request::Flush { fid, update }).unwrap();
}

/// What `tar` does until it closes: creates, writes, sets the time.
fn extract(cluster: &mut Cluster) -> (FileView, OpenId) {
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_objects(&view, SIZE);
    set_time(cluster, 0, view.entry.attr.fid);
    (view, open)
}

fn assert_set(cluster: &mut Cluster, fid: Fid, when: &str) {
    let attr = cluster.attr(1, fid);
    assert_eq!((attr.mtime, attr.size), (SET, SIZE), "{when}");
}

#[test]
fn a_time_that_was_set_survives_whoever_is_killed() {
    for kept in [0, usize::MAX] {
        let mut cluster = Cluster::new(3, 2);
        let (view, open) = extract(&mut cluster);
        let fid = view.entry.attr.fid;
        cluster.restart(kept);
        cluster.ask(0, close(fid, open, None)).unwrap();
        assert_set(&mut cluster, fid, "the target, before the close");
        cluster.restart(kept);
        assert_set(&mut cluster, fid, "the target, after the close");
    }

    let mut cluster = Cluster::new(3, 2);
    let (view, open) = extract(&mut cluster);
    let fid = view.entry.attr.fid;
    let update = Some(WriteUpdate { size: SIZE, blocks: None, mtime: SET });
    cluster.restart(0);
    cluster.ask(0, close(fid, open, update)).unwrap();
    assert_set(&mut cluster, fid, "the target, with an update that comes late");

    for restarted in [false, true] {
        let mut cluster = Cluster::new(3, 2);
        let (view, _) = extract(&mut cluster);
        if restarted {
            cluster.restart_alone(0);
            cluster.reconnect(1);
        } else {
            let connection = cluster.clients[0].connection;
            cluster.drop_connection(connection);
        }
        for _ in 0..4 {
            cluster.pass(u64::from(LEASE_MS) / 2);
            cluster.ask(1, Request::Renew).unwrap();
        }
        assert_set(&mut cluster, view.entry.attr.fid, "the client");
    }
}

#[test]
fn a_time_that_was_set_stays_after_it_was_told_again() {
    let mut cluster = Cluster::new(3, 2);
    let (view, _) = extract(&mut cluster);
    let fid = view.entry.attr.fid;
    let update = WriteUpdate { size: SIZE, blocks: None, mtime: SET };
    cluster.ask(0, Request::Flush { fid, update }).unwrap();
    cluster.restart(0);
    assert_set(&mut cluster, fid, "after fsync");
}

#[test]
fn a_file_that_was_opened_and_not_written_keeps_its_time_over_a_crash() {
    let mut cluster = Cluster::new(3, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    cluster.write_and_close(0, &view, open, SIZE);
    set_time(&mut cluster, 0, fid);
    let (view, _) = cluster.open_file(0, fid, OpenMode::Write);
    assert_eq!(view.entry.lease, LeaseKind::Write);
    cluster.restart(0);
    assert_set(&mut cluster, fid, "opened");
}

#[test]
fn a_write_after_the_time_was_set_moves_it_whoever_is_killed() {
    for reopened in [false, true] {
        let mut cluster = Cluster::new(3, 2);
        let (view, open) = extract(&mut cluster);
        let fid = view.entry.attr.fid;
        if reopened {
            let update = Some(WriteUpdate { size: SIZE, blocks: None, mtime: SET });
            cluster.ask(0, close(fid, open, update)).unwrap();
            cluster.open_file(0, fid, OpenMode::Write);
        }
        cluster.now.wall.seconds += 100;
        let written = cluster.now.wall;
        announce(&mut cluster, fid, SIZE);
        cluster.write_objects(&view, SIZE + 1);
        cluster.now.wall.seconds += 100;
        cluster.restart(0);
        let attr = cluster.attr(1, fid);
        assert_eq!(attr.size, SIZE + 1);
        assert!(attr.mtime >= written, "{:?} is before {written:?}", attr.mtime);
    }
}

#[test]
fn a_write_without_a_lease_moves_the_time_to_when_it_says() {
    let mut cluster = Cluster::new(1, 2);
    let (view, open) = extract(&mut cluster);
    let fid = view.entry.attr.fid;
    cluster.ask(0, close(fid, open, None)).unwrap();
    cluster.open_file(1, fid, OpenMode::Read);
    cluster.open_file(0, fid, OpenMode::Write);
    let mtime = Timestamp { seconds: SET.seconds + 5, nanoseconds: 0 };
    let update = WriteUpdate { size: 1, blocks: None, mtime };
    cluster.ask(0, Request::Flush { fid, update }).unwrap();
    cluster.restart(0);
    assert_eq!(cluster.attr(1, fid).mtime, mtime);
    set_time(&mut cluster, 1, fid);
    cluster.restart(0);
    assert_eq!(cluster.attr(0, fid).mtime, SET);
}
