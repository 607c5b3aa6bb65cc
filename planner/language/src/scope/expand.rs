//! Expansion of `for_each` and `count` into instances.
//!
//! Invariant: keys are known and not sensitive, for they are part of addresses; there are at most [`INSTANCES_MAX`].

use lustre_model::address::Key;
use lustre_model::diagnostic::Diagnostic;
use lustre_model::types::Type;
use lustre_model::value::{Kind, Value};

use crate::evaluate::{Context, Failed};
use crate::program::{Repetition, Resource};
use crate::scope::{Instance, Known, Scope};
use crate::syntax::Expr;

/// Most instances of one resource.
pub const INSTANCES_MAX: usize = 1_000_000;

impl<'a> Scope<'a> {
    /// Expands a resource into its instances; none when that failed.
    pub fn expand(&mut self, resource: &Resource) -> Vec<Instance> {
        let mut context = Context::new(self.world, Some(self));
        let instances = match &resource.repetition {
            Repetition::Single => Ok(vec![Instance { address: resource.address(), each_value: None }]),
            Repetition::Count(expression) => count(&mut context, resource, expression),
            Repetition::ForEach(expression) => for_each(&mut context, resource, expression),
        };
        self.collect(context);
        let known = Known {
            counted: matches!(resource.repetition, Repetition::Count(_)),
            failed: instances.is_err(),
            expanded: instances
                .as_ref()
                .ok()
                .map(|all| all.iter().map(|it| it.address.key.clone()).collect()),
            ..Known::default()
        };
        self.resources.insert((resource.kind.clone(), resource.name.clone()), known);
        instances.unwrap_or_default()
    }
}

fn refuse(context: &mut Context<'_>, expression: &Expr, summary: &str, detail: &str) -> Failed {
    context.report(Diagnostic::error("E0701", summary).detail(detail), expression)
}

fn too_many(context: &mut Context<'_>, expression: &Expr) -> Failed {
    refuse(
        context,
        expression,
        "too many instances",
        &format!("A resource has at most {INSTANCES_MAX} instances."),
    )
}

fn count(context: &mut Context<'_>, resource: &Resource, expression: &Expr) -> Result<Vec<Instance>, Failed> {
    let value = context.evaluate_as(expression, &Type::Number, "`count`")?;
    if !value.is_known() {
        let detail = "How many instances there are must be known before anything is applied.";
        return Err(refuse(context, expression, "`count` is known only after apply", detail));
    }
    let Some(number) = value.as_u64() else {
        return Err(refuse(context, expression, "invalid `count`", "It must be a whole number, 0 or more."));
    };
    if number > INSTANCES_MAX as u64 {
        return Err(too_many(context, expression));
    }
    let instance =
        |index| Instance { address: resource.address().with_key(Some(Key::Index(index))), each_value: None };
    Ok((0..number).map(instance).collect())
}

fn for_each(
    context: &mut Context<'_>,
    resource: &Resource,
    expression: &Expr,
) -> Result<Vec<Instance>, Failed> {
    let value = context.evaluate(expression)?;
    if value.is_null() {
        return Err(refuse(
            context,
            expression,
            "`for_each` is null",
            "For no instances give it an empty map: `{}`.",
        ));
    }
    if value.is_sensitive() {
        let detail = "Keys are part of addresses, which are shown everywhere.";
        return Err(refuse(context, expression, "`for_each` is sensitive", detail));
    }
    let entries: Vec<(String, Value)> = match value.kind() {
        Kind::Unknown(_) => {
            let detail = "Which instances there are must be known before anything is applied; values may be unknown, keys not.";
            return Err(refuse(context, expression, "`for_each` is known only after apply", detail));
        }
        Kind::Map(_, items) | Kind::Object(items, _) => {
            items.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
        }
        Kind::Set(Type::String | Type::Any, items) => {
            items.iter().filter_map(|item| Some((item.as_str()?.to_owned(), item.clone()))).collect()
        }
        Kind::Null(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Set(..) => {
            let detail =
                format!("It takes a map or a set of strings, but this is {}.", value.type_of().friendly());
            return Err(refuse(context, expression, "invalid `for_each`", &detail));
        }
        Kind::List(..) | Kind::Tuple(_) => {
            let kind = value.type_of().friendly();
            let detail =
                format!("It takes a map or a set of strings, but this is {kind}. Convert it: `toset([…])`.");
            return Err(refuse(context, expression, "invalid `for_each`", &detail));
        }
    };
    if entries.len() > INSTANCES_MAX {
        return Err(too_many(context, expression));
    }
    let instance = |(key, value): (String, Value)| Instance {
        address: resource.address().with_key(Some(Key::Name(key))),
        each_value: Some(value),
    };
    Ok(entries.into_iter().map(instance).collect())
}
