//! Evaluation of one resource instance: its body, its `dynamic` blocks and its `lifecycle`.
//!
//! Invariant: every attribute is evaluated, also behind one that fails.

use lustre_model::address::Key;
use lustre_model::diagnostic::Diagnostic;
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::body::{Attribute, Block, Body, Evaluated, Label, Lifecycle};
use crate::evaluate::{Context, Failed, elements};
use crate::mention;
use crate::program::Resource;
use crate::scope::{Instance, Scope};
use crate::suggest::did_you_mean;
use crate::syntax::{BlockSyntax, BodySyntax, Expr, Step};

impl Scope<'_> {
    /// Evaluates an instance. When something fails the instance is poisoned: what depends on it fails silently.
    pub fn evaluate(&mut self, resource: &Resource, instance: &Instance) -> Evaluated {
        let Some(module) = self.module(&instance.address.modules) else {
            let body =
                Body { attributes: indexmap::IndexMap::new(), blocks: Vec::new(), span: resource.span };
            return Evaluated { body, lifecycle: Lifecycle::default(), complete: false };
        };
        let mut context = self.context(module).within(instance);
        let (body, mut complete) = body(&mut context, &resource.body);
        let (lifecycle, sound) = self.lifecycle(&mut context, resource);
        let what = format!("the precondition of `{}`", instance.address);
        let holds = self.checks(&mut context, &resource.lifecycle.preconditions, &what);
        self.collect(context);
        complete &= sound && holds;
        if !complete {
            self.poison(&instance.address);
        }
        Evaluated { body, lifecycle, complete }
    }

    /// Checks the postconditions of an instance whose value was set; one that is still unknown holds for now.
    pub fn postconditions_hold(&self, resource: &Resource, instance: &Instance) -> bool {
        let Some(module) = self.module(&instance.address.modules) else { return false };
        let mut context = self.context(module).within(instance);
        let what = format!("the postcondition of `{}`", instance.address);
        let holds = self.checks(&mut context, &resource.lifecycle.postconditions, &what);
        self.collect(context);
        holds
    }

    fn lifecycle(&self, context: &mut Context<'_>, resource: &Resource) -> (Lifecycle, bool) {
        let syntax = &resource.lifecycle;
        let mut flag = |expression: &Option<Expr>, name: &str| match expression {
            None => Ok(None),
            Some(expression) => known_flag(context, expression, name).map(Some),
        };
        let prevent_destroy = flag(&syntax.prevent_destroy, "`prevent_destroy`");
        let create_before_destroy = flag(&syntax.create_before_destroy, "`create_before_destroy`");
        let complete = prevent_destroy.is_ok() && create_before_destroy.is_ok();
        let replace_triggered_by = syntax.replace_triggered_by.iter().filter_map(|expression| {
            // What names no resource was reported.
            let reference = mention::references(expression).next()?;
            let frame = self.frame(context.module);
            let target = self.module_at(&frame).resource(reference.root, reference.name(0)?)?;
            let index = match reference.steps.get(1) {
                Some(Step::Index(index, _)) => Some(index),
                Some(Step::Attribute(..) | Step::Splat(..)) | None => None,
            };
            let key = index.and_then(|index| triggering_key(context, index));
            let attribute = reference.name(if index.is_some() { 2 } else { 1 }).map(str::to_owned);
            Some((frame.address(target.address()).with_key(key), attribute))
        });
        let lifecycle = Lifecycle {
            // What failed was reported; until it is mended the safe side is taken.
            prevent_destroy: prevent_destroy.unwrap_or(Some(true)),
            create_before_destroy: create_before_destroy.ok().flatten().unwrap_or(false),
            ignore_changes: syntax.ignore_changes.clone(),
            ignore_all: syntax.ignore_all,
            replace_triggered_by: replace_triggered_by.collect(),
        };
        (lifecycle, complete)
    }
}

/// Returns which instance triggers; any when that is known only after apply.
fn triggering_key(context: &mut Context<'_>, index: &Expr) -> Option<Key> {
    let value = context.expression(index).ok()?.unmarked();
    value.as_str().map(|name| Key::Name(name.to_owned())).or_else(|| value.as_u64().map(Key::Index))
}

fn known_flag(context: &mut Context<'_>, expression: &Expr, name: &str) -> Result<bool, Failed> {
    let value = context.condition(expression, name)?;
    value.as_bool().ok_or_else(|| {
        let diagnostic = Diagnostic::error("E0702", format!("{name} is known only after apply"));
        context.report(diagnostic, expression)
    })
}

