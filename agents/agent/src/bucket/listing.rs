//! Pages of a listing: keys in order, rolled up at a delimiter, continued where the last page ended.
//!
//! A page continues the walk of the page before it when that is still at hand and nothing changed below it, and starts a
//! new walk otherwise; both give the same keys.
//! Invariant: a key that exists from the first page to the last is listed exactly once.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use crate::bucket::fault::BucketError;
use crate::bucket::folder::Folder;
use crate::bucket::walk::{Listed, Walk};

/// Walks kept for their next page.
const WALKS_MAX: usize = 32;

/// Names that kept walks may hold together.
const NAMES_MAX: usize = 2_000_000;

/// Keys in a page, S3's limit.
pub(crate) const PAGE_KEYS_MAX: usize = 1000;

/// What is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub prefix: String,
    pub delimiter: Option<String>,
    /// Keys and prefixes behind this one only.
    pub after: String,
    pub limit: usize,
}

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub objects: Vec<Listed>,
    pub prefixes: Vec<String>,
    /// Where the next page goes on, when there may be more.
    pub next: Option<String>,
}

/// Walks that wait for their next page, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Walks(Mutex<VecDeque<(Query, Walk)>>);

impl Walks {
    fn take(&self, folder: &Folder, query: &Query) -> Option<Walk> {
        let mut walks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = walks.iter().position(|(known, _)| same_walk(known, query))?;
        let (_, walk) = walks.remove(place)?;
        drop(walks);
        walk.is_current(folder).then_some(walk)
    }

    fn keep(&self, query: Query, mut walk: Walk) {
        walk.park();
        let mut walks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        walks.push_back((query, walk));
        while walks.len() > WALKS_MAX || walks.iter().map(|(_, walk)| walk.names()).sum::<usize>() > NAMES_MAX
        {
            walks.pop_front();
        }
    }
}

fn same_walk(one: &Query, other: &Query) -> bool {
    (&one.prefix, &one.delimiter, &one.after) == (&other.prefix, &other.delimiter, &other.after)
}

/// Lists a page. `odd` are the keys that are not paths, with their objects.
pub(crate) fn page(
    folder: &Folder,
    walks: &Walks,
    odd: &BTreeMap<String, Listed>,
    query: &Query,
) -> Result<Listing, BucketError> {
    let limit = query.limit.min(PAGE_KEYS_MAX);
    let mut listing = Listing::default();
    if limit == 0 {
        return Ok(listing);
    }
    let mut walk = match walks.take(folder, query) {
        Some(walk) => walk,
        None => Walk::begin(folder, &query.prefix, &query.after)?,
    };
    let mut after = query.after.clone();
    let mut odd_after = after.clone();
    let mut held: Option<Listed> = None;
    while listing.objects.len() + listing.prefixes.len() < limit {
        if held.is_none() {
            held = walk.next(folder)?;
        }
        let aside = odd_behind(odd, &query.prefix, &odd_after);
        let from_walk = match (&held, aside) {
            (None, None) => return Ok(listing),
            (Some(listed), Some(aside)) => listed.key <= aside.key,
            (Some(_), None) => true,
            (None, Some(_)) => false,
        };
        let listed = if from_walk { held.take() } else { aside.cloned() };
        let Some(listed) = listed else { return Ok(listing) };
        match rolled_up(query, &listed.key) {
            None => {
                after.clone_from(&listed.key);
                odd_after.clone_from(&listed.key);
                listing.objects.push(listed);
            }
            Some(prefix) => {
                walk.skip(&prefix);
                held = held.filter(|listed| !listed.key.starts_with(&prefix));
                odd_after = last_below(&prefix);
                // A page may begin behind a prefix, or within it: it was in the page before.
                if prefix > after {
                    after.clone_from(&prefix);
                    listing.prefixes.push(prefix);
                }
            }
        }
    }
    listing.next = Some(after.clone());
    if held.is_none() {
        walks.keep(Query { after, ..query.clone() }, walk);
    }
    Ok(listing)
}

/// The first odd key with the prefix behind `after`.
fn odd_behind<'o>(odd: &'o BTreeMap<String, Listed>, prefix: &str, after: &str) -> Option<&'o Listed> {
    let from = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
    let (_, listed) = odd.range::<str, _>((from, Bound::Unbounded)).next()?;
    listed.key.starts_with(prefix).then_some(listed)
}

/// The common prefix that a key is rolled up into.
fn rolled_up(query: &Query, key: &str) -> Option<String> {
    let delimiter = query.delimiter.as_deref()?;
    let rest = key.get(query.prefix.len()..)?;
    let end = rest.find(delimiter)? + delimiter.len();
    Some(key[..query.prefix.len() + end].to_owned())
}

/// A text behind every key that begins with `prefix`, and before every other that follows: no character is behind U+10FFFF.
fn last_below(prefix: &str) -> String {
    format!("{prefix}\u{10FFFF}")
}
