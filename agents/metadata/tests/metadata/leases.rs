//! Leases: who may cache, who is asked to let go, who waits.
//!
//! Invariant: under any interleaving no two sessions hold leases that stand against each other.

use std::collections::BTreeMap;

use lustre_model::attr::AttrChange;
use lustre_model::fid::Fid;
use lustre_model::metadata::{
    Answer, Close, LeaseKind, NewInode, Notice, OpenId, OpenMode, Reply, Request, WriteUpdate,
};
use proptest::prelude::*;

use crate::cluster::{Cluster, entry};

#[test]
fn readers_share_and_a_change_recalls_them() {
    let mut cluster = Cluster::new(1, 3);
    let dir = cluster.mkdir(0, Fid::ROOT, "d");
    for client in [1, 2] {
        let seen = entry(cluster.ask(client, Request::GetAttr { fid: dir }));
        assert_eq!(seen.lease, LeaseKind::Read);
        cluster.clients[client].obliging = false;
    }
    let token = cluster.start(
        0,
        Request::SetAttr { fid: dir, change: AttrChange { mode: Some(0o700), ..AttrChange::default() } },
    );
    for client in [1, 2] {
        assert!(cluster.answer(token).is_none());
        let recall = Notice::Recall { fid: dir, keep: LeaseKind::None };
        assert_eq!(cluster.clients[client].notices.last(), Some(&recall));
        cluster.yield_lease(client, dir, LeaseKind::None);
    }
    assert_eq!(entry(cluster.answer(token).expect("all let go")).attr.mode, 0o700);
}

#[test]
fn a_stat_waits_for_the_writer_and_sees_what_it_wrote() {
    let mut cluster = Cluster::new(1, 2);
    let (view, _) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    let update = WriteUpdate { size: 12345, blocks: None, mtime: cluster.now.wall };
    cluster.clients[0].written.insert(fid, update);
    assert_eq!(cluster.attr(1, fid).size, 12345);
    let keep = Notice::Recall { fid, keep: LeaseKind::Read };
    assert_eq!(cluster.clients[0].notices.last(), Some(&keep));
}

#[test]
fn a_request_never_recalls_from_itself() {
    let mut cluster = Cluster::new(1, 1);
    let (view, _) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    cluster.clients[0].obliging = false;
    cluster
        .ask(0, Request::SetAttr { fid, change: AttrChange { mode: Some(0), ..AttrChange::default() } })
        .unwrap();
    assert_eq!(entry(cluster.ask(0, Request::GetAttr { fid })).lease, LeaseKind::Write);
    cluster.remove(0, Fid::ROOT, "f").unwrap();
    assert!(cluster.clients[0].notices.is_empty());
}

#[test]
fn who_waits_first_runs_first_and_nobody_gets_a_lease_in_between() {
    let mut cluster = Cluster::new(1, 4);
    let fid = cluster.mkdir(0, Fid::ROOT, "d");
    cluster.attr(1, fid);
    cluster.clients[1].obliging = false;
    let mode =
        |mode| Request::SetAttr { fid, change: AttrChange { mode: Some(mode), ..AttrChange::default() } };
    let first = cluster.start(2, mode(0o711));
    let second = cluster.start(3, mode(0o722));
    let seen = entry(cluster.ask(0, Request::GetAttr { fid }));
    assert_eq!(seen.lease, LeaseKind::None, "nobody gets in front of those who wait");
    cluster.clients[2].obliging = true;
    cluster.yield_lease(1, fid, LeaseKind::None);
    assert_eq!(entry(cluster.answer(first).expect("first")).attr.mode, 0o711);
    assert_eq!(entry(cluster.answer(second).expect("second")).attr.mode, 0o722);
}

#[test]
fn waiting_for_one_inode_holds_up_no_other() {
    let mut cluster = Cluster::new(1, 2);
    let (one, other) = (cluster.mkdir(0, Fid::ROOT, "one"), cluster.mkdir(0, Fid::ROOT, "other"));
    cluster.attr(1, one);
    cluster.clients[1].obliging = false;
    let stuck = cluster.start(0, Request::SetAttr { fid: one, change: AttrChange::default() });
    cluster.create(0, other, "x", NewInode::Directory).unwrap();
    assert!(cluster.answer(stuck).is_none());
}

#[test]
fn a_new_connection_holds_nothing_of_the_old() {
    let mut cluster = Cluster::new(1, 2);
    let fid = cluster.mkdir(0, Fid::ROOT, "d");
    cluster.attr(1, fid);
    cluster.clients[1].obliging = false;
    let connection = cluster.clients[1].connection;
    cluster.drop_connection(connection);
    let token = cluster.start(0, Request::SetAttr { fid, change: AttrChange::default() });
    assert!(cluster.answer(token).is_none(), "its client may not know yet that it is cut off");
    cluster.reconnect(1);
    assert!(cluster.answer(token).is_some());
}

