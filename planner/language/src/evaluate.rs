//! Evaluation of expressions.
//!
//! What fails is reported once, where it fails, and yields [`Failed`]; everything beside it is still evaluated, so that
//! one run finds all independent errors. Names come from a [`Scope`]; without one an expression must be constant.
//! Not here: what blocks mean.
//! Invariant: a result is sensitive if anything it was computed from is, and unknown rather than wrong.

use std::collections::{BTreeMap, HashMap};

use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::types::Type;
use lustre_model::value::{ConvertError, Kind, Value, unify};

use crate::mention;
use crate::scope::{Instance, ModuleInstance, Scope};
use crate::syntax::{Expr, ExprKind, Part, Step};
use crate::world::World;

mod access;
mod budget;
mod call;
mod operator;
mod repeat;

use self::budget::{Budget, KEPT_BYTES_MAX, whole_bytes};
pub(crate) use self::operator::equal;

/// Longest text that an expression may yield, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 20;

/// Most steps of `for` in one evaluation.
pub(crate) const STEPS_MAX: usize = 1_000_000;

/// Most parts of one value, parts of parts included.
pub(crate) const PARTS_MAX: usize = 2_000_000;

/// Deepest value.
pub(crate) const DEPTH_MAX: usize = 100;

/// Most values of references that a diagnostic shows.
const SHOWN_MAX: usize = 8;

/// It failed, and that was reported, here or where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

/// A value, unless it failed.
pub(crate) type Outcome = Result<Value, Failed>;

/// One evaluation: the names that are bound and what was found wrong.
pub(crate) struct Context<'a> {
    pub(crate) world: &'a dyn World,
    pub(crate) scope: Option<&'a Scope<'a>>,
    pub(crate) instance: Option<&'a Instance>,
    /// Whose names are meant.
    pub(crate) module: ModuleInstance,
    /// Texts of expressions that are no part of the program, for messages only.
    pub(crate) diagnostics: Diagnostics,
    /// Names bound by `for`, templates and iterators, innermost last.
    pub(crate) bound: Vec<(String, Value)>,
    /// Above zero nothing is reported.
    quiet: usize,
    steps: usize,
    budget: Budget,
    /// How many templates are being rendered within each other.
    templates: usize,
    /// The calls in which templates are being rendered, outermost first.
    template_path: Vec<Span>,
    /// How often each call drew at random.
    draws: HashMap<(u32, u32), u64>,
}

impl<'a> Context<'a> {
    /// Starts an evaluation.
    pub(crate) fn new(world: &'a dyn World, scope: Option<&'a Scope<'a>>) -> Self {
        Self {
            world,
            scope,
            instance: None,
            module: ModuleInstance::ROOT,
            diagnostics: Diagnostics::new(),
            bound: Vec::new(),
            quiet: 0,
            steps: 0,
            budget: Budget::default(),
            templates: 0,
            template_path: Vec::new(),
            draws: HashMap::new(),
        }
    }

    /// Takes names from an instance of a module.
    pub(crate) fn at(mut self, module: ModuleInstance) -> Self {
        self.module = module;
        self
    }

    /// Lets `each` and `count` speak of an instance.
    pub(crate) fn within(mut self, instance: &'a Instance) -> Self {
        self.instance = Some(instance);
        self
    }