/// Evaluates a body; says whether all of it could be.
pub(super) fn body(context: &mut Context<'_>, syntax: &BodySyntax) -> (Body, bool) {
    let mut complete = true;
    let mut body = Body { attributes: indexmap::IndexMap::new(), blocks: Vec::new(), span: syntax.span };
    for (name, attribute) in &syntax.attributes {
        let value = context.evaluate(&attribute.value);
        complete &= value.is_ok();
        let value = value.unwrap_or_else(|Failed| Value::unknown(Type::Any));
        let evaluated = Attribute { value, span: attribute.value.span, name_span: attribute.name_span };
        body.attributes.insert(name.clone(), evaluated);
    }
    for block in &syntax.blocks {
        if block.kind == "dynamic" {
            match dynamic(context, block) {
                Ok((blocks, sound)) => {
                    complete &= sound;
                    body.blocks.extend(blocks);
                }
                Err(Failed) => complete = false,
            }
            continue;
        }
        let (inner, sound) = self::body(context, &block.body);
        complete &= sound;
        let labels = block.labels.clone();
        body.blocks.push(Block { kind: block.kind.clone(), labels, body: inner, span: block.header_span });
    }
    (body, complete)
}

fn refuse(context: &mut Context<'_>, at: &Expr, summary: &str) -> Failed {
    context.report(Diagnostic::error("E0703", summary), at)
}

/// Evaluates a block `dynamic` into the blocks it stands for.
fn dynamic(context: &mut Context<'_>, syntax: &BlockSyntax) -> Result<(Vec<Block>, bool), Failed> {
    let (Some(label), Some(iterator)) = (syntax.labels.first(), syntax.iterator()) else {
        return Err(misshapen(context, syntax, "`dynamic` has one label: the type of the blocks it makes."));
    };
    let known = ["for_each", "iterator", "labels"];
    if let Some((name, attribute)) =
        syntax.body.attributes.iter().find(|(name, _)| !known.contains(&name.as_str()))
    {
        let mut diagnostic = Diagnostic::error("E0211", format!("unknown argument `{name}` in `dynamic`"));
        diagnostic.hint =
            did_you_mean(name, known).or(Some("What the blocks contain goes into `content { … }`.".into()));
        return Err(context.refuse(diagnostic.at(attribute.name_span)));
    }
    let [content] = syntax.body.blocks.as_slice() else {
        return Err(misshapen(context, syntax, "`dynamic` has one block `content`."));
    };
    let Some(for_each) = syntax.body.attributes.get("for_each").filter(|_| content.kind == "content") else {
        return Err(misshapen(context, syntax, "`dynamic` needs `for_each` and a block `content`."));
    };
    let collection = context.evaluate(&for_each.value)?;
    let Some(items) = elements(&collection) else {
        let unknown = "`for_each` of a dynamic block is known only after apply";
        let summary =
            if collection.is_known() { "`for_each` of a dynamic block has no elements" } else { unknown };
        return Err(refuse(context, &for_each.value, summary));
    };
    let mut blocks = Vec::new();
    let mut complete = true;
    for (key, value) in items {
        let each = Value::object([("key", key), ("value", value.marked(collection.is_sensitive()))]);
        let before = context.bound.len();
        context.bound.push((iterator.to_owned(), each));
        let labels = dynamic_labels(context, syntax);
        let (inner, sound) = body(context, &content.body);
        context.bound.truncate(before);
        complete &= sound;
        blocks.push(Block {
            kind: label.text.clone(),
            labels: labels?,
            body: inner,
            span: syntax.header_span,
        });
    }
    Ok((blocks, complete))
}

fn misshapen(context: &mut Context<'_>, syntax: &BlockSyntax, detail: &str) -> Failed {
    let diagnostic = Diagnostic::error("E0704", "invalid dynamic block").detail(detail);
    context.refuse(diagnostic.at(syntax.header_span))
}

fn dynamic_labels(context: &mut Context<'_>, syntax: &BlockSyntax) -> Result<Vec<Label>, Failed> {
    let Some(attribute) = syntax.body.attributes.get("labels") else { return Ok(Vec::new()) };
    let value = context.evaluate_as(&attribute.value, &Type::list(Type::String), "`labels`")?;
    if !value.is_wholly_known() {
        return Err(refuse(context, &attribute.value, "`labels` are known only after apply"));
    }
    let texts = value.parts().filter_map(Value::as_str);
    Ok(texts.map(|text| Label { text: text.to_owned(), span: attribute.value.span }).collect())
}
