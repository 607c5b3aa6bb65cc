//! Plan files.
//!
//! ```text
//! bytes ──────────────────────▶ a plan file as it was found
//! bytes ── header, checksum ──▶ a plan file whose content somebody wrote by hand
//! ```
//! Invariant: as for texts, nothing is read but the bytes.

use lustre_language::EmptyWorld;
use lustre_model::plan::PLAN_VERSION;
use lustre_model::recorded::World;
use lustre_plan::file;
use sha2::{Digest as _, Sha256};

use crate::spec::{resolved, shown};

/// Bytes → plan. A plan file is read, or refused; what is read can be shown, written and evaluated.
pub fn plan_file(bytes: &[u8]) {
    read(bytes);
    let sum = hex::encode(Sha256::digest(bytes));
    let length = bytes.len();
    let header = format!(
        "{{\"format\":\"lustre plan\",\"version\":{PLAN_VERSION},\"length\":{length},\"sha256\":\"{sum}\"}}\n"
    );
    read(&[header.as_bytes(), bytes, b"\n"].concat());
}

fn read(bytes: &[u8]) {
    let Ok(plan) = file::decode(bytes) else { return };
    let parts = plan.parts();
    let mut world = World::new(parts.lineage.clone());
    world.serial = parts.serial;
    assert!(file::check_fresh(&plan, &world).is_ok(), "a plan fits the state that it was made for");
    plan.closed_gates(&parts.allowances);
    shown(&plan);
    let written = file::encode(&plan);
    let again = written.as_deref().map(file::decode);
    assert!(matches!(&again, Ok(Ok(again)) if *again == plan), "a plan is read as it was written: {again:?}");
    for event in plan.preparation() {
        drop(world.apply(&event));
    }
    resolved(plan, &world, EmptyWorld);
}
