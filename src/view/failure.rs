//! A failure that ends a command: the error with its causes and a hint, or diagnostics, or a line of JSON.
//!
//! Invariant: what is shown goes to standard error, except JSON, which goes where JSON results go.

use std::error::Error;

use anstyle::{AnsiColor, Style};
use lustre_apply::ApplyError;
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
    match failure {
        // Shown already by who found it.
        Failure::Diagnosed { diagnostics, .. } if diagnostics.is_empty() => {}
        Failure::Diagnosed { diagnostics, sources } => {
            terminal.tell(diagnostic::draw(diagnostics, sources, terminal.err_colour()).trim_end());
        }
        Failure::Gated { gates } | Failure::Apply(ApplyError::Gated { gates }) => {
            terminal.tell(&format!("{} {failure}", paint(terminal.err_colour(), BAD, "Error:")));
            for gate in gates {
                terminal.tell(&format!("  - {}: {}", gate.address, reason(gate)));
            }
        }
        _other => {
            let mut text = format!("{} {failure}", paint(terminal.err_colour(), BAD, "Error:"));
            let mut next = failure.source();
            while let Some(source) = next {
                text.push_str(&format!("\n  because {source}"));
                next = source.source();
            }
            terminal.tell(&text);
        }
    }
    if let Some(hint) = failure.hint() {
        terminal.tell(&format!("  hint: {hint}"));
    }
}

/// Shows a failure as lines of the event stream.
pub fn stream(stream: Stream, failure: &Failure) {
    match failure {
        Failure::Diagnosed { diagnostics, sources } => {
            diagnostics.iter().for_each(|found| stream.diagnostic(found, sources));
        }
        Failure::Gated { gates } | Failure::Apply(ApplyError::Gated { gates }) => {
            let gates: Vec<Json> =
                gates.iter().map(|gate| json!({ "addr": gate.address, "reason": gate.reason })).collect();
            let more = json!({ "gates": gates, "hint": failure.hint(), "data_loss": true });
            stream.line("error", &format!("Error: {failure}"), "gated", more);
        }
        _other => stream.diagnostic(&as_diagnostic(failure), &Sources::default()),
    }
}

/// Returns a failure without a place as a diagnostic.
pub fn as_diagnostic(failure: &Failure) -> Diagnostic {
    let mut causes = Vec::new();
    let mut next = failure.source();
    while let Some(source) = next {
        causes.push(source.to_string());
        next = source.source();
    }
    let found = Diagnostic::error("E0001", failure.to_string()).detail(causes.join(": "));
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
