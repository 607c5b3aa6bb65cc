//! Values that are computed when they are first needed: variables of called modules, locals, outputs of modules.
//!
//! They may form chains of any length through many modules. What a value needs comes before it, from a list and not by
//! recursion.
//! Invariant: each value of each frame is evaluated once, and a circle ends as a failure.

use std::collections::HashSet;

use lustre_model::diagnostic::Diagnostic;
use lustre_model::value::Value;

use crate::evaluate::{Context, Failed, Outcome};
use crate::input::from_default;
use crate::mention::{self, Reference};
use crate::program::Variable;
use crate::scope::frame::{Caller, Name};
use crate::scope::{ModuleInstance, Scope};
use crate::syntax::{Expr, Step};

type Want = (ModuleInstance, Name);

impl Scope<'_> {
    /// Returns the value of a name in an instance of a module. Of a call there is none; it is expanded.
    pub(super) fn settle(&self, module: ModuleInstance, name: Name) -> Outcome {
        let first = (module, name);
        if let Some(value) = self.settled(&first) {
            return value;
        }
        let mut begun: HashSet<Want> = HashSet::new();
        let mut waiting = vec![first.clone()];
        while let Some(next) = waiting.last().cloned() {
            if self.settled(&next).is_some() {
                waiting.pop();
                continue;
            }
            begun.insert(next.clone());
            let missing: Vec<Want> = self.needs(&next);
            if missing.iter().any(|need| begun.contains(need)) {
                // What was begun and is not settled waits below: a circle, which whoever orders the graph tells.
                self.fail(&next);
            } else if missing.is_empty() {
                self.compute(&next);
            } else {
                waiting.extend(missing);
                continue;
            }
            waiting.pop();
        }
        self.settled(&first).unwrap_or(Err(Failed))
    }

    fn settled(&self, (module, name): &Want) -> Option<Outcome> {
        let frame = self.frame(*module);
        if let Name::Call(call) = name {
            let calls = frame.calls.borrow();
            return calls
                .get(call)
                .map(|opened| opened.as_ref().map(|_| Value::from(true)).map_err(|_| Failed));
        }
        frame.values.borrow().get(name).cloned()
    }

    fn fail(&self, (module, name): &Want) {
        let frame = self.frame(*module);
        match name {
            Name::Call(call) => drop(frame.calls.borrow_mut().insert(call.clone(), Err(Failed))),
            Name::Variable(_) | Name::Local(_) | Name::Output(_) => {
                frame.values.borrow_mut().insert(name.clone(), Err(Failed));
            }
        }
    }

    /// Returns the values that must be there before a value is computed, and are not.
    fn needs(&self, (module, name): &Want) -> Vec<Want> {
        let frame = self.frame(*module);
        let declared = self.module_at(&frame);
        let (at, expressions): (ModuleInstance, Vec<&Expr>) = match name {
            Name::Variable(name) => {
                let Some(caller) = &frame.caller else { return Vec::new() };
                let call = self.module_at(&self.frame(caller.module)).calls.get(&caller.call);
                let argument = call.and_then(|call| call.arguments.get(name));
                (caller.module, argument.map(|argument| &argument.value).into_iter().collect())
            }
            Name::Local(name) => {
                let local = declared.locals.get(name).filter(|local| !local.cyclic);
                (*module, local.map(|local| &local.value).into_iter().collect())
            }
            Name::Output(name) => {
                (*module, declared.outputs.get(name).into_iter().flat_map(|it| it.expressions()).collect())
            }
            Name::Call(name) => {
                let call = declared.calls.get(name);
                (*module, call.and_then(|call| call.repetition.expression()).into_iter().collect())
            }
        };
        let mut missing = Vec::new();
        for reference in expressions.into_iter().flat_map(mention::references) {
            self.missing(at, &reference, &mut missing);
        }
        missing
    }

    fn missing(&self, module: ModuleInstance, reference: &Reference<'_>, missing: &mut Vec<Want>) {
        let Some(name) = reference.name(0) else { return };
        let mut want = |module, name| {
            let want = (module, name);
            if self.settled(&want).is_none() {
                missing.push(want);
            }
        };
        match reference.root {
            "var" => want(module, Name::Variable(name.to_owned())),
            "local" => want(module, Name::Local(name.to_owned())),
            "module" => {
                let call = (module, Name::Call(name.to_owned()));
                if self.settled(&call).is_none() {
                    want(call.0, call.1);
                    return;
                }
                let indexed = matches!(reference.steps.get(1), Some(Step::Index(..)));
                let output = reference.name(if indexed { 2 } else { 1 });
                for callee in self.callees(module, name, reference.key(1).as_ref()) {
                    let declared = self.module_at(&self.frame(callee));
                    let all = declared.outputs.keys().map(String::as_str);
                    let wanted = all.filter(|name| output.is_none_or(|output| output == *name));
                    wanted.for_each(|name| want(callee, Name::Output(name.to_owned())));
                }
            }
            _ => {}
        }
    }

    fn compute(&self, want: &Want) {
        let (module, name) = want;
        let frame = self.frame(*module);
        let declared = self.module_at(&frame);
        let value = match name {
            Name::Variable(name) => match (&frame.caller, declared.variables.get(name)) {
                (Some(caller), Some(variable)) => self.argument(caller, variable),
                (_, _) => Err(Failed),
            },
            Name::Local(name) => match declared.locals.get(name).filter(|local| !local.cyclic) {
                Some(local) => {
                    let mut context = self.context(*module);
                    let value = context.evaluate(&local.value);
                    self.collect(context);
                    value
                }
                None => Err(Failed),
            },
            Name::Output(name) => self.module_output(*module, name),
            Name::Call(call) => {
                let opened = self.open(*module, call);
                frame.calls.borrow_mut().insert(call.clone(), opened);
                return;
            }
        };
        frame.values.borrow_mut().insert(name.clone(), value);
    }

    fn module_output(&self, module: ModuleInstance, name: &str) -> Outcome {
        let frame = self.frame(module);
        let output = self.module_at(&frame).outputs.get(name).ok_or(Failed)?;
        let mut context = self.context(module);
        let value = context.evaluate(&output.value);
        let what = format!("the precondition of output `{name}`");
        let holds = self.checks(&mut context, &output.preconditions, &what);
        self.collect(context);
        value.and_then(|value| if holds { Ok(value.marked(output.sensitive)) } else { Err(Failed) })
    }

    /// Returns the value of a called module's variable: the argument of the call, or the default.
    fn argument(&self, caller: &Caller, variable: &Variable) -> Outcome {
        let call = self.module_at(&self.frame(caller.module)).calls.get(&caller.call).ok_or(Failed)?;
        let Some(argument) = call.arguments.get(&variable.name) else {
            return self.default_of(variable);
        };
        let mut context = self.context(caller.module).within(&caller.instance);
        let value = context.evaluate(&argument.value);
        let value = value.and_then(|value| given(&mut context, &value, (variable, &argument.value)));
        self.collect(context);
        match value? {
            Some(value) => Ok(value.marked(variable.is_hidden())),
            None => self.default_of(variable),
        }
    }

    fn default_of(&self, variable: &Variable) -> Outcome {
        // That a value is missing was told where the module is called.
        if variable.default.is_none() {
            return Err(Failed);
        }
        let mut found = lustre_model::diagnostic::Diagnostics::new();
        let value = from_default(variable, &mut found);
        self.diagnostics.borrow_mut().extend(found);
        value.map(|value| value.marked(variable.is_hidden()))
    }
}

/// Converts an argument; none when it is null and the default counts.
fn given(
    context: &mut Context<'_>,
    value: &Value,
    (variable, expression): (&Variable, &Expr),
) -> Result<Option<Value>, Failed> {
    if value.is_null() && !variable.nullable {
        if variable.default.is_some() {
            return Ok(None);
        }
        let summary = format!("value of variable `{}` is null", variable.name);
        let diagnostic = Diagnostic::error("E0606", summary).detail("It says `nullable = false`.");
        return Err(context.report(diagnostic.related(variable.span, "declared here"), expression));
    }
    value.convert(&variable.constraint).map(Some).map_err(|error| {
        let summary = format!("unsuitable value for variable `{}`", variable.name);
        let diagnostic = Diagnostic::error("E0607", summary).detail(format!("{error}."));
        context.report(diagnostic.related(variable.span, "declared here"), expression)
    })
}
