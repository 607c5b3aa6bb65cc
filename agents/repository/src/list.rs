//! Import: lists a prefix by ranges of keys, several at a time, and hands every page to the metadata target.
//!
//! Nobody knows how the keys of a bucket lie, so ranges are cut while they are walked: whenever a range has keys left and
//! there is room for another walker, what is left of it is halved at the middle of its bounds. Keys refused are counted by
//! the metadata target; nothing here judges a key.
//! Invariant: ranges never overlap and leave no gap, so every key of the bucket is sent once.

use std::time::SystemTime;

use futures::stream::{FuturesUnordered, StreamExt};
use lustre_model::attr::Timestamp;
use lustre_model::hsm::{ImportEntry, KeyRange, Link, LinkEvent, Listed};
use lustre_s3::{ObjectStorage, ObjectSummary};

use crate::failure::ActionError;
use crate::file_system::FileSystem;

/// Ranges walked at a time.
const RANGES_MAX: usize = 8;

/// Keys per page and per batch.
const PAGE_KEYS: u32 = 1000;

/// Characters of a bound that say where its middle is.
const DIGITS: usize = 6;

/// First and last character of a middle: printable, and of one byte.
const DIGIT_FIRST: u8 = 0x20;
const DIGIT_LAST: u8 = 0x7e;

/// What a listing found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub imported: u64,
    pub refused: u64,
}

/// Lists the link's prefix and imports what it finds.
pub(crate) async fn list(
    file_system: &impl FileSystem,
    storage: &impl ObjectStorage,
    (link, cookie): (&Link, u64),
) -> Result<Total, ActionError> {
    let mut total = Total::default();
    let mut walkers = FuturesUnordered::new();
    let step = |range| step(file_system, storage, (link, cookie), range);
    walkers.push(step(KeyRange { after: None, until: None }));
    while let Some(step_taken) = walkers.next().await {
        let (listed, rest) = step_taken?;
        total.imported += listed.imported;
        total.refused += listed.refused;
        let Some(rest) = rest else { continue };
        let prefix = &link.repository.prefix;
        let cut = middle(prefix, &rest).filter(|_| walkers.len() + 1 < RANGES_MAX);
        match cut {
            None => walkers.push(step(rest)),
            Some(cut) => {
                let right = KeyRange { after: Some(cut.clone()), until: rest.until };
                let left = KeyRange { after: rest.after, until: Some(cut) };
                walkers.push(step(left));
                walkers.push(step(right));
            }
        }
    }
    tracing::info!(link = link.name, imported = total.imported, refused = total.refused, "listing imported");
    Ok(total)
}

/// Lists and imports one page of a range; returns what is left of the range.
async fn step(
    file_system: &impl FileSystem,
    storage: &impl ObjectStorage,
    (link, cookie): (&Link, u64),
    range: KeyRange,
) -> Result<(Total, Option<KeyRange>), ActionError> {
    let prefix = link.repository.prefix.as_str();
    let page = storage.list(prefix, range.after.as_deref(), PAGE_KEYS).await?;
    let beyond = |object: &ObjectSummary| range.until.as_ref().is_some_and(|until| object.key > *until);
    let complete = !page.more || page.objects.last().is_some_and(beyond);
    let last = page.objects.last().map(|object| object.key.clone());
    let entries: Vec<ImportEntry> = page
        .objects
        .into_iter()
        .filter(|object| !beyond(object))
        .filter_map(|object| entry(prefix, object))
        .collect();
    let until = if complete { range.until.clone() } else { last.clone() };
    let mut listed = Listed { cookie, range: KeyRange { after: range.after, until } };
    // A range without keys matters only where what is missing there is to go.
    let mut total = Total::default();
    if !entries.is_empty() || link.auto_import.contains(&LinkEvent::Deleted) {
        let mut done = file_system.import(link.id, listed.clone(), entries.clone()).await?;
        total = Total { imported: done.imported, refused: done.refused.len() as u64 };
        while let Some(rest) = done.rest {
            let left = entries.iter().filter(|entry| format!("{prefix}{}", entry.key) > rest);
            let left: Vec<ImportEntry> = left.cloned().collect();
            listed.range.after = Some(rest);
            done = file_system.import(link.id, listed.clone(), left).await?;
        }
    }
    let rest = last.filter(|_| !complete).map(|last| KeyRange { after: Some(last), until: range.until });
    Ok((total, rest))
}