    /// Reports what is wrong with an expression, with the values of its references.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic, expression: &Expr) -> Failed {
        if self.quiet > 0 {
            return Failed;
        }
        let mut diagnostic = diagnostic.at(expression.span);
        let shown: Vec<(Span, Expr)> = mention::references(expression)
            .take(SHOWN_MAX)
            .map(|reference| (reference.span, as_expression(&reference)))
            .collect();
        for (span, reference) in shown {
            let text = self.scope.map(|scope| scope.text(span).to_owned()).unwrap_or_default();
            let value = self.quietly(|context| context.expression(&reference));
            let known = diagnostic.values.iter().any(|value| value.traversal == text);
            if let (Ok(value), false, false) = (value, text.is_empty(), known) {
                diagnostic = diagnostic.referenced(text, value.statement());
            }
        }
        self.refuse(diagnostic)
    }

    /// Reports what already has its place.
    pub(crate) fn refuse(&mut self, diagnostic: Diagnostic) -> Failed {
        if self.quiet == 0 {
            let own = self.instance.map(|instance| &instance.address).filter(|it| it.is_one_of_many());
            let around = || self.scope.and_then(|scope| scope.frame_address(self.module));
            self.diagnostics.push(match own.cloned().or_else(around) {
                Some(address) => diagnostic.instance(address),
                None => diagnostic,
            });
        }
        Failed
    }

    /// Evaluates without reporting.
    pub(crate) fn quietly<T>(&mut self, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.quiet += 1;
        let result = inside(self);
        self.quiet -= 1;
        result
    }

    /// Evaluates and keeps what is found wrong apart, so that it can be dropped.
    fn tentatively<T>(&mut self, inside: impl FnOnce(&mut Self) -> T) -> (T, Diagnostics) {
        let before = std::mem::take(&mut self.diagnostics);
        let result = inside(self);
        (result, std::mem::replace(&mut self.diagnostics, before))
    }

    /// Evaluates with a name bound.
    fn with<T>(&mut self, names: Vec<(String, Value)>, inside: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.bound.len();
        self.bound.extend(names);
        let result = inside(self);
        self.bound.truncate(before);
        result
    }

    /// Evaluates an expression and refuses results beyond all measure.
    pub(crate) fn evaluate(&mut self, expression: &Expr) -> Outcome {
        let value = self.expression(expression)?;
        let detail = if !measure(&value, DEPTH_MAX, &mut PARTS_MAX.clone()) {
            format!("A value has at most {PARTS_MAX} parts, nested at most {DEPTH_MAX} deep.")
        } else if self.scope.is_some_and(|scope| scope.keep(whole_bytes(&value)) > KEPT_BYTES_MAX) {
            format!("All values of a spec together have at most {} MiB.", KEPT_BYTES_MAX >> 20)
        } else {
            return Ok(value);
        };
        Err(self.refuse(Diagnostic::error("E0401", "value is too large").detail(detail).at(expression.span)))
    }

    /// Evaluates an expression and converts the result.
    pub(crate) fn evaluate_as(&mut self, expression: &Expr, wanted: &Type, what: &str) -> Outcome {
        let value = self.evaluate(expression)?;
        self.convert(&value, wanted, expression, what)
    }

    pub(crate) fn expression(&mut self, expression: &Expr) -> Outcome {
        match &expression.kind {
            ExprKind::Literal(value) => Ok(value.clone()),
            ExprKind::Template(parts) => self.template(parts, expression),
            ExprKind::Tuple(items) => self.all(items).map(Value::tuple),
            ExprKind::Object(items) => self.object(items),
            ExprKind::Variable(_) => self.reference(expression, expression, &[]),
            ExprKind::Access(base, steps) => self.reference(expression, base, steps),
            ExprKind::Call(call) => self.call(call, expression),
            ExprKind::Conditional(condition, then, otherwise) => {
                self.conditional(expression, [condition, then, otherwise])
            }
            ExprKind::Unary(operator, operand) => self.unary(*operator, operand),
            ExprKind::Binary(operator, left, right) => self.binary(*operator, [left, right], expression),
            ExprKind::For(it) => self.for_expression(it),
        }
    }

    /// Evaluates all, also behind the first that fails.
    pub(crate) fn all(&mut self, items: &[Expr]) -> Result<Vec<Value>, Failed> {
        let results: Vec<Outcome> = items.iter().map(|item| self.expression(item)).collect();
        results.into_iter().collect()
    }

    fn object(&mut self, items: &[(Expr, Expr)]) -> Outcome {
        let results: Vec<Result<(Value, Value), Failed>> = items
            .iter()
            .map(|(key, value)| {
                let key = self.key(key);
                let value = self.expression(value);
                Ok((key?, value?))
            })
            .collect();
        let items = results.into_iter().collect::<Result<Vec<_>, Failed>>()?;
        let marked = items.iter().any(|(key, _)| key.is_sensitive());
        if items.iter().any(|(key, _)| !key.is_known()) {
            return Ok(Value::unknown(Type::Any).marked(marked));
        }
        let named = items.into_iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)));
        Ok(Value::object(named).marked(marked))
    }

    /// Evaluates the key of an object or map: text, not null.
    fn key(&mut self, expression: &Expr) -> Outcome {
        let key = self.expression(expression)?;
        if key.is_null() {
            return Err(self.report(Diagnostic::error("E0402", "null is no key"), expression));
        }
        self.convert(&key, &Type::String, expression, "a key")
    }

    /// Converts, and reports what does not convert as `what`.
    pub(crate) fn convert(&mut self, value: &Value, wanted: &Type, expression: &Expr, what: &str) -> Outcome {
        value.convert(wanted).map_err(|error| self.unsuitable(&error, expression, what))
    }

    fn unsuitable(&mut self, error: &ConvertError, expression: &Expr, what: &str) -> Failed {
        let diagnostic = Diagnostic::error("E0403", format!("unsuitable value for {what}"));
        self.report(diagnostic.detail(format!("{error}.")), expression)
    }

    /// Converts to a boolean that is there, or is unknown.
    pub(crate) fn condition(&mut self, expression: &Expr, what: &str) -> Outcome {
        let value = self.expression(expression)?;
        let value = self.convert(&value, &Type::Bool, expression, what)?;
        if value.is_null() {
            let diagnostic = Diagnostic::error("E0404", format!("{what} is null"));
            return Err(self.report(diagnostic.detail("It must be true or false."), expression));
        }
        Ok(value)
    }

    fn conditional(&mut self, whole: &Expr, [condition, then, otherwise]: [&Expr; 3]) -> Outcome {
        let condition = self.condition(condition, "the condition")?;
        // The branch that is not taken gives only its type and its mark; what is wrong in it does not matter.
        let (then, otherwise) = match condition.as_bool() {
            Some(true) => (self.expression(then)?, self.untaken(otherwise)),
            Some(false) => (self.expression(otherwise)?, self.untaken(then)),
            None => return self.undecided(whole, &condition, [then, otherwise]),
        };
        if same_resources(&then, &otherwise) {
            return Ok(then.marked(condition.is_sensitive() || otherwise.is_sensitive()));
        }
        let common = self.common_result(whole, [&then, &otherwise])?;
        let converted = self.convert(&then, &common, whole, "the result of a conditional")?;
        Ok(converted.marked(condition.is_sensitive() || otherwise.is_sensitive()))
    }

    /// Returns the value of the branch that is not taken; of one that fails as much as can be told without it.
    fn untaken(&mut self, branch: &Expr) -> Value {
        let value = self.quietly(|context| context.expression(branch));
        value.unwrap_or_else(|Failed| match &branch.kind {
            ExprKind::Tuple(items) => Value::tuple(items.iter().map(literal).collect::<Vec<_>>()),
            ExprKind::Object(items) => {
                let named = items.iter().map(|(key, value)| {
                    let key = literal(key);
                    Some((key.as_str()?.to_owned(), literal(value)))
                });
                named.collect::<Option<Vec<_>>>().map_or(Value::unknown(Type::Any), Value::object)
            }
            ExprKind::Literal(_)
            | ExprKind::Template(_)
            | ExprKind::Variable(_)
            | ExprKind::Access(..)
            | ExprKind::Call(_)
            | ExprKind::Conditional(..)
            | ExprKind::Unary(..)
            | ExprKind::Binary(..)
            | ExprKind::For(_) => literal(branch),
        })
    }

    /// A conditional whose condition is not known: a branch that fails may not be the one.
    fn undecided(&mut self, whole: &Expr, condition: &Value, branches: [&Expr; 2]) -> Outcome {
        let [then, otherwise] = branches.map(|branch| {
            self.quietly(|context| context.expression(branch)).unwrap_or(Value::unknown(Type::Any))
        });
        let same = same_resources(&then, &otherwise) || same_resources(&otherwise, &then);
        let common = if same { Type::Any } else { self.common_result(whole, [&then, &otherwise])? };
        let marked = condition.is_sensitive() || then.is_sensitive() || otherwise.is_sensitive();
        if then.is_null() && otherwise.is_null() {
            return Ok(Value::null(common).marked(marked));
        }
        let empty = |value: &Value| {
            value.as_number().is_some() || value.parts().next().is_none() && value.as_str().is_none()
        };
        let (bare, other) = (then.unmarked(), otherwise.unmarked());
        if bare == other && bare.is_definite() && bare.is_known() && empty(&bare) && bare.as_bool().is_none()
        {
            return Ok(bare.marked(marked));
        }
        let marked = marked || then.has_sensitive() || otherwise.has_sensitive();
        let result = Value::unknown(common).marked(marked);
        Ok(if then.is_definite() && otherwise.is_definite() { result.definite() } else { result })
    }

    /// The type of a conditional; any while one of its results may still have any.
    fn common_result(&mut self, whole: &Expr, results: [&Value; 2]) -> Result<Type, Failed> {
        if results.iter().any(|value| matches!(value.kind(), Kind::Unknown(Type::Any))) {
            return Ok(Type::Any);
        }
        let types = results.map(Value::type_of);
        unify(&types).ok_or_else(|| {
            let [a, b] = types.map(|kind| kind.friendly());
            let diagnostic = Diagnostic::error("E0405", "inconsistent result types of a conditional");
            let detail = format!("Both results must have one type, but one is {a} and the other {b}.");
            self.report(diagnostic.detail(detail), whole)
        })
    }

    /// Evaluates a root name, or any other base, and the steps behind it.
    fn reference(&mut self, whole: &Expr, base: &Expr, steps: &[Step]) -> Outcome {
        let ExprKind::Variable(root) = &base.kind else {
            let value = self.expression(base)?;
            return self.steps(value, steps, whole);
        };
        if let Some((_, value)) = self.bound.iter().rev().find(|(name, _)| name == root) {
            let value = value.clone();
            return self.steps(value, steps, whole);
        }
        let Some(scope) = self.scope else {
            let diagnostic = Diagnostic::error("E0406", "references are not allowed here");
            return Err(self.report(diagnostic.detail("The value must be written out."), whole));
        };
        let (value, used) = scope.resolve(self, root, steps, whole)?;
        self.steps(value, steps.get(used..).unwrap_or(&[]), whole)
    }

    /// Evaluates a template; one interpolation alone keeps the type of its value.
    pub(crate) fn template(&mut self, parts: &[Part], whole: &Expr) -> Outcome {
        if let [Part::Interpolation(inner)] = parts {
            return self.expression(inner);
        }
        let mut text = Text::default();
        self.render(parts, &mut text, whole)?;
        let value = text.into_value();
        let made = self.budget.make(&value, whole.span);
        made.map_err(|diagnostic| self.refuse(*diagnostic))?;
        Ok(value)
    }

    fn render(&mut self, parts: &[Part], text: &mut Text, whole: &Expr) -> Result<(), Failed> {
        let mut result = Ok(());
        for part in parts {
            let rendered = match part {
                Part::Literal(literal) => {
                    text.written.push_str(literal);
                    Ok(())
                }
                Part::Interpolation(inner) => self.interpolation(inner, text),
                Part::If(condition, then, otherwise) => {
                    self.if_directive(condition, [then, otherwise], text, whole)
                }
                Part::For(it) => self.for_directive(it, text, whole),
            };
            result = result.and(rendered);
            if text.written.len() > TEXT_BYTES_MAX {
                let detail = format!("A text has at most {} MiB.", TEXT_BYTES_MAX >> 20);
                return Err(
                    self.refuse(Diagnostic::error("E0407", "text is too long").detail(detail).at(whole.span))
                );
            }
        }
        result
    }

    fn interpolation(&mut self, inner: &Expr, text: &mut Text) -> Result<(), Failed> {
        let value = self.expression(inner)?;
        if value.is_null() {
            let diagnostic = Diagnostic::error("E0408", "null in a text");
            let hint = "Give it a value with `coalesce(…)`, or leave it out with a condition.";
            return Err(
                self.report(diagnostic.detail("A null cannot be written into a text.").hint(hint), inner)
            );
        }
        let value = self.convert(&value, &Type::String, inner, "a text")?;
        text.push(&value);
        Ok(())
    }

    fn if_directive(
        &mut self,
        condition: &Expr,
        [then, otherwise]: [&[Part]; 2],
        text: &mut Text,
        whole: &Expr,
    ) -> Result<(), Failed> {
        let condition = self.condition(condition, "the condition of `%{if}`")?;
        text.sensitive |= condition.is_sensitive();
        match condition.as_bool() {
            Some(true) => self.render(then, text, whole),
            Some(false) => self.render(otherwise, text, whole),
            None => {
                text.unknown = true;
                Ok(())
            }
        }
    }
}

