//! The plan as JSON in Terraform's shape, so that policies and comment bots read it unchanged.
//!
//! `format_version` 1.2 of Terraform's `show -json`; ours besides: `impact`, `data_loss`, `gates`, `lineage`, `serial` and
//! `config_hash`. `terraform_version` is there because readers refuse a plan without it, and says the version of lustre.
//! Unknown values are left out of `after` and are `true` in `after_unknown`, as there.
//! Invariant: a sensitive value is `null` here, and `true` in `before_sensitive` or `after_sensitive`.

use lustre_language::Moment;
use lustre_model::address::{Address, Key};
use lustre_model::plan::{Action, Change, Impact, OutputChange, Plan};
use lustre_model::recorded::Output;
use lustre_model::resource::Attributes;
use lustre_model::value::{Kind, Value};
use serde_json::{Map, Value as Json, json};

pub mod values;

/// The version of the shape.
pub const FORMAT_VERSION: &str = "1.2";

/// Shows a plan.
pub fn plan(plan: &Plan) -> Json {
    let parts = plan.parts();
    let variables: Map<String, Json> = parts
        .spec
        .variables
        .iter()
        .map(|(name, value)| {
            (name.clone(), json!({ "value": plain(value), "sensitive": value.has_sensitive() }))
        })
        .collect();
    let outputs: Map<String, Json> =
        parts.outputs.iter().map(|change| (change.name.clone(), output_change(change))).collect();
    let gates = plan.closed_gates(&[]);
    let changes = plan.changes().iter().map(resource_change);
    json!({
        "format_version": FORMAT_VERSION,
        "terraform_version": parts.tool_version,
        "lustre_version": parts.tool_version,
        "timestamp": parts.spec.world.planned_at.map(|at| Moment(at).rfc3339()),
        "lineage": parts.lineage,
        "serial": parts.serial,
        "config_hash": parts.spec.config_hash,
        "variables": variables,
        "planned_values": values::planned(plan),
        "prior_state": {
            "format_version": values::VALUES_VERSION,
            "terraform_version": parts.tool_version,
            "values": values::prior(plan),
        },
        "resource_changes": changes.chain(parts.reads.iter().map(read)).collect::<Vec<_>>(),
        "resource_drift": drift(plan),
        "output_changes": outputs,
        "data_loss": plan.data_loss().map(Address::to_string).collect::<Vec<_>>(),
        "gates": gates,
        "errored": false,
        "applyable": plan.has_changes(),
        "complete": true,
    })
}

/// Shows what hosts report not to be as recorded. What it is instead is in `cause`; `before` and `after` are as recorded.
fn drift(plan: &Plan) -> Json {
    let of = |address: &Address| {
        let recorded =
            |change: &&Change| change.previous_address.as_ref().unwrap_or(&change.address) == address;
        plan.changes().iter().find(recorded)
    };
    let shown = plan.parts().drift.iter().filter_map(|(address, cause)| {
        let change = of(address)?.clone();
        let (action, after) = (Action::Update, change.before.clone());
        let drifted = Change { address: address.clone(), previous_address: None, action, after, ..change };
        let mut shown = resource_change(&Change {
            reason: None,
            impact: Impact::Live,
            replace_paths: Vec::new(),
            deposed: None,
            imported: None,
            ..drifted
        });
        shown["cause"] = json!(cause);
        Some(shown)
    });
    shown.collect()
}

/// The JSON of a plan that could not be made.
pub fn errored(tool_version: &str) -> Json {
    json!({
        "format_version": FORMAT_VERSION,
        "terraform_version": tool_version,
        "lustre_version": tool_version,
        "resource_changes": [],
        "resource_drift": [],
        "output_changes": {},
        "errored": true,
        "applyable": false,
        "complete": false,
    })
}

/// Shows one change, as the event stream does too.
pub fn resource_change(change: &Change) -> Json {
    let address = &change.address;
    let mut shown = Map::new();
    let mut put = |name: &str, value: Json| shown.insert(name.to_owned(), value);
    put("address", json!(address.to_string()));
    if let Some(previous) = &change.previous_address {
        put("previous_address", json!(previous.to_string()));
    }
    if !address.modules.is_empty() {
        put("module_address", json!(address.module_path()));
    }
    put("mode", json!("managed"));
    put("type", json!(change.kind.name()));
    put("name", json!(address.parts.last().map_or(&address.name, |part| &part.name)));
    match &address.key {
        Some(Key::Index(index)) => put("index", json!(index)),
        Some(Key::Name(name)) => put("index", json!(name)),
        None => None,
    };
    put("provider_name", json!("lustre"));
    put("change", change_json(change));
    if let Some(reason) = change.reason {
        put("action_reason", json!(reason));
    }
    put("impact", json!(change.impact));
    put("data_loss", json!(change.impact == Impact::DataLoss));
    Json::Object(shown)
}