/// An object as the metadata target takes it; the prefix's own directory object has no name there.
fn entry(prefix: &str, object: ObjectSummary) -> Option<ImportEntry> {
    let key = object.key.strip_prefix(prefix).filter(|key| !key.is_empty())?.to_owned();
    let last_modified = timestamp(object.last_modified);
    Some(ImportEntry { key, size: object.size, last_modified, etag: object.etag })
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanoseconds: since.subsec_nanos() }
}

/// Returns a key between the bounds of a range, about half way, if there is one.
fn middle(prefix: &str, range: &KeyRange) -> Option<String> {
    let after = range.after.as_deref().unwrap_or(prefix);
    let shared = match &range.until {
        Some(until) => shared_prefix(after, until),
        None => prefix.len().min(after.len()),
    };
    let base = u64::from(DIGIT_LAST - DIGIT_FIRST) + 1;
    let low = digits(after.get(shared..)?, 0);
    let high = match &range.until {
        Some(until) => digits(until.get(shared..)?, 0),
        None => digits("", base - 1),
    };
    let mut rest = low.checked_add(high)? / 2;
    let mut text = Vec::with_capacity(DIGITS);
    for _ in 0..DIGITS {
        text.push(DIGIT_FIRST + u8::try_from(rest % base).ok()?);
        rest /= base;
    }
    text.reverse();
    let cut = format!("{}{}", after.get(..shared)?, String::from_utf8(text).ok()?);
    let inside = cut.as_str() > after && range.until.as_ref().is_none_or(|until| cut < *until);
    inside.then_some(cut)
}

/// Bytes that two texts share, at a boundary of characters.
fn shared_prefix(one: &str, other: &str) -> usize {
    let shared = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    (0..=shared).rev().find(|end| one.is_char_boundary(*end) && other.is_char_boundary(*end)).unwrap_or(0)
}

/// The first characters of a text as a number; `missing` stands for those behind its end.
fn digits(text: &str, missing: u64) -> u64 {
    let base = u64::from(DIGIT_LAST - DIGIT_FIRST) + 1;
    let bytes = text.bytes().map(|byte| u64::from(byte.clamp(DIGIT_FIRST, DIGIT_LAST) - DIGIT_FIRST));
    bytes.chain(std::iter::repeat(missing)).take(DIGITS).fold(0, |number, digit| number * base + digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_middle_lies_inside_its_range(prefix in "[a/]{0,3}", a in "\\PC{0,6}", b in "\\PC{0,6}", open: bool) {
            let (a, b) = if a <= b { (a, b) } else { (b, a) };
            let after = format!("{prefix}{a}");
            let until = (!open).then(|| format!("{prefix}{b}"));
            let range = KeyRange { after: Some(after.clone()), until: until.clone() };
            if let Some(cut) = middle(&prefix, &range) {
                prop_assert!(cut > after, "{cut:?} {after:?}");
                prop_assert!(until.is_none_or(|until| cut < until));
                prop_assert!(cut.starts_with(&prefix));
            }
        }
    }

    #[test]
    fn plain_ranges_have_a_middle() {
        let range = KeyRange { after: Some("p/a".into()), until: None };
        let cut = middle("p/", &range).unwrap();
        assert!(cut.starts_with("p/o") || cut.starts_with("p/p"), "{cut}");
        let range = KeyRange { after: Some("p/img-0001".into()), until: Some("p/img-0009".into()) };
        assert!(middle("p/", &range).unwrap().starts_with("p/img-0005"), "{:?}", middle("p/", &range));
    }
}