#[test]
fn a_last_close_lowers_a_write_lease_so_that_a_stat_needs_no_recall() {
    let mut cluster = Cluster::new(1, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_and_close(0, &view, open, 10);
    assert_eq!(cluster.attr(1, view.entry.attr.fid).size, 10);
    assert!(cluster.clients[0].notices.is_empty());
}

#[test]
fn a_close_that_lowers_nothing_leaves_the_lease() {
    let mut cluster = Cluster::new(1, 2);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    let fid = view.entry.attr.fid;
    cluster
        .ask(0, Request::Close { closes: vec![Close { fid, open: Some(open), update: None, lower: false }] })
        .unwrap();
    let update = WriteUpdate { size: 77, blocks: None, mtime: cluster.now.wall };
    cluster.clients[0].written.insert(fid, update);
    assert_eq!(cluster.attr(1, fid).size, 77, "the size was recalled");
}

#[test]
fn many_closes_end_in_one_request_and_a_senseless_one_stops_none() {
    let mut cluster = Cluster::new(1, 2);
    let dir = cluster.mkdir(0, Fid::ROOT, "d");
    let mut closes = vec![Close {
        fid: dir,
        open: Some(OpenId(9)),
        update: Some(WriteUpdate { size: 1, blocks: None, mtime: cluster.now.wall }),
        lower: true,
    }];
    for number in 0..5 {
        let (view, open) = cluster.create_open(0, Fid::ROOT, &format!("f{number}"));
        let update = Some(WriteUpdate { size: number, blocks: None, mtime: cluster.now.wall });
        closes.push(Close { fid: view.entry.attr.fid, open: Some(open), update, lower: true });
    }
    cluster.ask(0, Request::Close { closes }).unwrap();
    for number in 0..5 {
        assert_eq!(cluster.lookup(1, Fid::ROOT, &format!("f{number}")).unwrap().size, number);
    }
    assert!(cluster.clients[0].notices.is_empty(), "nothing had to be recalled");
}

/// What a client believes it holds, from replies and recalls alone.
fn believe(beliefs: &mut BTreeMap<(usize, Fid), LeaseKind>, client: usize, answer: &Answer) {
    let mut note = |fid, lease| {
        beliefs.insert((client, fid), lease);
    };
    match answer {
        Ok(Reply::Entry { entry, .. }) => note(entry.attr.fid, entry.lease),
        Ok(Reply::Opened { view, .. }) => note(view.entry.attr.fid, view.entry.lease),
        Ok(Reply::Entries { entries, directory_lease, .. }) => {
            note(Fid::ROOT, *directory_lease);
            for entry in entries {
                note(entry.entry.attr.fid, entry.entry.lease);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn leases_that_clients_hold_never_contradict(
        steps in proptest::collection::vec((0_usize..3, 0_usize..3, 0_u8..7), 1..60),
    ) {
        let mut cluster = Cluster::new(2, 3);
        let files: Vec<Fid> = (0..3).map(|i| {
            let name = format!("f{i}");
            entry(cluster.create(0, Fid::ROOT, &name, NewInode::Regular { open: None })).attr.fid
        }).collect();
        let mut beliefs: BTreeMap<(usize, Fid), LeaseKind> = BTreeMap::new();
        for (client, file, what) in steps {
            let fid = files[file];
            let request = match what {
                0 => Request::GetAttr { fid },
                1 => Request::Lease { fid, kind: LeaseKind::Write },
                2 => Request::Lease { fid, kind: LeaseKind::Read },
                3 => Request::Open { fid, mode: OpenMode::Write },
                4 => Request::SetAttr { fid, change: AttrChange { size: Some(5), ..AttrChange::default() } },
                5 => Request::ReadDirectory { fid: Fid::ROOT, after: 0, limit: 10 },
                _ => Request::Downgrade { fid, keep: LeaseKind::None, update: None, open: None },
            };
            let given_up = matches!(request, Request::Downgrade { .. });
            for other in 0..3 {
                cluster.clients[other].notices.clear();
            }
            let answer = cluster.ask(client, request);
            for other in 0..3 {
                for notice in &cluster.clients[other].notices {
                    let Notice::Recall { fid, keep } = notice else { continue };
                    let held = beliefs.entry((other, *fid)).or_insert(LeaseKind::None);
                    *held = (*held).min(*keep);
                }
            }
            believe(&mut beliefs, client, &answer);
            if given_up {
                beliefs.insert((client, fid), LeaseKind::None);
            }
            for fid in &files {
                let held: Vec<LeaseKind> =
                    (0..3).filter_map(|client| beliefs.get(&(client, *fid)).copied()).filter(|k| *k != LeaseKind::None).collect();
                prop_assert!(!held.contains(&LeaseKind::Write) || held.len() == 1, "{fid}: {held:?}");
            }
        }
    }
}
