//! Root names: variables, locals, `each`, `count`, `path`, modules and resources.
//!
//! A reference to one instance takes that instance only, so that thousands of them do not each build the whole.
//! Invariant: names that the program's check refused fail silently here.

use lustre_model::address::{Address, Key};
use lustre_model::diagnostic::Diagnostic;
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::evaluate::{Context, Failed, Outcome};
use crate::program::{Named, Repetition, Resource};
use crate::scope::frame::{Frame, Name, Opened};
use crate::scope::known::{Known, gather};
use crate::scope::{ModuleInstance, Scope};
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
        Some(Step::Index(..) | Step::Splat(..)) | None => return Err(Failed),
    };
    let value = match root {
        "var" => scope.settle(context.module, Name::Variable(name.to_owned())),
        "local" => scope.settle(context.module, Name::Local(name.to_owned())),
        "path" => path(scope, context, name),
        "each" | "count" => repetition(context, root, name),
        // A bare `self` is the whole, so that no step is used up.
        "self" => return own(scope, context).map(|value| (value, 0)),
        "module" => return module_value(scope, context, (name, steps), whole),
        _ => {
            let frame = scope.frame(context.module);
            let named = Named::read(root, steps).ok_or(Failed)?;
            let resource = scope.module_at(&frame).resource(&named.kind(), named.name).ok_or(Failed)?;
            let before = named.steps() - 1;
            let (value, used) = resource_value(scope, context, (resource, &frame, &steps[before..]), whole)?;
            return Ok((value, used + before));
        }
    };
    Ok((value?, 1))
}

/// Returns the value of the instance that a postcondition is about.
fn own(scope: &Scope<'_>, context: &Context<'_>) -> Outcome {
    let address = &context.instance.ok_or(Failed)?.address;
    let known = scope.frame(context.module).known(address);
    if known.has_failed(&address.key) {
        return Err(Failed);
    }
    Ok(one_instance(scope, (address, &known)).unwrap_or_else(|| Value::unknown(Type::Any)))
}

