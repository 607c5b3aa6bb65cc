//! Values of variables: from values files, the command line and the environment, to what `var` means.
//!
//! Text given to a variable of type `string`, `number`, `bool` or `any` is taken literally; for other types it is an
//! expression: `-var 'hosts=["a", "b"]'`. Values are constants: they refer to nothing and call nothing.
//! Invariant: a variable has a value of its type, or failed and that was reported.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Sources, Span};
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::evaluate::{Context, Failed, Outcome};
use crate::program::{Module, Program, Variable};
use crate::stray;
use crate::suggest::did_you_mean;
use crate::syntax::{self, Expr};
use crate::world::EmptyWorld;

/// A value for a variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The variable.
    pub name: String,
    /// What is given.
    pub given: Given,
    /// Where it comes from.
    pub origin: Origin,
}

/// What is given for a variable.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// Text, as from a shell.
    Text(String),
    /// A value, as from a file.
    Value(Value),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `-var`
    CommandLine,
    /// A variable of the environment, by its name.
    Environment(String),
    /// A values file.
    File(Span),
}

impl Origin {
    fn place(&self, diagnostic: Diagnostic) -> Diagnostic {
        match self {
            Self::CommandLine => diagnostic,
            Self::Environment(name) => diagnostic.hint(format!("It comes from the environment: {name}.")),
            Self::File(span) => diagnostic.at(*span),
        }
    }
}

impl Program {
    /// Reads a values file (`*.vars.hcl`): attributes only, each a constant.
    pub fn read_values(&mut self, name: &str, text: &str) -> (Vec<Input>, Diagnostics) {
        let id = self.sources.add(name, text);
        let mut diagnostics = Diagnostics::new();
        let body = syntax::parse(&self.sources, id, &mut diagnostics);
        for block in &body.blocks {
            let diagnostic = Diagnostic::error("E0603", "block in a values file").at(block.header_span);
            diagnostics.push(diagnostic.detail("A values file holds only `name = value`."));
        }
        let mut inputs = Vec::new();
        for (name, attribute) in body.attributes {
            if let Some(variable) = self.root().variables.get(&name) {
                stray::report(&attribute.value, &variable.constraint, &name, &mut diagnostics);
            }
            let mut context = Context::new(&EmptyWorld, None);
            if let Ok(value) = context.evaluate(&attribute.value) {
                let origin = Origin::File(attribute.name_span.to(attribute.value.span));
                inputs.push(Input { name, given: Given::Value(value), origin });
            }
            diagnostics.extend(context.diagnostics);
        }
        (inputs, diagnostics)
    }
}

/// Gives every variable of the root its value.
pub(crate) fn bind(
    module: &Module,
    inputs: &[Input],
    diagnostics: &mut Diagnostics,
) -> IndexMap<String, Outcome> {
    let mut given: BTreeMap<&str, &Input> = BTreeMap::new();
    for input in inputs {
        if let Some(variable) = module.variables.get(&input.name) {
            diagnostics.extend(variable.deprecated.as_ref().map(|why| {
                let summary = format!("variable `{}` is deprecated", input.name);
                input.origin.place(Diagnostic::warning("W0609", summary).detail(why))
            }));
            given.insert(&input.name, input);
        } else {
            diagnostics.extend(undeclared(module, input));
        }
    }
    let bound = module.variables.values().map(|variable| {
        let value = match given.get(variable.name.as_str()) {
            Some(input) => from_input(variable, input, diagnostics),
            None => from_default(variable, diagnostics),
        };
        (variable.name.clone(), value.map(|value| value.marked(variable.is_hidden())))
    });
    bound.collect()
}

fn undeclared(module: &Module, input: &Input) -> Option<Diagnostic> {
    let summary = format!("value for undeclared variable `{}`", input.name);
    let hint = did_you_mean(&input.name, module.variables.keys().map(String::as_str));
    let mut diagnostic = match &input.origin {
        Origin::CommandLine if !module.incomplete => Diagnostic::error("E0604", summary),
        Origin::File(_) if !module.incomplete => Diagnostic::warning("W0604", summary),
        // The environment is shared with other folders, and the declaration may be in what did not parse.
        Origin::CommandLine | Origin::File(_) | Origin::Environment(_) => return None,
    };
    diagnostic.hint = hint;
    Some(input.origin.place(diagnostic))
}

pub(crate) fn from_default(variable: &Variable, diagnostics: &mut Diagnostics) -> Outcome {
    let Some(default) = &variable.default else {
        let diagnostic = Diagnostic::error("E0605", format!("no value for variable `{}`", variable.name));
        let hint = format!("Give it one: -var '{}=…', or in a file `*.auto.vars.hcl`.", variable.name);
        diagnostics.push(diagnostic.hint(hint).at(variable.span));
        return Err(Failed);
    };
    let mut context = Context::new(&EmptyWorld, None);
    let value = context.evaluate(default).and_then(|value| {
        if value.is_null() && !variable.nullable {
            let diagnostic =
                Diagnostic::error("E0606", format!("default of variable `{}` is null", variable.name));
            return Err(context.report(diagnostic.detail("It says `nullable = false`."), default));
        }
        context.convert(
            &value,
            &variable.constraint,
            default,
            &format!("the default of variable `{}`", variable.name),
        )
    });
    diagnostics.extend(context.diagnostics);
    value
}

fn from_input(variable: &Variable, input: &Input, diagnostics: &mut Diagnostics) -> Outcome {
    let value = match &input.given {
        Given::Value(value) => value.clone(),
        Given::Text(text) if variable.constraint.is_primitive() || variable.constraint == Type::Any => {
            text.as_str().into()
        }
        Given::Text(text) => parse(text, variable, input, diagnostics)?,
    };
    if value.is_null() && !variable.nullable {
        return match &variable.default {
            Some(_) => from_default(variable, diagnostics),
            None => {
                let diagnostic =
                    Diagnostic::error("E0606", format!("value of variable `{}` is null", variable.name));
                diagnostics.push(input.origin.place(diagnostic.detail("It says `nullable = false`.")));
                Err(Failed)
            }
        };
    }
    value.convert(&variable.constraint).map_err(|error| {
        let diagnostic =
            Diagnostic::error("E0607", format!("unsuitable value for variable `{}`", variable.name));
        let diagnostic = diagnostic.detail(format!("{error}.")).at(variable.span);
        diagnostics.push(input.origin.place(diagnostic));
        Failed
    })
}

/// Parses text given for a variable whose type is not simple.
fn parse(text: &str, variable: &Variable, input: &Input, diagnostics: &mut Diagnostics) -> Outcome {
    let mut sources = Sources::default();
    let id = sources.add("<value>", text);
    let mut found = Diagnostics::new();
    let expression: Option<Expr> = syntax::parse_expression(&sources, id, &mut found);
    let mut context = Context::new(&EmptyWorld, None);
    let value = expression.ok_or(Failed).and_then(|expression| context.evaluate(&expression));
    found.extend(context.diagnostics);
    for inner in found {
        let diagnostic =
            Diagnostic::error("E0608", format!("invalid value for variable `{}`", variable.name));
        let detail = format!("{}. {}", inner.summary, inner.detail);
        diagnostics.push(input.origin.place(diagnostic.detail(detail.trim())));
    }
    value
}
