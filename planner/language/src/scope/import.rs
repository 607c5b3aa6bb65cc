//! Evaluation of `import` blocks: which objects, under which ids.
//!
//! Done before anything else of a plan, so that ids come from variables and locals and from no resource.
//! Invariant: an id is known, not empty and not sensitive; it is shown.

use std::cell::RefCell;

use lustre_model::address::{Address, Key};
use lustre_model::diagnostic::{Diagnostic, Span};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::evaluate::{Context, Failed};
use crate::program::Import;
use crate::scope::{Instance, ModuleInstance, Scope};
use crate::syntax::Expr;

/// An object that is to be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Where it is to be recorded.
    pub address: Address,
    /// What it is known by.
    pub id: String,
    /// Where that is said.
    pub span: Span,
}

impl Scope<'_> {
    /// Evaluates the import blocks; those that failed are left out.
    pub fn imports(&self) -> Vec<Imported> {
        let mut imported = Vec::new();
        for import in &self.program.root().imports {
            let block = Address::new("import", "to");
            let Ok(expansion) = self.expansion(ModuleInstance::ROOT, &import.repetition, &block) else {
                continue;
            };
            for (key, each_value) in expansion.iter() {
                let address = block.clone().with_key(key.clone());
                let instance = Instance { address, each_value: each_value.clone() };
                let mut context = self.context(ModuleInstance::ROOT).within(&instance);
                let found = self.imported(&mut context, import);
                self.collect(context);
                imported.extend(found);
            }
        }
        imported
    }

    fn imported(&self, context: &mut Context<'_>, import: &Import) -> Result<Imported, Failed> {
        let id = context.evaluate_as(&import.id, &Type::String, "`id`")?;
        let id = shown(context, &id, (&import.id, "`id`"))?;
        let failed = RefCell::new(false);
        let context = RefCell::new(context);
        let key = |index: &Expr| {
            let context = &mut **context.borrow_mut();
            let key = evaluated_key(context, index);
            *failed.borrow_mut() |= key.is_err();
            key.ok().map(Some)
        };
        let endpoint = match self.program.root().shape(&import.to, key) {
            Ok(endpoint) => endpoint,
            Err(_) if *failed.borrow() => return Err(Failed),
            Err(diagnostic) => return Err(context.into_inner().refuse(*diagnostic)),
        };
        let Some((kind, name)) = endpoint.resource else {
            let diagnostic = Diagnostic::error("E0237", "a module cannot be imported").at(endpoint.span);
            let detail = "Name the resources in it one by one.";
            return Err(context.into_inner().refuse(diagnostic.detail(detail)));
        };
        let address = Address::new(kind, name).with_modules(endpoint.modules);
        Ok(Imported { address: address.with_key(endpoint.key), id, span: import.span })
    }
}

fn evaluated_key(context: &mut Context<'_>, index: &Expr) -> Result<Key, Failed> {
    let value = context.expression(index)?;
    if let Some(number) = value.as_u64().filter(|_| !value.is_sensitive()) {
        return Ok(Key::Index(number));
    }
    shown(context, &value, (index, "a key")).map(Key::Name)
}

/// Returns a text that may be shown.
fn shown(
    context: &mut Context<'_>,
    value: &Value,
    (expression, what): (&Expr, &str),
) -> Result<String, Failed> {
    let detail = match value.as_str() {
        _ if value.is_sensitive() => "It is shown in plans, so it cannot be sensitive.",
        Some("") => "It is empty.",
        Some(text) => return Ok(text.to_owned()),
        None if !value.is_known() => "It must be known before anything is applied.",
        None => "It is a text.",
    };
    let diagnostic = Diagnostic::error("E0238", format!("unsuitable value for {what} of an import"));
    Err(context.report(diagnostic.detail(detail), expression))
}
