//! Access to parts of values: attributes, indexes, splats.
//!
//! Unknown values yield unknown parts, of the type that is known; what a type cannot have is an error even then.
//! Invariant: a part of a sensitive value is sensitive.

use lustre_model::diagnostic::Diagnostic;
use lustre_model::types::Type;
use lustre_model::value::{Kind, Value};

use crate::evaluate::{Context, Failed, Outcome};
use crate::suggest::did_you_mean;
use crate::syntax::{Expr, Step};

impl Context<'_> {
    /// Applies steps in order; `whole` is what a diagnostic shows.
    pub(crate) fn steps(&mut self, mut value: Value, steps: &[Step], whole: &Expr) -> Outcome {
        for step in steps {
            let marked = value.is_sensitive();
            let next = match step {
                Step::Attribute(name, _) => self.attribute(&value, name, step, whole),
                Step::Index(index, _) => self.index(&value, index, step, whole),
                Step::Splat(each, _) => self.splat(&value, each, whole),
            };
            value = next?.marked(marked);
        }
        Ok(value)
    }

    fn attribute(&mut self, value: &Value, name: &str, step: &Step, whole: &Expr) -> Outcome {
        match value.kind() {
            Kind::Map(_, items) | Kind::Object(items, _) => match items.get(name) {
                Some(part) => Ok(part.clone()),
                None => Err(self.no_such_part(value, name, step, whole)),
            },
            Kind::Unknown(kind) => match part_type(kind, Some(name)) {
                Some(part) => Ok(Value::unknown(part)),
                None => Err(self.no_such_part(value, name, step, whole)),
            },
            Kind::Null(_) => {
                let diagnostic = Diagnostic::error("E0420", "attribute of null")
                    .detail(format!("The value is null, so it has no attribute `{name}`."));
                Err(self.report_step(diagnostic, step, whole))
            }
            Kind::Bool(_)
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::List(..)
            | Kind::Set(..)
            | Kind::Tuple(_) => Err(self.no_such_part(value, name, step, whole)),
        }
    }

    fn no_such_part(&mut self, value: &Value, name: &str, step: &Step, whole: &Expr) -> Failed {
        let names: Vec<&str> =
            value.as_map().into_iter().flat_map(|items| items.keys()).map(String::as_str).collect();
        let kind = value.type_of().friendly();
        let what =
            value.resource().map_or(format!("This {kind}"), |address| format!("`{}`", address.block()));
        let mut diagnostic = Diagnostic::error("E0421", format!("no attribute `{name}`"))
            .detail(format!("{what} has no attribute of that name."));
        let sequence = matches!(value.kind(), Kind::List(..) | Kind::Set(..) | Kind::Tuple(_));
        if let Some(hint) = did_you_mean(name, names) {
            diagnostic = diagnostic.hint(hint);
        } else if sequence {
            diagnostic = diagnostic.hint(format!("For that attribute of every element write `[*].{name}`."));
        } else if value
            .as_map()
            .is_some_and(|items| !items.is_empty() && items.values().all(|it| it.resource().is_some()))
        {
            diagnostic =
                diagnostic.hint("It has several instances: say which one in brackets, as in `[\"key\"]`.");
        }
        self.report_step(diagnostic, step, whole)
    }

    fn report_step(&mut self, diagnostic: Diagnostic, step: &Step, whole: &Expr) -> Failed {
        // What is wrong with an index is between its brackets.
        let span = match step {
            Step::Index(index, _) => index.span,
            Step::Attribute(..) | Step::Splat(..) => step.span(),
        };
        let at = Expr { kind: whole.kind.clone(), span };
        self.report(diagnostic, &at)
    }

    fn index(&mut self, value: &Value, index: &Expr, step: &Step, whole: &Expr) -> Outcome {
        let key = self.expression(index)?;
        let part = self.part(value, &key, step, whole)?;
        Ok(part.marked(key.is_sensitive()))
    }

    /// Returns the part under a key: a number for sequences, text for mappings.
    pub(crate) fn part(&mut self, value: &Value, key: &Value, step: &Step, whole: &Expr) -> Outcome {
        if key.is_null() || value.is_null() {
            let what = if key.is_null() { "the index is null" } else { "index into null" };
            return Err(self.report_step(Diagnostic::error("E0422", what), step, whole));
        }
        match value.kind() {
            Kind::List(..) | Kind::Tuple(_) => self.numbered(value, key, step, whole),
            Kind::Map(..) | Kind::Object(..) => self.named(value, key, step, whole),
            Kind::Unknown(kind) => {
                let name = key.as_str();
                let part = part_type(kind, name).or_else(|| element_type(kind));
                part.map(Value::unknown).ok_or_else(|| self.not_indexable(value, step, whole))
            }
            Kind::Null(_) | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Set(..) => {
                Err(self.not_indexable(value, step, whole))
            }
        }
    }

    fn not_indexable(&mut self, value: &Value, step: &Step, whole: &Expr) -> Failed {
        let kind = value.type_of().friendly();
        let mut diagnostic =
            Diagnostic::error("E0423", "value has no elements by index").detail(format!("It is a {kind}."));
        if matches!(value.kind(), Kind::Set(..)) {
            diagnostic =
                diagnostic.hint("A set has no order; convert it with `tolist(…)` or walk it with `for`.");
        }
        self.report_step(diagnostic, step, whole)
    }

    fn numbered(&mut self, value: &Value, key: &Value, step: &Step, whole: &Expr) -> Outcome {
        let items = value.as_list().unwrap_or(&[]);
        let Ok(number) = key.convert(&Type::Number) else {
            let detail = "Elements of a list are found by a number, from 0.";
            return Err(self.report_step(
                Diagnostic::error("E0424", "invalid index").detail(detail),
                step,
                whole,
            ));
        };
        if !number.is_known() {
            return Ok(Value::unknown(element_type(&value.type_of()).unwrap_or(Type::Any)));
        }
        let position = number.as_u64().and_then(|number| usize::try_from(number).ok());
        position.and_then(|position| items.get(position)).cloned().ok_or_else(|| {
            let detail = match items.len() {
                0 => "There are no elements.".to_owned(),
                1 => "There is one element, number 0.".to_owned(),
                count => format!("There are {count} elements, numbered from 0 to {}.", count - 1),
            };
            let diagnostic = Diagnostic::error("E0424", "invalid index").detail(detail);
            self.report_step(diagnostic, step, whole)
        })
    }

    fn named(&mut self, value: &Value, key: &Value, step: &Step, whole: &Expr) -> Outcome {
        let Some(items) = value.as_map() else { return Ok(Value::unknown(Type::Any)) };
        let Ok(name) = key.convert(&Type::String) else {
            let detail = "Elements of a map are found by text.";
            return Err(self.report_step(
                Diagnostic::error("E0424", "invalid index").detail(detail),
                step,
                whole,
            ));
        };
        let Some(name) = name.as_str() else {
            return Ok(Value::unknown(element_type(&value.type_of()).unwrap_or(Type::Any)));
        };
        if let Some(part) = items.get(name) {
            return Ok(part.clone());
        }
        let shown =
            if key.has_sensitive() { "that name".to_owned() } else { lustre_model::address::quote(name) };
        let mut diagnostic =
            Diagnostic::error("E0424", "invalid index").detail(format!("There is no element {shown}."));
        if let Some(hint) =
            did_you_mean(name, items.keys().map(String::as_str)).filter(|_| !key.has_sensitive())
        {
            diagnostic = diagnostic.hint(hint);
        }
        Err(self.report_step(diagnostic, step, whole))
    }

    fn splat(&mut self, value: &Value, each: &[Step], whole: &Expr) -> Outcome {
        let kind = value.type_of();
        let sequence = matches!(kind, Type::List(_) | Type::Set(_) | Type::Tuple(_));
        if value.is_null() && sequence {
            let diagnostic = Diagnostic::error("E0425", "splat of a null sequence");
            let diagnostic =
                diagnostic.detail("`[*]` on null is an empty tuple only where no list is expected.");
            return Err(self.report(diagnostic, whole));
        }
        if value.is_null() {
            return Ok(Value::tuple(Vec::new()));
        }
        if !value.is_known() && (sequence || kind == Type::Any) {
            return self.unknown_splat(&kind, each, whole);
        }
        // What is no sequence is the only element of one, unless it turns out to be null.
        let items: Vec<Value> = if sequence { value.parts().cloned().collect() } else { vec![value.clone()] };
        let results: Vec<Outcome> = items.into_iter().map(|item| self.steps(item, each, whole)).collect();
        let tuple = Value::tuple(results.into_iter().collect::<Result<_, _>>()?);
        if !value.is_definite() {
            return Ok(Value::unknown(Type::Any));
        }
        match &kind {
            Type::List(element) | Type::Set(element) if tuple.parts().next().is_none() => {
                let element = self.splat_type(element, each, whole)?;
                Ok(Value::list(element, Vec::new()))
            }
            Type::List(_) | Type::Set(_) => Ok(tuple.convert(&Type::list(Type::Any)).unwrap_or(tuple)),
            Type::Any
            | Type::Bool
            | Type::Number
            | Type::String
            | Type::Map(_)
            | Type::Tuple(_)
            | Type::Object(_) => Ok(tuple),
        }
    }

    /// The type of what a splat makes of an element that is not known.
    fn splat_type(&mut self, element: &Type, each: &[Step], whole: &Expr) -> Result<Type, Failed> {
        Ok(self.steps(Value::unknown(element.clone()), each, whole)?.type_of())
    }

    fn unknown_splat(&mut self, kind: &Type, each: &[Step], whole: &Expr) -> Outcome {
        let kind = match kind {
            Type::List(element) | Type::Set(element) => Type::list(self.splat_type(element, each, whole)?),
            Type::Tuple(elements) => {
                let types = elements.iter().map(|element| self.splat_type(element, each, whole));
                Type::Tuple(types.collect::<Result<_, _>>()?)
            }
            Type::Any | Type::Bool | Type::Number | Type::String | Type::Map(_) | Type::Object(_) => {
                return Ok(Value::unknown(Type::Any));
            }
        };
        Ok(Value::unknown(kind).definite())
    }
}

/// The type of an attribute of a type; none when it cannot have it.
fn part_type(kind: &Type, name: Option<&str>) -> Option<Type> {
    match kind {
        Type::Any => Some(Type::Any),
        Type::Map(element) => Some(element.as_ref().clone()),
        Type::Object(attributes) => attributes.get(name?).map(|attribute| attribute.kind.clone()),
        Type::Bool | Type::Number | Type::String | Type::List(_) | Type::Set(_) | Type::Tuple(_) => None,
    }
}

/// The type of an element whose index is not known; none when there are no elements by index.
fn element_type(kind: &Type) -> Option<Type> {
    match kind {
        Type::List(element) | Type::Map(element) => Some(element.as_ref().clone()),
        Type::Any | Type::Tuple(_) | Type::Object(_) => Some(Type::Any),
        Type::Bool | Type::Number | Type::String | Type::Set(_) => None,
    }
}
