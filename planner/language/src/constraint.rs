//! Type constraints: the expressions behind `type =`, read as types.
//!
//! ```text
//! list(string)      object({ size = number, tags = optional(map(string), {}) })
//! ```
//! Defaults of `optional` are constants and are converted to the attribute's type here.
//! Invariant: what is refused was reported, with the place inside the constraint.

use std::collections::BTreeMap;

use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::types::{Attribute, Presence, Type};

use crate::evaluate::Context;
use crate::suggest::did_you_mean;
use crate::syntax::{Call, Expr, ExprKind};
use crate::world::EmptyWorld;

const NAMES: [&str; 10] =
    ["any", "bool", "number", "string", "list", "set", "map", "tuple", "object", "optional"];

/// Reads a type constraint.
pub(crate) fn read(expression: &Expr, diagnostics: &mut Diagnostics) -> Option<Type> {
    match &expression.kind {
        ExprKind::Variable(name) => named(name, expression, diagnostics),
        // The spelling of Terraform before 0.12: the name as text.
        ExprKind::Literal(value) if value.as_str().is_some() => {
            named(value.as_str().unwrap_or_default(), expression, diagnostics)
        }
        ExprKind::Call(call) => constructed(call, expression, diagnostics),
        ExprKind::Literal(_) | ExprKind::Template(_) | ExprKind::Tuple(_) | ExprKind::Object(_) => {
            refuse(expression, "A type is a name or a call, as `list(string)`.", None, diagnostics)
        }
        ExprKind::Access(..)
        | ExprKind::Conditional(..)
        | ExprKind::Unary(..)
        | ExprKind::Binary(..)
        | ExprKind::For(_) => {
            refuse(expression, "A type is a name or a call, as `list(string)`.", None, diagnostics)
        }
    }
}

fn refuse(at: &Expr, detail: &str, hint: Option<String>, diagnostics: &mut Diagnostics) -> Option<Type> {
    let mut diagnostic = Diagnostic::error("E0210", "invalid type").detail(detail).at(at.span);
    diagnostic.hint = hint;
    diagnostics.push(diagnostic);
    None
}

fn named(name: &str, at: &Expr, diagnostics: &mut Diagnostics) -> Option<Type> {
    match name {
        "any" => Some(Type::Any),
        "bool" => Some(Type::Bool),
        "number" => Some(Type::Number),
        "string" => Some(Type::String),
        "list" | "set" | "map" => {
            let detail = format!("`{name}` needs the type of its elements.");
            refuse(at, &detail, Some(format!("Write `{name}(any)` for any one type.")), diagnostics)
        }
        _ => {
            let detail = format!("There is no type `{name}`.");
            refuse(at, &detail, did_you_mean(name, NAMES), diagnostics)
        }
    }
}

fn constructed(call: &Call, at: &Expr, diagnostics: &mut Diagnostics) -> Option<Type> {
    let single = match call.arguments.as_slice() {
        [single] => single,
        _ => return refuse(at, &format!("`{}` takes one argument.", call.name), None, diagnostics),
    };
    match call.name.as_str() {
        "list" => read(single, diagnostics).map(Type::list),
        "set" => read(single, diagnostics).map(Type::set),
        "map" => read(single, diagnostics).map(Type::map),
        "tuple" => {
            let ExprKind::Tuple(items) = &single.kind else {
                let detail = "`tuple` takes a list of types: `tuple([string, number])`.";
                return refuse(single, detail, None, diagnostics);
            };
            let types: Vec<_> = items.iter().map(|item| read(item, diagnostics)).collect();
            types.into_iter().collect::<Option<Vec<_>>>().map(Type::Tuple)
        }
        "object" => {
            let ExprKind::Object(items) = &single.kind else {
                let detail = "`object` takes names and types: `object({ size = number })`.";
                return refuse(single, detail, None, diagnostics);
            };
            object(items, diagnostics)
        }
        "optional" => refuse(
            at,
            "`optional` stands only before the type of an attribute of `object`.",
            None,
            diagnostics,
        ),
        name => {
            let hint = did_you_mean(name, NAMES);
            refuse(at, &format!("There is no type `{name}(…)`."), hint, diagnostics)
        }
    }
}

fn object(items: &[(Expr, Expr)], diagnostics: &mut Diagnostics) -> Option<Type> {
    let attributes: Vec<Option<(String, Attribute)>> = items
        .iter()
        .map(|(key, value)| {
            let ExprKind::Literal(name) = &key.kind else {
                refuse(key, "The name of an attribute is written out.", None, diagnostics);
                return None;
            };
            let name = name.as_str()?.to_owned();
            Some((name, attribute(value, diagnostics)?))
        })
        .collect();
    attributes.into_iter().collect::<Option<BTreeMap<_, _>>>().map(Type::Object)
}

fn attribute(value: &Expr, diagnostics: &mut Diagnostics) -> Option<Attribute> {
    let ExprKind::Call(call) = &value.kind else { return read(value, diagnostics).map(Attribute::required) };
    if call.name != "optional" {
        return read(value, diagnostics).map(Attribute::required);
    }
    match call.arguments.as_slice() {
        [kind] => Some(Attribute { kind: read(kind, diagnostics)?, presence: Presence::Optional }),
        [kind, default] => {
            let kind = read(kind, diagnostics)?;
            let mut context = Context::new(&EmptyWorld, None);
            let default = context.evaluate_as(default, &kind, "the default of an attribute");
            diagnostics.extend(context.diagnostics);
            Some(Attribute { kind, presence: Presence::Default(Box::new(default.ok()?)) })
        }
        _ => {
            refuse(value, "`optional` takes a type and perhaps a default.", None, diagnostics);
            None
        }
    }
}
