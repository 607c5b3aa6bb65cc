//! The schema of blocks: as a list for people, and as Terraform's `providers schema -json` for editors.
//!
//! Invariant: both show the same attributes.

use lustre_model::resource::Kind;
use lustre_model::types::Type;
use lustre_plan::render::{Style, Styled};
use lustre_plan::{AttributeOutline, BlockOutline};
use serde_json::{Map, Value as Json, json};

/// Version of the JSON, Terraform's.
const FORMAT_VERSION: &str = "1.0";

/// Returns the schema in Terraform's shape, under the one provider `lustre`.
pub fn json(outlines: &[(Kind, BlockOutline)]) -> Json {
    let resource = |(kind, outline): &(Kind, BlockOutline)| {
        (kind.name().to_owned(), json!({ "version": 0, "block": block(outline) }))
    };
    let resources: Map<String, Json> = outlines.iter().map(resource).collect();
    json!({
        "format_version": FORMAT_VERSION,
        "provider_schemas": { "lustre": { "resource_schemas": resources } },
    })
}

fn block(outline: &BlockOutline) -> Json {
    let attributes: Map<String, Json> =
        outline.attributes.iter().map(|(name, it)| ((*name).to_owned(), attribute(it))).collect();
    let nested = outline.blocks.iter().map(|(name, nested)| {
        let mut json = json!({ "nesting_mode": "list", "block": block(&nested.block) });
        json["block"]["description"] = json!(nested.about);
        if nested.required {
            json["min_items"] = json!(1);
        }
        ((*name).to_owned(), json)
    });
    let nested: Map<String, Json> = nested.collect();
    let mut json = json!({ "attributes": attributes });
    if !nested.is_empty() {
        json["block_types"] = Json::Object(nested);
    }
    if !outline.refused.is_empty() {
        json["refused"] = json!(outline.refused);
    }
    json
}

fn attribute(attribute: &AttributeOutline) -> Json {
    let need = if attribute.required { "required" } else { "optional" };
    let mut json = json!({
        "type": type_json(&attribute.kind),
        "description": attribute.about,
        "description_kind": "plain",
        need: true,
    });
    if !attribute.words.is_empty() {
        json["values"] = json!(attribute.words);
    }
    if let Some((least, greatest)) = attribute.range {
        json["range"] = json!([least, greatest]);
    }
    if let Some(kind) = attribute.reference {
        json["reference"] = json!(kind.name());
    }
    json
}

/// Returns a type as cty's JSON has it: `"string"`, `["list","string"]`.
pub fn type_json(kind: &Type) -> Json {
    match kind {
        Type::Any => json!("dynamic"),
        Type::Bool => json!("bool"),
        Type::Number => json!("number"),
        Type::String => json!("string"),
        Type::List(element) => json!(["list", type_json(element)]),
        Type::Set(element) => json!(["set", type_json(element)]),
        Type::Map(element) => json!(["map", type_json(element)]),
        Type::Tuple(elements) => json!(["tuple", elements.iter().map(type_json).collect::<Vec<Json>>()]),
        Type::Object(attributes) => {
            let inside: Map<String, Json> =
                attributes.iter().map(|(name, it)| (name.clone(), type_json(&it.kind))).collect();
            json!(["object", inside])
        }
    }
}

/// Returns the schema as a list.
pub fn text(outlines: &[(Kind, BlockOutline)]) -> Styled {
    let mut out = Styled::default();
    for (place, (kind, outline)) in outlines.iter().enumerate() {
        if place > 0 {
            out.push(Style::Plain, "\n");
        }
        out.push(Style::Heading, format!("{} \"NAME\"\n", kind.name()));
        body(&mut out, outline, 1);
    }
    out
}

fn body(out: &mut Styled, outline: &BlockOutline, depth: usize) {
    let indent = "  ".repeat(depth);
    for (name, attribute) in &outline.attributes {
        let need = if attribute.required { ", required" } else { "" };
        out.push(Style::Plain, format!("{indent}{name}"));
        out.push(Style::Dim, format!("  {}{need}\n", accepted(attribute)));
        out.push(Style::Plain, format!("{indent}    {}\n", attribute.about));
    }
    for (name, nested) in &outline.blocks {
        let need = if nested.required { "  required" } else { "" };
        out.push(Style::Heading, format!("{indent}{name} {{ }}"));
        out.push(Style::Dim, format!("{need}\n"));
        out.push(Style::Plain, format!("{indent}    {}\n", nested.about));
        body(out, &nested.block, depth + 1);
    }
}

fn accepted(attribute: &AttributeOutline) -> String {
    match (attribute.reference, attribute.words.as_slice(), attribute.range) {
        (Some(kind), _, _) => format!("a {kind}"),
        (None, [_, ..], _) => attribute.words.join(" | "),
        (None, [], Some((least, greatest))) => format!("number from {least} to {greatest}"),
        (None, [], None) => attribute.kind.friendly(),
    }
}
