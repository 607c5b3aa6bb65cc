//! What the end of a link cuts off: files whose bytes are only in its bucket, as many as its metadata target counts.
//!
//! Only a warning: the bytes are safe where they are, and a link that comes again makes them readable.
//! Invariant: a link that ends is warned of unless it is known that nothing is cut off.

use std::collections::BTreeMap;

use lustre_apply::observe::Observer;
use lustre_language::Program;
use lustre_model::address::Address;
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::hsm::LinkStatus;
use lustre_model::plan::{Action, Change, Impact, Plan};
use lustre_model::resource::{AssociationSpec, Kind, Resource};

/// Links of clusters, or why they are not known.
type Known = BTreeMap<Address, Result<Vec<LinkStatus>, String>>;

/// Warns of each link that ends while its cluster stays.
pub async fn warnings(plan: &Plan, program: &Program, observer: &Observer) -> Diagnostics {
    let mut found = Diagnostics::new();
    let mut known = Known::new();
    let stays = |cluster: &Address| {
        let change = plan.changes().iter().find(|change| change.address == *cluster);
        change.is_none_or(|change| !matches!(change.action, Action::Delete | Action::Replace))
    };
    let ending = plan.changes().iter().filter_map(|change| Some((change, ending(change)?)));
    for (change, spec) in ending.filter(|(_, spec)| stays(&spec.cluster)) {
        if !known.contains_key(&spec.cluster) {
            let links = observer.links(&spec.cluster).await;
            known.insert(spec.cluster.clone(), links.map_err(|error| error.causes().join(": ")));
        }
        let count = count(&spec, known.get(&spec.cluster));
        let Some(many) = count.filter(|many| many.as_deref() != Ok("0")) else { continue };
        let many = many.unwrap_or_else(|why| format!("Some ({why})"));
        let mut diagnostic = Diagnostic::warning("W0908", format!("{} leaves files behind", change.address))
            .detail(format!(
                "{many} of the files below {} have bytes that are only in bucket {}. They are safe there, and cannot be read \
                 here until a link leads to the same objects again.",
                spec.link.file_system_path, spec.link.repository.bucket
            ))
            .hint("Read what is needed before, or declare the link again afterwards: it takes up its files.")
            .instance(change.address.clone());
        diagnostic.span = program.resource(&change.address.whole()).map(|block| block.span);
        found.push(diagnostic);
    }
    found
}

/// Returns the link that a change ends, when that is felt.
fn ending(change: &Change) -> Option<AssociationSpec> {
    let ends = matches!(change.action, Action::Delete | Action::Replace);
    if change.kind != Kind::DataRepositoryAssociation || !ends || change.impact == Impact::Live {
        return None;
    }
    match Resource::from_attributes(change.kind, change.before.as_ref()?).ok()? {
        Resource::DataRepositoryAssociation(spec) => Some(spec),
        Resource::Host(_) | Resource::Cluster(_) | Resource::Target(_) | Resource::Bucket(_) => None,
        Resource::Mount(_) | Resource::Value(_) | Resource::SecurityGroup(_) | Resource::Instance(_) => None,
    }
}

/// How many files need a link, or why that is not known; `None` for a link that is not there any more.
fn count(
    spec: &AssociationSpec,
    known: Option<&Result<Vec<LinkStatus>, String>>,
) -> Option<Result<String, String>> {
    match known? {
        Err(why) => Some(Err(format!("how many is not known: {why}"))),
        Ok(links) => {
            let status = links.iter().find(|status| status.link.id == spec.link.id)?;
            let uncounted = || "how many is not known: the link is older than the count".to_owned();
            Some(status.released.map(|released| released.to_string()).ok_or_else(uncounted))
        }
    }
}
