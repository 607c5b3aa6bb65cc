//! Attributes of written-out objects that the type of the variable drops.
//!
//! A conversion drops what a type does not have, as Terraform's does, and says nothing; so does a misspelt name of an optional
//! attribute. Where the object is written out at the variable itself, nobody else can want that attribute.
//! Invariant: only names that are written out are told of, and values stay as they are.

use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::types::Type;

use crate::suggest::did_you_mean;
use crate::syntax::{Expr, ExprKind};

/// Warns of each attribute in an expression that a variable of that type drops.
pub(crate) fn report(expression: &Expr, wanted: &Type, variable: &str, diagnostics: &mut Diagnostics) {
    match (&expression.kind, wanted) {
        (ExprKind::Object(items), Type::Object(attributes)) => {
            for (key, value) in items {
                let ExprKind::Literal(name) = &key.kind else { continue };
                let Some(name) = name.as_str() else { continue };
                if let Some(attribute) = attributes.get(name) {
                    report(value, &attribute.kind, variable, diagnostics);
                    continue;
                }
                let summary = format!("variable `{variable}` has no attribute `{name}`");
                let names: Vec<&str> = attributes.keys().map(String::as_str).collect();
                let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let hint = did_you_mean(name, names.iter().copied());
                let hint = hint.unwrap_or_else(|| format!("The type has {listed}."));
                let warning = Diagnostic::warning("W0316", summary).hint(hint).at(key.span);
                diagnostics.push(warning.detail("Its type does not have it, so the value is dropped."));
            }
        }
        (ExprKind::Object(items), Type::Map(element)) => {
            items.iter().for_each(|(_, value)| report(value, element, variable, diagnostics));
        }
        (ExprKind::Tuple(items), Type::List(element) | Type::Set(element)) => {
            items.iter().for_each(|item| report(item, element, variable, diagnostics));
        }
        (ExprKind::Tuple(items), Type::Tuple(elements)) => {
            items.iter().zip(elements).for_each(|(item, kind)| report(item, kind, variable, diagnostics));
        }
        (ExprKind::Conditional(_, then, otherwise), _) => {
            [then, otherwise].iter().for_each(|branch| report(branch, wanted, variable, diagnostics));
        }
        (
            ExprKind::Literal(_)
            | ExprKind::Template(_)
            | ExprKind::Tuple(_)
            | ExprKind::Object(_)
            | ExprKind::Variable(_)
            | ExprKind::Access(..)
            | ExprKind::Call(_)
            | ExprKind::Unary(..)
            | ExprKind::Binary(..)
            | ExprKind::For(_),
            _,
        ) => {}
    }
}
