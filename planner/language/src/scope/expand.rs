//! Expansion of `for_each` and `count` into instances, of resources and of modules.
//!
//! Invariant: keys are known and not sensitive, for they are part of addresses; there are at most [`INSTANCES_MAX`].

use std::sync::Arc;

use lustre_model::address::{Address, Key};
use lustre_model::diagnostic::Diagnostic;
use lustre_model::types::Type;
use lustre_model::value::{Kind, Value};

use crate::evaluate::{Context, Failed};
use crate::program::{Repetition, Resource};
use crate::scope::known::Expansion;
use crate::scope::{Instance, ModuleInstance, Scope};
use crate::syntax::Expr;

/// Most instances of one block.
pub const INSTANCES_MAX: usize = 1_000_000;

impl Scope<'_> {
    /// Expands a resource of an instance of a module into its instances; none when that failed.
    pub fn expand(&mut self, module: ModuleInstance, resource: &Resource) -> Vec<Instance> {
        let frame = self.frame(module);
        let address = frame.address(resource.address());
        let mut context = self.context(module);
        let instances = instances(&mut context, &resource.repetition, address.clone());
        self.collect(context);
        let keys = |all: &Vec<Instance>| all.iter().map(|it| it.address.key.clone()).collect();
        frame.known(&address).expand(instances.as_ref().ok().map(keys));
        instances.unwrap_or_default()
    }

    /// Returns one instance of a resource, when it has it; what is wrong otherwise was noted.
    pub fn instance(
        &self,
        module: ModuleInstance,
        resource: &Resource,
        key: Option<Key>,
    ) -> Option<Instance> {
        let address = self.frame(module).address(resource.address());
        let expansion = self.expansion(module, &resource.repetition, &address).ok()?;
        let each_value = expansion.get(&key)?.clone();
        Some(Instance { address: address.with_key(key), each_value })
    }

    /// Returns the instances of a block by key, perhaps those that an earlier run found.
    pub(super) fn expansion(
        &self,
        module: ModuleInstance,
        repetition: &Repetition,
        block: &Address,
    ) -> Result<Expansion, Failed> {
        if let Some(kept) = self.applied.and_then(|applied| applied.expansion(block)) {
            return Ok(kept);
        }
        let mut context = self.context(module);
        let instances = instances(&mut context, repetition, block.clone());
        self.collect(context);
        let keys = instances?.into_iter().map(|instance| (instance.address.key.clone(), instance.each_value));
        let expansion: Expansion = Arc::new(keys.collect());
        if let Some(applied) =
            self.applied.filter(|_| expansion.values().flatten().all(Value::is_wholly_known))
        {
            applied.keep(block, Arc::clone(&expansion));
        }
        Ok(expansion)
    }
}

/// Returns the instances of a block.
pub(super) fn instances(
    context: &mut Context<'_>,
    repetition: &Repetition,
    address: Address,
) -> Result<Vec<Instance>, Failed> {
    match repetition {
        Repetition::Single => Ok(vec![Instance { address, each_value: None }]),
        Repetition::Count(expression) => count(context, address, expression),
        Repetition::ForEach(expression) => for_each(context, address, expression),
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
        &format!("A block has at most {INSTANCES_MAX} instances."),
    )
}

fn count(context: &mut Context<'_>, address: Address, expression: &Expr) -> Result<Vec<Instance>, Failed> {
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
        |index| Instance { address: address.clone().with_key(Some(Key::Index(index))), each_value: None };
    Ok((0..number).map(instance).collect())
}

fn for_each(context: &mut Context<'_>, address: Address, expression: &Expr) -> Result<Vec<Instance>, Failed> {
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
        address: address.clone().with_key(Some(Key::Name(key))),
        each_value: Some(value),
    };
    Ok(entries.into_iter().map(instance).collect())
}
