//! Root names: variables, locals, `each`, `count`, `path`, and resources.
//!
//! A reference to one instance takes that instance only, so that thousands of them do not each build the whole.
//! Invariant: names that the program's check refused fail silently here.

use lustre_model::address::Key;
use lustre_model::diagnostic::Diagnostic;
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::evaluate::{Context, Failed, Outcome};
use crate::program::Resource;
use crate::scope::{Known, Scope};
use crate::suggest::did_you_mean;
use crate::syntax::{Expr, ExprKind, Step};

type Resolved = Result<(Value, usize), Failed>;

/// Resolves a root name and the names that belong to it.
pub(super) fn root(
    scope: &Scope<'_>,
    context: &mut Context<'_>,
    (root, steps): (&str, &[Step]),
    whole: &Expr,
) -> Resolved {
    let name = match steps.first() {
        Some(Step::Attribute(name, _)) => name.as_str(),
        Some(Step::Index(_) | Step::Splat(..)) | None => return Err(Failed),
    };
    let value = match root {
        "var" => scope.variables.get(name).cloned().unwrap_or(Err(Failed)),
        "local" => scope.local(name),
        "path" => path(context, name),
        "each" | "count" => repetition(context, root, name),
        kind => {
            let resource = scope.program.resource(kind, name).ok_or(Failed)?;
            return resource_value(scope, context, (resource, steps), whole);
        }
    };
    Ok((value?, 1))
}

fn path(context: &Context<'_>, name: &str) -> Outcome {
    match name {
        "module" | "root" => Ok(".".into()),
        "cwd" => Ok(context.world.working_folder().into()),
        _ => Err(Failed),
    }
}

fn repetition(context: &Context<'_>, root: &str, name: &str) -> Outcome {
    let instance = context.instance.ok_or(Failed)?;
    match (root, name, &instance.address.key) {
        ("each", "key", Some(Key::Name(key))) => Ok(key.as_str().into()),
        ("each", "value", _) => instance.each_value.clone().ok_or(Failed),
        ("count", "index", Some(Key::Index(index))) => Ok((*index).into()),
        (_, _, Some(Key::Name(_) | Key::Index(_)) | None) => Err(Failed),
    }
}

fn resource_value(
    scope: &Scope<'_>,
    context: &mut Context<'_>,
    (resource, steps): (&Resource, &[Step]),
    whole: &Expr,
) -> Resolved {
    let known = scope.resources.get(&(resource.kind.clone(), resource.name.clone()));
    let written = |index: &Expr| matches!(index.kind, ExprKind::Literal(_));
    if matches!(steps.get(1), Some(Step::Index(index)) if !resource.is_repeated() && written(index)) {
        return Err(Failed);
    }
    let (Some(known), Some(Step::Index(index)), true) = (known, steps.get(1), resource.is_repeated()) else {
        return Ok((scope.whole(resource)?, 1));
    };
    let key =
        if let ExprKind::Literal(value) = &index.kind { value.clone() } else { context.expression(index)? };
    let key = key.unmarked();
    let key = match (key.as_str(), key.as_u64()) {
        (Some(name), _) if !known.counted => Key::Name(name.to_owned()),
        (_, Some(index)) if known.counted => Key::Index(index),
        (None, None) if !key.is_known() => return Ok((Value::unknown(Type::Any), 2)),
        (Some(_) | None, Some(_) | None) => return Ok((scope.whole(resource)?, 1)),
    };
    instance_value(context, (resource, known), key, whole).map(|value| (value, 2))
}

fn instance_value(
    context: &mut Context<'_>,
    (resource, known): (&Resource, &Known),
    key: Key,
    whole: &Expr,
) -> Outcome {
    let key = Some(key);
    if known.failed || known.poisoned.contains(&key) {
        return Err(Failed);
    }
    if let Some(value) = known.instances.get(&key) {
        return Ok(value.clone());
    }
    let Some(keys) = known.expanded.as_ref() else { return Ok(Value::unknown(Type::Any)) };
    if keys.contains(&key) {
        return Ok(Value::unknown(Type::Any));
    }
    let address = resource.address().with_key(key.clone());
    let mut diagnostic = Diagnostic::error("E0310", format!("`{address}` does not exist"));
    let names: Vec<String> = keys.iter().flatten().map(Key::to_string).collect();
    diagnostic = diagnostic.detail(match keys.len() {
        0 => format!("`{}` has no instances.", resource.address()),
        count => format!("`{}` has {count} instances.", resource.address()),
    });
    if let Some(hint) =
        did_you_mean(&key.map(|key| key.to_string()).unwrap_or_default(), names.iter().map(String::as_str))
    {
        diagnostic = diagnostic.hint(hint);
    }
    Err(context.report(diagnostic.related(resource.span, "declared here"), whole))
}
