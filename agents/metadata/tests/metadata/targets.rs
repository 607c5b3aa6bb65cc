//! Object targets: removed, full, silent.
//!
//! Invariant: what was removed gets nothing new, and nobody is told that bytes which it held are zeros.

use std::collections::BTreeMap;

use lustre_metadata::{Input, Rights, Space};
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::layout::OstIndex;
use lustre_model::metadata::{
    FileView, LeaseKind, Notice, OpenMode, Reply, Request, TargetEntry, TargetState,
};

use crate::cluster::{Cluster, opened};

fn remove(cluster: &mut Cluster, index: u16) {
    assert_eq!(cluster.admin(Request::RemoveTarget { index: OstIndex(index) }), Ok(Reply::Done));
    // With the process went its objects.
    cluster.objects.clear();
}

fn states(cluster: &mut Cluster) -> BTreeMap<u16, TargetState> {
    let Ok(Reply::Targets { targets }) = cluster.ask_as(Rights::Mover, Request::Targets) else { panic!() };
    targets.into_iter().map(|target| (target.index.0, target.state)).collect()
}

fn indices(view: &FileView) -> Vec<u16> {
    view.layout.stripes().map(|stripe| stripe.target.0).collect()
}

#[test]
fn a_removed_target_gets_no_objects_is_told_to_all_and_never_comes_back() {
    let mut cluster = Cluster::new(3, 1);
    remove(&mut cluster, 1);
    let told = cluster.clients[0].notices.last().cloned();
    let Some(Notice::Targets { targets }) = told else { panic!("{told:?}") };
    assert_eq!(targets[1].state, TargetState::Removed);
    cluster.restart(0);
    let removed =
        BTreeMap::from([(0, TargetState::Active), (1, TargetState::Removed), (2, TargetState::Active)]);
    assert_eq!(states(&mut cluster), removed);
    for name in 0..8 {
        let (view, _) = cluster.create_open(0, Fid::ROOT, &name.to_string());
        assert!(!indices(&view).contains(&1), "{:?}", indices(&view));
    }
    let target = TargetEntry {
        index: OstIndex(1),
        address: "elsewhere:1".to_owned(),
        capacity: 1,
        state: TargetState::Active,
    };
    assert_eq!(cluster.admin(Request::RegisterTarget { target }), Err(Fault::Invalid));
    assert_eq!(states(&mut cluster), removed);
    remove(&mut cluster, 1);
    remove(&mut cluster, 9);
    assert_eq!(states(&mut cluster), removed, "removing again, or what never was, changes nothing");
}

#[test]
fn a_file_that_was_never_written_gets_other_objects() {
    let mut cluster = Cluster::new(2, 1);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    assert!(indices(&view).contains(&0));
    cluster.write_and_close(0, &view, open, 0);
    remove(&mut cluster, 0);
    let (view, open) = cluster.open_file(0, view.entry.attr.fid, OpenMode::Write);
    assert_eq!(indices(&view), [1]);
    cluster.write_and_close(0, &view, open, 7);
    assert_eq!(cluster.attr(0, view.entry.attr.fid).size, 7);
}

#[test]
fn a_file_with_bytes_keeps_its_layout_until_it_is_emptied() {
    let mut cluster = Cluster::new(2, 1);
    let (view, open) = cluster.create_open(0, Fid::ROOT, "f");
    cluster.write_and_close(0, &view, open, 3_000_000);
    let fid = view.entry.attr.fid;
    remove(&mut cluster, 0);
    let (lost, open) = cluster.open_file(0, fid, OpenMode::Read);
    assert_eq!((indices(&lost), lost.present, lost.entry.attr.size), (indices(&view), None, 3_000_000));
    cluster.ask(0, crate::cluster::close(fid, open, None)).unwrap();
    let (fresh, open) = opened(cluster.ask(0, Request::Open { fid, mode: OpenMode::Truncate }));
    assert_eq!((indices(&fresh), fresh.entry.attr.size), (vec![1], 0));
    assert_eq!(fresh.entry.lease, LeaseKind::Write);
    cluster.write_and_close(0, &fresh, open, 5);
    assert_eq!(cluster.attr(0, fid).size, 5);
}

#[test]
fn new_files_go_where_there_is_room_and_an_answer() {
    let mut cluster = Cluster::new(3, 1);
    let space = |free| Some(Space { capacity: 1 << 40, free });
    let spaces = vec![(OstIndex(0), space(0)), (OstIndex(1), None), (OstIndex(2), space(1 << 39))];
    cluster.input(Input::Spaces { spaces });
    for name in 0..4 {
        let (view, _) = cluster.create_open(0, Fid::ROOT, &name.to_string());
        assert_eq!(indices(&view), [2]);
    }
    let spaces = vec![(OstIndex(0), space(1 << 39)), (OstIndex(1), space(1 << 39))];
    cluster.input(Input::Spaces { spaces });
    let (view, _) = cluster.create_open(0, Fid::ROOT, "later");
    assert_eq!(indices(&view).len(), 2, "targets that answer again are used again");
}
