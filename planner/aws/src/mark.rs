//! What we find our objects by, and their tags.
//!
//! Invariant: a token is another one each time that an object is made, and the same however often that is tried.

use std::collections::BTreeMap;

use lustre_apply::Task;
use lustre_apply::cloud::CloudError;
use lustre_model::recorded::Secret;
use lustre_model::resource::Tags;
use sha2::{Digest as _, Sha256};

use crate::caller::Caller;
use crate::ec2::OURS;

/// Names of private values: what the object is found by before it has an id, and its id.
pub const MARK: &str = "token";
pub const ID: &str = "id";

/// Most differences that a cause names.
const SHOWN_MAX: usize = 6;

/// Returns the id that was recorded while an object was made.
pub fn id(private: &BTreeMap<String, Secret>) -> Option<String> {
    private.get(ID).map(|id| id.reveal().to_owned()).filter(|id| !id.is_empty())
}

/// Returns the token that was recorded before an object was made.
pub fn token(private: &BTreeMap<String, Secret>) -> Option<String> {
    private.get(MARK).map(|token| token.reveal().to_owned())
}

/// Makes the token of an object.
pub fn new_token(task: &Task) -> String {
    let mut hash = Sha256::new();
    for piece in [&task.world.lineage.0, &task.step.address.to_string(), &task.world.serial.to_string()] {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece.as_bytes());
    }
    hex::encode(&hash.finalize()[..16])
}

/// The tags that are not AWS's or ours.
pub fn own(tags: &Tags) -> impl Iterator<Item = (&String, &String)> {
    tags.iter().filter(|(name, _)| !OURS.iter().any(|prefix| name.starts_with(prefix)))
}

/// Adds and takes tags until those that are there are those that are wanted.
pub async fn settle_tags(
    caller: &Caller,
    (id, found): (&str, &Tags),
    wanted: &Tags,
) -> Result<(), CloudError> {
    let lacking: Tags = wanted
        .iter()
        .filter(|(name, value)| found.get(*name) != Some(*value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let surplus: Vec<String> =
        own(found).map(|(name, _)| name.clone()).filter(|name| !wanted.contains_key(name)).collect();
    if !lacking.is_empty() {
        caller.call(|ec2| ec2.tag(id, &lacking)).await?;
    }
    if !surplus.is_empty() {
        caller.call(|ec2| ec2.untag(id, &surplus)).await?;
    }
    Ok(())
}

/// Says how the tags that are there differ from those that are wanted.
pub fn tag_causes(wanted: &Tags, found: &Tags) -> Vec<String> {
    let mut causes = Vec::new();
    for (name, value) in wanted {
        match found.get(name) {
            Some(there) if there == value => {}
            Some(there) => causes.push(format!("tag {name} is {there:?} instead of {value:?}")),
            None => causes.push(format!("tag {name} is gone")),
        }
    }
    let added = own(found).filter(|(name, _)| !wanted.contains_key(*name));
    causes.extend(added.map(|(name, _)| format!("tag {name} was added")));
    causes
}

/// Lists causes, not too many.
pub fn listed(mut causes: Vec<String>) -> String {
    let more = causes.len().saturating_sub(SHOWN_MAX);
    causes.truncate(SHOWN_MAX);
    if more > 0 {
        causes.push(format!("{more} more"));
    }
    causes.join(", ")
}