/// Shows data that is read while the plan is carried out; nothing of it is known before.
fn read(address: &Address) -> Json {
    let mut shown = json!({
        "address": address.to_string(),
        "mode": "data",
        "type": address.kind.strip_prefix("data.").unwrap_or(&address.kind),
        "name": address.name,
        "provider_name": "lustre",
        "change": {
            "actions": actions(Action::Read),
            "before": null, "after": {}, "after_unknown": true, "before_sensitive": false, "after_sensitive": {},
        },
        "action_reason": "read_because_config_unknown",
    });
    if !address.modules.is_empty() {
        shown["module_address"] = json!(address.module_path());
    }
    match &address.key {
        Some(Key::Index(index)) => shown["index"] = json!(index),
        Some(Key::Name(name)) => shown["index"] = json!(name),
        None => {}
    }
    shown
}

fn change_json(change: &Change) -> Json {
    let side = |attributes: &Option<Attributes>| attributes.as_ref().map_or(Json::Null, plain_attributes);
    let marks =
        |attributes: &Option<Attributes>| attributes.as_ref().map_or(json!(false), sensitive_attributes);
    let unknown = change.after.as_ref().map_or(json!({}), unknown_attributes);
    let mut shown = json!({
        "actions": if change.deposed.is_some() { json!(["create", "delete"]) } else { actions(change.action) },
        "before": side(&change.before),
        "after": side(&change.after),
        "after_unknown": unknown,
        "before_sensitive": marks(&change.before),
        "after_sensitive": marks(&change.after),
    });
    if let Some(id) = &change.imported {
        shown["importing"] = json!({ "id": id });
    }
    if !change.replace_paths.is_empty() {
        shown["replace_paths"] = change.replace_paths.iter().map(|name| json!([name])).collect();
    }
    shown
}

fn actions(action: Action) -> Json {
    match action {
        Action::Create => json!(["create"]),
        Action::Update => json!(["update"]),
        Action::Replace => json!(["delete", "create"]),
        Action::Delete => json!(["delete"]),
        Action::Read => json!(["read"]),
        Action::Forget => json!(["forget"]),
        Action::NoOp => json!(["no-op"]),
    }
}

fn output_change(change: &OutputChange) -> Json {
    let value = |output: &Option<Output>| match output {
        Some(output) if !output.sensitive => plain(&output.value),
        Some(_) | None => Json::Null,
    };
    let marks = |output: &Option<Output>| match output {
        Some(output) if output.sensitive => json!(true),
        Some(output) => sensitive(&output.value).unwrap_or(json!(false)),
        None => json!(false),
    };
    let mut shown = json!({
        "actions": actions(change.action),
        "before": value(&change.before),
        "after_unknown": change.after.as_ref().and_then(|after| unknown(&after.value)).unwrap_or(json!(false)),
        "before_sensitive": marks(&change.before),
        "after_sensitive": marks(&change.after),
    });
    if change.after.as_ref().is_none_or(|after| after.value.is_known()) {
        shown["after"] = value(&change.after);
    }
    shown
}

/// The value without what is sensitive (null) or unknown (left out, or null where that is not possible).
pub fn plain(value: &Value) -> Json {
    if value.is_sensitive() {
        return Json::Null;
    }
    match value.kind() {
        Kind::Null(_) | Kind::Unknown(_) => Json::Null,
        Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => value.to_plain().unwrap_or(Json::Null),
        Kind::List(..) | Kind::Set(..) | Kind::Tuple(_) => value.parts().map(plain).collect(),
        Kind::Map(_, entries) | Kind::Object(entries, _) => plain_attributes(entries),
    }
}

fn plain_attributes(attributes: &Attributes) -> Json {
    let known = attributes.iter().filter(|(_, value)| value.is_known());
    Json::Object(known.map(|(name, value)| (name.clone(), plain(value))).collect())
}

/// Where a value is unknown: `true`, or the shape of it down to the unknown parts.
fn unknown(value: &Value) -> Option<Json> {
    shape(value, &|value| !value.is_known())
}

fn unknown_attributes(attributes: &Attributes) -> Json {
    let parts = attributes.iter().filter_map(|(name, value)| Some((name.clone(), unknown(value)?)));
    Json::Object(parts.collect())
}

fn sensitive(value: &Value) -> Option<Json> {
    shape(value, &Value::is_sensitive)
}

/// Where attributes are sensitive: `true`, or the shape of them down to the sensitive parts.
pub fn sensitive_attributes(attributes: &Attributes) -> Json {
    let parts = attributes.iter().filter_map(|(name, value)| Some((name.clone(), sensitive(value)?)));
    Json::Object(parts.collect())
}

fn shape(value: &Value, is: &dyn Fn(&Value) -> bool) -> Option<Json> {
    if is(value) {
        return Some(json!(true));
    }
    match value.kind() {
        Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => None,
        Kind::List(..) | Kind::Set(..) | Kind::Tuple(_) => {
            let parts: Vec<Option<Json>> = value.parts().map(|part| shape(part, is)).collect();
            let any = parts.iter().any(Option::is_some);
            any.then(|| parts.into_iter().map(|part| part.unwrap_or(json!(false))).collect())
        }
        Kind::Map(_, entries) | Kind::Object(entries, _) => {
            let parts = entries.iter().filter_map(|(name, part)| Some((name.clone(), shape(part, is)?)));
            let parts: Map<String, Json> = parts.collect();
            (!parts.is_empty()).then_some(Json::Object(parts))
        }
    }
}
