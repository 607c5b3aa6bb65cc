//! What an `import` block takes over: which kinds can be, and what an object is taken to be like before it is.
//!
//! Of an object in AWS, what AWS has of it is what is recorded. Nothing outside of the state is touched. What the spec asks for beyond that is an update like any other.
//! Invariant: a kind that cannot be taken over is refused by name, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use lustre_language::{Imported, World as Outside, WorldError};
use lustre_model::diagnostic::Diagnostic;
use lustre_model::plan::Adoption;
use lustre_model::recorded::{Object, Status};
use lustre_model::resource::{Attributes, AwsAccess, CloudQuestion, Kind};
use lustre_model::value::Value;

use crate::diff::Desired;
use crate::schema::computed;

/// Returns an object as it is taken over: of a value, the id is the text that it remembers so far; of an object in AWS, what AWS
/// says of it.
pub fn adoption(
    desired: &Desired,
    import: &Imported,
    outside: &dyn Outside,
) -> Result<Adoption, Box<Diagnostic>> {
    if let Some(reason) = refusal(desired.kind) {
        let summary = format!("a {} cannot be imported", desired.kind);
        return Err(Box::new(Diagnostic::error("E0836", summary).detail(reason).at(import.span)));
    }
    if desired.kind.is_in_aws() {
        let attributes = found(desired, import, outside)?;
        return Ok(Adoption { address: desired.address.clone(), kind: desired.kind, attributes });
    }
    let mut attributes = desired.attributes.clone();
    attributes.retain(|_, value| value.is_wholly_known());
    for name in ["input", "output"] {
        attributes.insert(name.to_owned(), Value::from(import.id.as_str()));
    }
    Ok(Adoption { address: desired.address.clone(), kind: desired.kind, attributes })
}

/// Asks AWS for an object. The provider is the spec's; tags of its own are all that are not the provider's.
fn found(desired: &Desired, import: &Imported, outside: &dyn Outside) -> Result<Attributes, Box<Diagnostic>> {
    let refuse = |why: String| {
        let summary = format!("{} cannot be taken over from {}", desired.address, import.id);
        Box::new(Diagnostic::error("E1047", summary).detail(why).at(import.span))
    };
    let access =
        AwsAccess::of(desired.kind, &desired.attributes).map_err(|error| refuse(error.to_string()))?;
    let question = CloudQuestion::Object { kind: desired.kind, access, id: import.id.clone() };
    let mut attributes = match outside.read_cloud(&question) {
        Ok(attributes) => attributes,
        // Only the shape of the plan counts then.
        Err(WorldError::Offline) => {
            let mut attributes = desired.attributes.clone();
            attributes.retain(|_, value| value.is_wholly_known());
            attributes
        }
        Err(error) => return Err(refuse(error.to_string())),
    };
    if let (Some(vpc), None) =
        (attributes.get("vpc_id").and_then(Value::as_str), desired.attributes.get("vpc_id"))
    {
        return Err(refuse(format!("It is in {vpc}, and the spec does not say so: add `vpc_id = {vpc:?}`.")));
    }
    for name in ["region", AwsAccess::PROVIDER] {
        attributes.extend(desired.attributes.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    if desired.kind == Kind::Instance {
        // A spec need not say everything, and AWS does not tell everything: what only the spec knows is taken from there.
        let said = |name: &String| {
            desired.attributes.contains_key(name) || computed(desired.kind).contains(&name.as_str())
        };
        attributes.retain(|name, _| said(name) || name.starts_with("tags"));
        for (name, value) in desired.attributes.iter().filter(|(_, value)| value.is_wholly_known()) {
            attributes.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    // What comes from the provider's default tags is not known apart: the spec's division of the same tags is as good.
    if attributes.get("tags_all") == desired.attributes.get("tags_all") {
        attributes.remove("tags");
        attributes.extend(desired.attributes.get("tags").map(|tags| ("tags".to_owned(), tags.clone())));
    }
    Ok(attributes)
}

/// Returns the object that an adoption records.
pub fn recorded(adoption: &Adoption) -> Object {
    Object {
        kind: adoption.kind,
        attributes: adoption.attributes.clone(),
        private: BTreeMap::new(),
        dependencies: BTreeSet::new(),
        status: Status::Present,
    }
}

fn refusal(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Value | Kind::SecurityGroup | Kind::Instance => None,
        Kind::Host => Some(
            "Its agent answers only to the deployment whose certificate it was given, and the key to that is in the \
             other state. Destroy it there, or work from that state.",
        ),
        Kind::Cluster | Kind::Target => Some(
            "Its certificates and the numbers of its targets are only in the state that made it. Work from that state, \
             or read it with `data \"cluster\"`.",
        ),
        Kind::Bucket => Some(
            "It needs no import: an apply that finds it on a host of this state, as after `state rm`, records it and leaves \
             it running. An agent of another deployment does not answer; there a new `bucket` on a folder serves the \
             objects that are in it already.",
        ),
        Kind::DataRepositoryAssociation => {
            Some("Its id and what it knows of each object belong to its cluster, whose state is another.")
        }
        Kind::Mount => Some(
            "It needs no import: an apply that finds it on a host of this state, as after `state rm`, records it and leaves \
             it mounted. One of another deployment is unmounted there; mounting it anew loses nothing.",
        ),
    }
}