/// A text in the making.
#[derive(Debug, Default)]
pub(crate) struct Text {
    written: String,
    sensitive: bool,
    unknown: bool,
}

impl Text {
    fn push(&mut self, value: &Value) {
        self.sensitive |= value.is_sensitive();
        match value.as_str() {
            Some(piece) => self.written.push_str(piece),
            None => self.unknown = true,
        }
    }

    pub(crate) fn into_value(self) -> Value {
        let value = if self.unknown { Value::unknown(Type::String).definite() } else { self.written.into() };
        value.marked(self.sensitive)
    }
}

fn as_expression(reference: &mention::Reference<'_>) -> Expr {
    let base = Expr { kind: ExprKind::Variable(reference.root.to_owned()), span: reference.span };
    let plain = reference.steps.iter().take_while(|step| match step {
        Step::Attribute(..) => true,
        Step::Index(index, _) => matches!(index.kind, ExprKind::Literal(_)),
        Step::Splat(..) => false,
    });
    let steps: Vec<Step> = plain.cloned().collect();
    Expr { kind: ExprKind::Access(Box::new(base), steps), span: reference.span }
}

/// Returns a value that is written out; one that is not may be any.
fn literal(expression: &Expr) -> Value {
    match &expression.kind {
        ExprKind::Literal(value) => value.clone(),
        ExprKind::Template(_) => Value::unknown(Type::String),
        ExprKind::Tuple(_)
        | ExprKind::Object(_)
        | ExprKind::Variable(_)
        | ExprKind::Access(..)
        | ExprKind::Call(_)
        | ExprKind::Conditional(..)
        | ExprKind::Unary(..)
        | ExprKind::Binary(..)
        | ExprKind::For(_) => Value::unknown(Type::Any),
    }
}

