//! Recorded objects and outputs: as HCL for people, as JSON for programs.
//!
//! Invariant: a sensitive value is shown only where it was asked for by its name.

use std::collections::BTreeMap;

use lustre_model::address::Address;
use lustre_model::recorded::{Object, Output, Status, World};
use lustre_model::value::Value;
use lustre_plan::render::json::plain;
use lustre_plan::render::json::values::{VALUES_VERSION, modules, object as object_values};
use lustre_plan::render::literal::{self, Mark};
use lustre_plan::render::{Style, Styled};
use serde_json::{Map, Value as Json, json};

use crate::view::schema::type_json;

/// Writes an object as a block; private values are not in it.
pub fn object(out: &mut Styled, address: &Address, object: &Object) {
    out.push(Style::Heading, format!("# {address}"));
    match &object.status {
        Status::Present => {}
        Status::Creating => out.push(Style::Change, " (creation was begun)"),
        Status::Updating => out.push(Style::Change, " (an update was begun)"),
        Status::Deleting => out.push(Style::Remove, " (deletion was begun)"),
        Status::Drifted { cause } => out.push(Style::Change, format!(" (drifted: {cause})")),
        Status::Gone { cause } => out.push(Style::Change, format!(" (gone: {cause})")),
        Status::Tainted { cause } => out.push(Style::Danger, format!(" (tainted: {cause})")),
    }
    out.push(Style::Plain, format!("\n{} \"{}\" {{\n", object.kind, name(address)));
    let shown: Vec<_> = object.attributes.iter().filter(|(_, value)| !value.is_null()).collect();
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in shown {
        out.push(Style::Plain, format!("    {name:width$} = "));
        inset(out, 1, value);
        out.push(Style::Plain, "\n");
    }
    out.push(Style::Plain, "}\n");
}

/// Writes a value as the planner does, without the column that it keeps for marks.
fn inset(out: &mut Styled, depth: usize, value: &Value) {
    let mut whole = Styled::default();
    literal::whole(&mut whole, depth, Mark::Same, value);
    out.push(Style::Plain, whole.plain().replace("\n    ", "\n"));
}

fn name(address: &Address) -> &str {
    address.parts.last().map_or(&address.name, |part| &part.name)
}

/// Writes outputs, one a line; what is sensitive only says so.
pub fn outputs(outputs: &BTreeMap<String, Output>) -> Styled {
    let mut out = Styled::default();
    for (name, output) in outputs {
        out.push(Style::Plain, format!("{name} = "));
        let value = output.value.clone().marked(output.sensitive);
        inset(&mut out, 0, &value);
        out.push(Style::Plain, "\n");
    }
    out
}

/// Writes the value of one output; the caller decides whether what is sensitive may be shown.
pub fn output(output: &Output) -> Styled {
    let mut out = Styled::default();
    inset(&mut out, 0, &output.value);
    out
}

/// Returns all that a state records.
pub fn world(world: &World) -> Styled {
    let mut out = Styled::default();
    if world.objects.is_empty() {
        out.push(Style::Plain, "The state records nothing.\n");
    }
    for (place, (address, recorded)) in world.objects.iter().enumerate() {
        if place > 0 {
            out.push(Style::Plain, "\n");
        }
        object(&mut out, address, recorded);
    }
    if !world.outputs.is_empty() {
        out.push(Style::Heading, "\nOutputs:\n\n");
        out.pieces.extend(outputs(&world.outputs).pieces);
    }
    out
}

/// Returns outputs as Terraform's `output -json` has them; sensitive ones in clear, as there.
pub fn outputs_json(outputs: &BTreeMap<String, Output>) -> Json {
    let one = |(name, output): (&String, &Output)| {
        let value = output.value.to_plain().unwrap_or(Json::Null);
        let kind = type_json(&output.value.type_of());
        (name.clone(), json!({ "sensitive": output.sensitive, "type": kind, "value": value }))
    };
    Json::Object(outputs.iter().map(one).collect())
}

/// Returns outputs for the event stream; sensitive ones without their values.
pub fn outputs_shown_json(outputs: &BTreeMap<String, Output>) -> Json {
    let one = |(name, output): (&String, &Output)| {
        let kind = type_json(&output.value.type_of());
        let mut json = json!({ "sensitive": output.sensitive, "type": kind });
        if !output.sensitive {
            json["value"] = plain(&output.value);
        }
        (name.clone(), json)
    };
    Json::Object(outputs.iter().map(one).collect())
}

/// Returns a whole state as Terraform's `show -json` has it.
pub fn world_json(world: &World) -> Json {
    let outputs = world.outputs.iter().map(|(name, output)| {
        let value = if output.sensitive { Json::Null } else { plain(&output.value) };
        let kind = type_json(&output.value.type_of());
        (name.clone(), json!({ "sensitive": output.sensitive, "type": kind, "value": value }))
    });
    let outputs: Map<String, Json> = outputs.collect();
    let resources = world.objects.iter().map(|(address, object)| (address, object_json(address, object)));
    json!({
        "format_version": VALUES_VERSION,
        "terraform_version": env!("CARGO_PKG_VERSION"),
        "lustre_version": env!("CARGO_PKG_VERSION"),
        "serial": world.serial,
        "lineage": world.lineage,
        "values": { "outputs": outputs, "root_module": modules(resources) },
    })
}

/// Returns an object as Terraform's `show -json` has a resource.
pub fn object_json(address: &Address, object: &Object) -> Json {
    let mut json = object_values(address, object.kind.name(), &object.attributes);
    json["depends_on"] = json!(object.dependencies);
    json["status"] = json!(status(&object.status));
    json
}

fn status(status: &Status) -> &'static str {
    match status {
        Status::Present => "present",
        Status::Creating => "creating",
        Status::Updating => "updating",
        Status::Deleting => "deleting",
        Status::Tainted { .. } => "tainted",
        Status::Drifted { .. } => "drifted",
        Status::Gone { .. } => "gone",
    }
}
