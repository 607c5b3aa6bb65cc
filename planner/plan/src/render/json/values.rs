//! Objects as Terraform's JSON has values: what is planned, what was there before, sorted into modules.
//!
//! Not what happens to them; that is the file above.
//! Invariant: each object is in the module that its address names, at any depth, and nowhere else.

use std::collections::BTreeMap;

use lustre_model::address::{Address, Key, ModuleStep};
use lustre_model::plan::{Change, OutputChange, Plan};
use lustre_model::recorded::Output;
use lustre_model::resource::Attributes;
use serde_json::{Map, Value as Json, json};

use super::{plain, plain_attributes, sensitive_attributes};

/// Version of the JSON of values, Terraform's.
pub const VALUES_VERSION: &str = "1.0";

/// A module, its objects, and the modules that it calls.
#[derive(Default)]
struct Module {
    resources: Vec<Json>,
    calls: BTreeMap<ModuleStep, Module>,
}

/// Returns objects as a `root_module` with its `child_modules`, in the order in which they come.
pub fn modules<'a>(objects: impl Iterator<Item = (&'a Address, Json)>) -> Json {
    let mut root = Module::default();
    for (address, object) in objects {
        let mut module = &mut root;
        for step in &address.modules {
            module = module.calls.entry(step.clone()).or_default();
        }
        module.resources.push(object);
    }
    root.shown("")
}

impl Module {
    /// As deep as modules are nested, which the language bounds.
    fn shown(self, path: &str) -> Json {
        let mut shown = Map::new();
        if !path.is_empty() {
            shown.insert("address".to_owned(), json!(path));
        }
        if !self.resources.is_empty() {
            shown.insert("resources".to_owned(), Json::Array(self.resources));
        }
        let below = |(step, module): (ModuleStep, Self)| {
            let path = if path.is_empty() { step.to_string() } else { format!("{path}.{step}") };
            module.shown(&path)
        };
        let calls: Vec<Json> = self.calls.into_iter().map(below).collect();
        if !calls.is_empty() {
            shown.insert("child_modules".to_owned(), Json::Array(calls));
        }
        Json::Object(shown)
    }
}

/// Returns an object with its values, without what is sensitive or unknown in them.
pub fn object(address: &Address, kind: &str, attributes: &Attributes) -> Json {
    let mut shown = json!({
        "address": address.to_string(),
        "mode": "managed",
        "type": kind,
        "name": address.parts.last().map_or(&address.name, |part| &part.name),
        "provider_name": "lustre",
        "schema_version": 0,
        "values": plain_attributes(attributes),
        "sensitive_values": sensitive_attributes(attributes),
    });
    match &address.key {
        Some(Key::Index(index)) => shown["index"] = json!(index),
        Some(Key::Name(name)) => shown["index"] = json!(name),
        None => {}
    }
    shown
}

/// Returns everything as it will be.
pub fn planned(plan: &Plan) -> Json {
    let objects = plan
        .changes()
        .iter()
        .filter_map(|change| Some(shown(change, &change.address, change.after.as_ref()?)));
    values(plan, objects, |change| change.after.as_ref())
}

/// Returns everything as it was recorded when the plan was made.
pub fn prior(plan: &Plan) -> Json {
    let objects = plan.changes().iter().filter_map(|change| {
        let address = change.previous_address.as_ref().unwrap_or(&change.address);
        Some(shown(change, address, change.before.as_ref()?))
    });
    values(plan, objects, |change| change.before.as_ref())
}

fn shown<'a>(change: &Change, address: &'a Address, attributes: &Attributes) -> (&'a Address, Json) {
    (address, object(address, change.kind.name(), attributes))
}

fn values<'a>(
    plan: &'a Plan,
    objects: impl Iterator<Item = (&'a Address, Json)>,
    of: impl Fn(&'a OutputChange) -> Option<&'a Output>,
) -> Json {
    let outputs = plan.parts().outputs.iter();
    let outputs: Map<String, Json> =
        outputs.filter_map(|change| Some((change.name.clone(), output(of(change)?)))).collect();
    json!({ "outputs": outputs, "root_module": modules(objects) })
}

fn output(output: &Output) -> Json {
    let mut shown = json!({ "sensitive": output.sensitive });
    if !output.sensitive && output.value.is_wholly_known() {
        shown["value"] = plain(&output.value);
    }
    shown
}