/// Says whether a conditional leaves its result alone: both are resources of one kind, or collections of them, which may have
/// different attributes and would lose what they are if they were made alike.
fn same_resources(taken: &Value, other: &Value) -> bool {
    match (resources_in(taken), resources_in(other)) {
        (Some(taken), Some(other)) => taken == other,
        (Some(_), None) => elements(other).is_some_and(|items| items.is_empty()),
        (None, _) => false,
    }
}

/// Returns the kind of the resources that a value is made of and nothing else, and how deep they are in it.
fn resources_in(value: &Value) -> Option<(&str, usize)> {
    if let Some(address) = value.resource() {
        return Some((&address.kind, 0));
    }
    let mut parts = value.parts().map(resources_in);
    let (kind, depth) = parts.next()??;
    parts.all(|part| part == Some((kind, depth))).then_some((kind, depth + 1))
}

/// Says whether a value is within bounds; `parts` is used up.
fn measure(value: &Value, depth: usize, parts: &mut usize) -> bool {
    if depth == 0 || *parts == 0 {
        return false;
    }
    *parts -= 1;
    value.parts().all(|part| measure(part, depth - 1, parts))
}

/// Returns what `for` walks: keys and values in order; none when the value has no elements.
pub(crate) fn elements(value: &Value) -> Option<Vec<(Value, Value)>> {
    let numbered = |items: &[Value]| {
        items.iter().enumerate().map(|(at, item)| (Value::from(at), item.clone())).collect::<Vec<_>>()
    };
    let named = |items: &BTreeMap<String, Value>| {
        items.iter().map(|(name, item)| (Value::from(name.as_str()), item.clone())).collect::<Vec<_>>()
    };
    match value.kind() {
        Kind::List(_, items) | Kind::Tuple(items) => Some(numbered(items)),
        Kind::Set(_, items) => Some(items.iter().map(|item| (item.clone(), item.clone())).collect()),
        Kind::Map(_, items) | Kind::Object(items, _) => Some(named(items)),
        Kind::Null(_) | Kind::Unknown(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax;
    use crate::world::EmptyWorld;

    #[test]
    fn loops_end_when_the_steps_are_used_up() {
        let mut sources = lustre_model::diagnostic::Sources::default();
        let id = sources.add("x", "[for a in [1, 2] : [for b in [3, 4] : b]]");
        let mut context = Context::new(&EmptyWorld, None);
        let expression = syntax::parse_expression(&sources, id, &mut context.diagnostics).unwrap();
        context.steps = STEPS_MAX - 6;
        assert!(context.evaluate(&expression).is_ok());
        context.steps = STEPS_MAX - 5;
        assert_eq!(context.evaluate(&expression), Err(Failed));
        assert_eq!(context.diagnostics.iter().next().unwrap().code, "E0432");
    }
}
