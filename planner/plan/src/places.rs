//! Folders of one machine that lie in each other: a mount in a mount, a target in the agent's folder, a bucket around a target.
//!
//! What lies in another's folder is hidden, served, or deleted with it. That two have the same claim is `claim`'s.
//! Paths are compared as they are written; they are absolute and have one spelling (`spec`).
//! Invariant: each pair of folders of which one is within the other is reported once, at both places.

use std::collections::BTreeMap;

use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::plan::Change;
use lustre_model::resource::Kind;
use lustre_model::value::Value;

/// A folder that an object needs for itself.
struct Place<'a> {
    /// What tells machines apart: the address under which a host is reached.
    machine: &'a str,
    /// The parts of its path, so that those within it follow it in order.
    parts: Vec<&'a str>,
    path: &'a str,
    owner: &'a Address,
    kind: Kind,
    /// Its host in the spec.
    host: &'a str,
}

/// Reports folders that lie in each other, of what is there when the plan is carried out.
pub fn report_places(
    changes: &BTreeMap<Address, Change>,
    spans: &BTreeMap<Address, Span>,
    found: &mut Diagnostics,
) {
    let span = |address: &Address| spans.get(address).or_else(|| spans.get(&address.whole())).copied();
    let machines = machines(changes);
    let mut places: Vec<Place<'_>> = changes.values().filter_map(|change| place(change, &machines)).collect();
    places.sort_by(|a, b| (a.machine, &a.parts).cmp(&(b.machine, &b.parts)));
    let mut around: Vec<&Place<'_>> = Vec::new();
    for place in &places {
        while around.pop_if(|outer| !holds(outer, place)).is_some() {}
        // The innermost is enough: the others around it were reported with it.
        if let Some(outer) = around.last()
            && !have_one_claim(outer, place)
        {
            found.push(overlap(outer, place, &span));
        }
        around.push(place);
    }
}

/// Returns the address under which each host is reached.
fn machines(changes: &BTreeMap<Address, Change>) -> BTreeMap<String, &str> {
    let hosts = changes.values().filter(|change| change.kind == Kind::Host);
    let reached = hosts
        .filter_map(|host| Some((host.address.to_string(), host.after.as_ref()?.get("address")?.as_str()?)));
    reached.collect()
}

fn place<'a>(change: &'a Change, machines: &BTreeMap<String, &'a str>) -> Option<Place<'a>> {
    let after = change.after.as_ref()?;
    let text = |name: &str| after.get(name).and_then(Value::as_str);
    let (host, machine) = match change.kind {
        Kind::Host => ("", text("address")?),
        Kind::Target | Kind::Bucket | Kind::Mount => {
            let host = text("host")?;
            (host, machines.get(host).copied().unwrap_or(host))
        }
        Kind::Cluster
        | Kind::DataRepositoryAssociation
        | Kind::Value
        | Kind::SecurityGroup
        | Kind::Instance => {
            return None;
        }
    };
    let path = text("path")?;
    let parts = path.split('/').filter(|part| !part.is_empty()).collect();
    Some(Place { machine, parts, path, owner: &change.address, kind: change.kind, host })
}

fn holds(outer: &Place<'_>, inner: &Place<'_>) -> bool {
    outer.machine == inner.machine && inner.parts.starts_with(&outer.parts)
}

/// Whether `claim` tells them apart already.
fn have_one_claim(one: &Place<'_>, other: &Place<'_>) -> bool {
    let claimed = matches!(one.kind, Kind::Target | Kind::Mount);
    claimed && (one.kind, one.host, one.path) == (other.kind, other.host, other.path)
}

fn overlap(outer: &Place<'_>, inner: &Place<'_>, span: &impl Fn(&Address) -> Option<Span>) -> Diagnostic {
    let how = if outer.path == inner.path { "is also" } else { "lies within" };
    let summary = format!(
        "{} of {} {how} {} of {}",
        inner.path,
        inner.owner,
        if outer.path == inner.path { "the folder" } else { outer.path },
        outer.owner
    );
    let mut diagnostic = Diagnostic::error("E0819", summary)
        .hint("Give each a folder of its own: what lies in another's folder is hidden by it, served by it, or deleted with it.");
    diagnostic.span = span(inner.owner);
    match span(outer.owner) {
        Some(first) if diagnostic.span != Some(first) => {
            diagnostic.related(first, format!("{} is here", outer.owner))
        }
        Some(_) | None => diagnostic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(machine: &'a str, path: &'a str, owner: &'a Address) -> Place<'a> {
        let parts = path.split('/').filter(|part| !part.is_empty()).collect();
        Place { machine, parts, path, owner, kind: Kind::Mount, host: "host.a" }
    }

    #[test]
    fn names_that_begin_alike_do_not_lie_in_each_other_nor_do_folders_of_two_machines() {
        let owner: Address = "mount.a".parse().unwrap();
        let holds =
            |a: (&str, &str), b: (&str, &str)| holds(&place(a.0, a.1, &owner), &place(b.0, b.1, &owner));
        assert!(holds(("h", "/a"), ("h", "/a/b")) && holds(("h", "/"), ("h", "/a")));
        assert!(!holds(("h", "/a"), ("h", "/ab")) && !holds(("h", "/a/b"), ("h", "/a")));
        assert!(!holds(("h", "/a"), ("i", "/a/b")));
    }
}
