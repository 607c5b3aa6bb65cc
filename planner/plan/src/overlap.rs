//! Links that get in each other's way: one's directory within another's, or one's objects among another's.
//!
//! Two links with the very same directory are told of by `claim`. What is unknown is left to the metadata target, which refuses the
//! same at apply.
//! Invariant: what is reported here would be refused there.

use std::collections::BTreeMap;

use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::plan::Change;
use lustre_model::resource::{Attributes, Kind};
use lustre_model::value::Value;

/// A link as planned.
struct Planned<'a> {
    address: &'a Address,
    attributes: &'a Attributes,
}

impl<'a> Planned<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.attributes.get(name).and_then(Value::as_str)
    }

    /// An optional text; `None` while it is unknown.
    fn optional(&self, name: &str) -> Option<Option<&'a str>> {
        match self.attributes.get(name) {
            Some(value) if !value.is_wholly_known() => None,
            found => Some(found.and_then(Value::as_str)),
        }
    }
}

/// Reports links of one cluster that overlap.
pub fn report_overlaps(
    changes: &BTreeMap<Address, Change>,
    spans: &BTreeMap<Address, Span>,
    found: &mut Diagnostics,
) {
    let links: Vec<Planned<'_>> = changes
        .values()
        .filter(|change| change.kind == Kind::DataRepositoryAssociation)
        .filter_map(|change| Some(Planned { address: &change.address, attributes: change.after.as_ref()? }))
        .collect();
    for (at, second) in links.iter().enumerate() {
        for first in &links[..at] {
            let same_cluster =
                first.text("cluster").is_some() && first.text("cluster") == second.text("cluster");
            if let Some((summary, hint)) = overlap(first, second).filter(|_| same_cluster) {
                let mut diagnostic = Diagnostic::error("E0817", summary).hint(hint);
                diagnostic.span = spans.get(second.address).copied();
                if let Some(span) = spans.get(first.address) {
                    diagnostic = diagnostic.related(*span, format!("{} is here", first.address));
                }
                found.push(diagnostic);
            }
        }
    }
}

/// Says how two links of one cluster overlap, and what to do.
fn overlap(first: &Planned<'_>, second: &Planned<'_>) -> Option<(String, &'static str)> {
    let folder =
        |link: &Planned<'_>| Some(format!("{}/", link.text("file_system_path")?.trim_end_matches('/')));
    if let Some((one, other)) = folder(first).zip(folder(second))
        && one != other
        && nested(&one, &other)
    {
        let path = |link: &Planned<'_>| link.text("file_system_path").unwrap_or_default().to_owned();
        let (outer, inner) = if one.len() < other.len() { (first, second) } else { (second, first) };
        let summary =
            format!("{} of {} lies within {} of {}", path(inner), inner.address, path(outer), outer.address);
        return Some((summary, "Link directories beside each other: a file belongs to one link."));
    }
    let same_bucket = first.text("bucket").is_some()
        && first.text("bucket") == second.text("bucket")
        && first.optional("endpoint_url").is_some()
        && first.optional("endpoint_url") == second.optional("endpoint_url");
    let (one, other) = first.text("prefix").zip(second.text("prefix"))?;
    if !same_bucket || !nested(one, other) {
        return None;
    }
    let summary = format!("{} and {} link the same objects of a bucket", first.address, second.address);
    Some((summary, "Give each link a prefix of its own: each would export over what the other did."))
}

fn nested(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
