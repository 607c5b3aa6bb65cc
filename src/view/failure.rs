//! A failure that ends a command: the error with its causes and a hint, or diagnostics, or a line of JSON.
//!
//! Invariant: what is shown goes to standard error, except JSON, which goes where JSON results go.

use std::error::Error;

use anstyle::{AnsiColor, Style};
use lustre_model::diagnostic::{Diagnostic, Sources};
use lustre_model::plan::{Gate, GateReason};
use serde_json::{Value as Json, json};

use crate::exit::Failure;
use crate::terminal::{Terminal, paint};
use crate::view::diagnostic;
use crate::view::stream::Stream;

/// Red and bold.
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Shows a failure to a person.
pub fn show(terminal: Terminal, failure: &Failure) {
    if let Failure::Diagnosed { diagnostics, sources } = failure {
        // Without any, who found them has shown them already.
        if !diagnostics.is_empty() {
            terminal.tell(diagnostic::draw(diagnostics, sources, terminal.err_colour()).trim_end());
        }
    } else {
        terminal.tell(&format!("{} {failure}", paint(terminal.err_colour(), BAD, "Error:")));
        causes(failure).iter().for_each(|cause| terminal.tell(&format!("  because {cause}")));
        for gate in failure.gates() {
            terminal.tell(&format!("  - {}: {}", gate.address, reason(gate)));
        }
    }
    if let Some(hint) = failure.hint() {
        terminal.tell(&format!("  hint: {hint}"));
    }
}

/// Shows a failure as lines of the event stream.
pub fn stream(stream: &Stream, failure: &Failure) {
    if let Failure::Diagnosed { diagnostics, sources } = failure {
        diagnostics.iter().for_each(|found| stream.diagnostic(found, sources));
    } else if failure.gates().is_empty() {
        stream.diagnostic(&as_diagnostic(failure), &Sources::default());
    } else {
        let gate = |gate: &Gate| json!({ "addr": gate.address, "reason": gate.reason });
        let gates: Vec<Json> = failure.gates().iter().map(gate).collect();
        let data_loss = failure.gates().iter().any(|gate| gate.reason == GateReason::DataLoss);
        let more = json!({ "gates": gates, "hint": failure.hint(), "data_loss": data_loss });
        stream.line("error", &format!("Error: {failure}"), "gated", more);
    }
}

/// Returns why a failure came about, outermost first.
fn causes(failure: &Failure) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = failure.source();
    while let Some(source) = next {
        causes.push(source.to_string());
        next = source.source();
    }
    causes
}

/// Returns a failure without a place as a diagnostic.
pub fn as_diagnostic(failure: &Failure) -> Diagnostic {
    let found = Diagnostic::error("E0001", failure.to_string()).detail(causes(failure).join(": "));
    match failure.hint() {
        Some(hint) => found.hint(hint),
        None => found,
    }
}

fn reason(gate: &Gate) -> &'static str {
    match gate.reason {
        GateReason::DataLoss => "DATA LOSS, its bytes would be gone",
        GateReason::PreventDestroy => "lifecycle.prevent_destroy forbids to destroy it",
    }
}
