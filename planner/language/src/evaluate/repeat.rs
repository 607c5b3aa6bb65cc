//! `for`: as an expression and as a directive of templates.
//!
//! Invariant: one evaluation takes at most [`STEPS_MAX`] steps, however loops are nested.

use std::collections::BTreeMap;

use lustre_model::diagnostic::Diagnostic;
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::evaluate::{Context, Failed, Outcome, STEPS_MAX, Text, elements};
use crate::syntax::{Expr, For, TemplateFor};

/// What a loop walks.
struct Walk {
    /// None when it is not known.
    items: Option<Vec<(Value, Value)>>,
    sensitive: bool,
}

impl Context<'_> {
    fn walk(&mut self, collection: &Expr) -> Result<Walk, Failed> {
        let value = self.expression(collection)?;
        let sensitive = value.is_sensitive();
        if value.is_null() {
            let diagnostic = Diagnostic::error("E0430", "`for` over null");
            return Err(
                self.report(diagnostic.detail("There is nothing to walk: the value is null."), collection)
            );
        }
        let kind = value.type_of();
        let walkable = match &kind {
            Type::Any | Type::List(_) | Type::Set(_) | Type::Map(_) | Type::Tuple(_) | Type::Object(_) => {
                true
            }
            Type::Bool | Type::Number | Type::String => false,
        };
        if !value.is_known() && walkable {
            return Ok(Walk { items: None, sensitive });
        }
        let Some(items) = elements(&value) else {
            let detail = format!(
                "`for` walks a list, set, map, tuple or object, but this is {}.",
                value.type_of().friendly()
            );
            let diagnostic = Diagnostic::error("E0431", "`for` over a value without elements").detail(detail);
            return Err(self.report(diagnostic, collection));
        };
        self.steps += items.len();
        if self.steps > STEPS_MAX {
            let detail = format!("One expression may take at most {STEPS_MAX} steps.");
            return Err(self.report(Diagnostic::error("E0432", "too many steps").detail(detail), collection));
        }
        Ok(Walk { items: Some(items), sensitive })
    }

    pub(super) fn for_expression(&mut self, it: &For) -> Outcome {
        let Walk { items, mut sensitive } = self.walk(&it.collection)?;
        let Some(items) = items else { return Ok(Value::unknown(Type::Any).marked(sensitive)) };
        let mut gathered = Gathered { known: true, entries: Vec::new() };
        let mut failed = false;
        for (key, value) in items {
            let names = names(it.key_name.as_deref(), &it.value_name, key, value);
            match self.with(names, |context| context.for_step(it, &mut gathered)) {
                Ok(marked) => sensitive |= marked,
                // One error is told for all elements that fail alike: places repeat, values differ.
                Err(Failed) => {
                    failed = true;
                    break;
                }
            }
        }
        if failed {
            return Err(Failed);
        }
        if !gathered.known {
            return Ok(Value::unknown(Type::Any).marked(sensitive));
        }
        let result = match &it.key {
            None => Value::tuple(gathered.entries.into_iter().map(|(_, value)| value).collect()),
            Some(key) => self.for_object(it, key, gathered.entries)?,
        };
        Ok(result.marked(sensitive))
    }

    /// Evaluates condition, key and value for one element; says whether the whole becomes sensitive.
    fn for_step(&mut self, it: &For, gathered: &mut Gathered) -> Result<bool, Failed> {
        let mut sensitive = false;
        if let Some(condition) = &it.condition {
            let condition = self.condition(condition, "the condition of `for`")?;
            sensitive |= condition.is_sensitive();
            match condition.as_bool() {
                Some(true) => {}
                Some(false) => return Ok(sensitive),
                None => gathered.known = false,
            }
        }
        let mut name = String::new();
        if let Some(key) = &it.key {
            let key = self.key(key)?;
            sensitive |= key.is_sensitive();
            match key.as_str() {
                Some(text) => text.clone_into(&mut name),
                None => gathered.known = false,
            }
        }
        let value = self.expression(&it.value)?;
        gathered.entries.push((name, value));
        Ok(sensitive)
    }

    fn for_object(&mut self, it: &For, key: &Expr, entries: Vec<(String, Value)>) -> Outcome {
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (name, value) in entries {
            let group = groups.entry(name.clone()).or_default();
            group.push(value);
            if group.len() > 1 && !it.grouping {
                let detail = format!("Two elements have the key {}.", lustre_model::address::quote(&name));
                let diagnostic = Diagnostic::error("E0433", "duplicate key").detail(detail);
                let diagnostic = diagnostic
                    .hint("Write `...` behind the value to gather the values of one key in a list.");
                return Err(self.report(diagnostic, key));
            }
        }
        if it.grouping {
            return Ok(Value::object(groups.into_iter().map(|(name, group)| (name, Value::tuple(group)))));
        }
        let single = groups.into_iter().filter_map(|(name, mut group)| Some((name, group.pop()?)));
        Ok(Value::object(single))
    }

    pub(super) fn for_directive(
        &mut self,
        it: &TemplateFor,
        text: &mut Text,
        whole: &Expr,
    ) -> Result<(), Failed> {
        let Walk { items, sensitive } = self.walk(&it.collection)?;
        text.sensitive |= sensitive;
        let Some(items) = items else {
            text.unknown = true;
            return Ok(());
        };
        for (key, value) in items {
            let names = names(it.key_name.as_deref(), &it.value_name, key, value);
            self.with(names, |context| context.render(&it.body, text, whole))?;
        }
        Ok(())
    }
}

struct Gathered {
    known: bool,
    entries: Vec<(String, Value)>,
}

fn names(key_name: Option<&str>, value_name: &str, key: Value, value: Value) -> Vec<(String, Value)> {
    let key = key_name.map(|name| (name.to_owned(), key));
    key.into_iter().chain([(value_name.to_owned(), value)]).collect()
}
