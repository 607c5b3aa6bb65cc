//! The conditions of a run of a test, with the values that its plan or its apply left.
//!
//! Invariant: a condition without a value is an error and never passes.

use lustre_model::diagnostic::Diagnostic;
use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::program::{Check, TestRun};
use crate::scope::{ModuleInstance, Scope};

impl Scope<'_> {
    /// Evaluates the conditions of a run; those that do not hold are reported.
    ///
    /// `runs` holds the outputs of the runs before it, by name, and `outputs` its own.
    pub fn check_run(&self, run: &TestRun, runs: &Value, outputs: &Value) {
        for check in run.asserts() {
            self.check_assert(check, runs, outputs);
        }
    }

    fn check_assert(&self, check: &Check, runs: &Value, outputs: &Value) {
        let mut context = self.context(ModuleInstance::ROOT);
        context.bound = vec![("run".to_owned(), runs.clone()), ("output".to_owned(), outputs.clone())];
        let what = "a condition of the test";
        match context.condition(&check.condition, what).map(|holds| holds.as_bool()) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => {
                let message = context.evaluate_as(&check.error_message, &Type::String, "an error message");
                if let Ok(message) = message {
                    let told = match message.as_str() {
                        Some(_) if message.is_sensitive() => {
                            "The message is sensitive and not shown.".to_owned()
                        }
                        Some(text) => text.trim().to_owned(),
                        None => "The message is known only after apply.".to_owned(),
                    };
                    let diagnostic = Diagnostic::error("E0970", "test assertion failed").detail(told);
                    context.report(diagnostic, &check.condition);
                }
            }
            Ok(None) => {
                let diagnostic = Diagnostic::error("E0971", format!("{what} is known only after apply"));
                let hint = "Let the run apply, or compare only what a plan knows.";
                context.report(diagnostic.hint(hint), &check.condition);
            }
            Err(_) if context.diagnostics.has_errors() => {}
            // What it depends on failed, and that was expected or told.
            Err(_) => {
                let diagnostic = Diagnostic::error("E0971", format!("{what} has no value"));
                context.report(diagnostic.detail("Something that it refers to failed."), &check.condition);
            }
        }
        self.collect(context);
    }
}