fn path(scope: &Scope<'_>, context: &Context<'_>, name: &str) -> Outcome {
    match name {
        "module" => Ok(scope.module_at(&scope.frame(context.module)).folder.as_str().into()),
        "root" => Ok(".".into()),
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

/// Which instance an index means.
enum Meant {
    One(Key),
    /// It is known only after apply.
    Later,
    /// It fits no instance; the whole says what is wrong.
    Whole,
}

fn meant(context: &mut Context<'_>, index: &Expr, counted: bool) -> Result<Meant, Failed> {
    let key =
        if let ExprKind::Literal(value) = &index.kind { value.clone() } else { context.expression(index)? };
    let key = key.unmarked();
    Ok(match (key.as_str(), key.as_u64()) {
        (Some(name), _) if !counted => Meant::One(Key::Name(name.to_owned())),
        (_, Some(index)) if counted => Meant::One(Key::Index(index)),
        (None, None) if !key.is_known() => Meant::Later,
        (Some(_) | None, Some(_) | None) => Meant::Whole,
    })
}

/// Resolves `module.m`, an instance of it, or one of its outputs.
fn module_value(
    scope: &Scope<'_>,
    context: &mut Context<'_>,
    (name, steps): (&str, &[Step]),
    whole: &Expr,
) -> Resolved {
    let module = context.module;
    let opened = scope.opened(module, name)?;
    let frame = scope.frame(module);
    let call = scope.module_at(&frame).calls.get(name).ok_or(Failed)?;
    let (key, used) = match (&call.repetition, steps.get(1)) {
        (Repetition::Single, Some(Step::Index(index, _))) if matches!(index.kind, ExprKind::Literal(_)) => {
            return Err(Failed);
        }
        (Repetition::Single, _) => (None, 1),
        (Repetition::Count(_) | Repetition::ForEach(_), Some(Step::Index(index, _))) => {
            match meant(context, index, opened.counted)? {
                Meant::One(key) => (Some(key), 2),
                Meant::Later => return Ok((Value::unknown(Type::Any), 2)),
                Meant::Whole => return Ok((instances_of(scope, module, (name, &opened))?, 1)),
            }
        }
        // That it does not say which instance was reported.
        (Repetition::Count(_) | Repetition::ForEach(_), Some(Step::Attribute(..))) => return Err(Failed),
        (Repetition::Count(_) | Repetition::ForEach(_), Some(Step::Splat(..)) | None) => {
            return Ok((instances_of(scope, module, (name, &opened))?, 1));
        }
    };
    let Some(callee) = opened.keys.get(&key).and_then(|_| scope.callee(module, name, &key)) else {
        let address = crate::graph::call_address(&frame.path, call).with_key(key);
        let diagnostic = missing(&address, &opened.keys.keys().cloned().collect::<Vec<_>>());
        return Err(context.report(diagnostic.related(call.span, "called here"), whole));
    };
    match steps.get(used) {
        Some(Step::Attribute(output, _)) => Ok((scope.output_of(callee, output)?, used + 1)),
        Some(Step::Index(..) | Step::Splat(..)) | None => Ok((outputs_of(scope, callee)?, used)),
    }
}

/// Returns all outputs of an instance of a module as an object.
fn outputs_of(scope: &Scope<'_>, module: ModuleInstance) -> Outcome {
    let declared = scope.module_at(&scope.frame(module));
    let outputs = declared.outputs.keys().map(|name| Ok((name.clone(), scope.output_of(module, name)?)));
    Ok(Value::object(outputs.collect::<Result<Vec<_>, Failed>>()?))
}

/// Returns the outputs of all instances of a module call as one value.
fn instances_of(scope: &Scope<'_>, module: ModuleInstance, (name, opened): (&str, &Opened)) -> Outcome {
    if let Some(value) = opened.whole.borrow().as_ref() {
        return Ok(value.clone());
    }
    let value = |key| {
        let callee = scope.callee(module, name, key).ok_or(Failed)?;
        Ok((key, outputs_of(scope, callee)?))
    };
    let values = opened.keys.keys().map(value).collect::<Result<Vec<_>, Failed>>()?;
    let value = gather(values.into_iter(), opened.counted);
    *opened.whole.borrow_mut() = Some(value.clone());
    Ok(value)
}

fn resource_value(
    scope: &Scope<'_>,
    context: &mut Context<'_>,
    (resource, frame, steps): (&Resource, &Frame, &[Step]),
    whole: &Expr,
) -> Resolved {
    let address = frame.address(resource.address());
    let known = frame.known(&address);
    let written = |index: &Expr| matches!(index.kind, ExprKind::Literal(_));
    if matches!(steps.get(1), Some(Step::Index(index, _)) if !resource.is_repeated() && written(index)) {
        return Err(Failed);
    }
    let (Some(Step::Index(index, _)), true) = (steps.get(1), resource.is_repeated()) else {
        return Ok((all_instances(scope, resource, (&address, &known))?, 1));
    };
    let counted = matches!(resource.repetition, Repetition::Count(_));
    let key = match meant(context, index, counted)? {
        Meant::One(key) => key,
        Meant::Later => return Ok((Value::unknown(Type::Any), 2)),
        Meant::Whole => return Ok((all_instances(scope, resource, (&address, &known))?, 1)),
    };
    let address = address.with_key(Some(key));
    if known.has_failed(&address.key) {
        return Err(Failed);
    }
    if let Some(value) = one_instance(scope, (&address, &known)) {
        return Ok((value, 2));
    }
    // Where a plan is carried out, instances are those that it decided on.
    let decided = || scope.applied.map(|applied| applied.keys(&address.block()).into_iter().collect());
    let Some(keys) = known.keys().or_else(decided).filter(|keys| !keys.contains(&address.key)) else {
        return Ok((Value::unknown(Type::Any), 2));
    };
    let diagnostic = missing(&address, &keys.into_iter().collect::<Vec<_>>());
    Err(context.report(diagnostic.related(resource.span, "declared here"), whole))
}

/// Says that there is no such instance.
fn missing(address: &Address, keys: &[Option<Key>]) -> Diagnostic {
    let diagnostic = Diagnostic::error("E0310", format!("`{address}` does not exist"));
    let names: Vec<String> = keys.iter().flatten().map(Key::to_string).collect();
    let diagnostic = diagnostic.detail(match keys.len() {
        0 => format!("`{}` has no instances.", address.block()),
        count => format!("`{}` has {count} instances.", address.block()),
    });
    let key = address.key.as_ref().map(Key::to_string).unwrap_or_default();
    match did_you_mean(&key, names.iter().map(String::as_str)) {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}

/// Returns the value of one instance: what was set, or what was applied.
fn one_instance(scope: &Scope<'_>, (address, known): (&Address, &Known)) -> Option<Value> {
    if let Some(value) = known.value(&address.key) {
        return Some(value);
    }
    let value = scope.applied?.value(address)?;
    known.set(&address.key, value.clone());
    Some(value)
}

/// Returns all instances of a resource as one value.
fn all_instances(scope: &Scope<'_>, resource: &Resource, (address, known): (&Address, &Known)) -> Outcome {
    if known.any_failed() {
        return Err(Failed);
    }
    if !resource.is_repeated() {
        return Ok(one_instance(scope, (address, known)).unwrap_or_else(|| Value::unknown(Type::Any)));
    }
    if let (None, Some(applied)) = (known.keys(), scope.applied) {
        let keys = applied.keys(address);
        for key in &keys {
            one_instance(scope, (&address.clone().with_key(key.clone()), known));
        }
        known.expand(Some(keys.into_iter().collect()));
    }
    Ok(known.gathered(matches!(resource.repetition, Repetition::Count(_))))
}
