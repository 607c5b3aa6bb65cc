//! `lustre validate`: the spec against itself, offline.
//!
//! Variables without a value count as unknown, so that a module can be checked before anybody chose values.

use lustre_model::diagnostic::{Diagnostics, Severity};
use serde_json::{Value as Json, json};

use super::spec::{self, Asking, Spec};
use crate::cli::ValidateFlags;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::diagnostic;
use crate::view::failure::{self, as_diagnostic};
use crate::view::voice::Voice;
use crate::wiring;

/// Version of the JSON, Terraform's.
const FORMAT_VERSION: &str = "1.0";

/// Checks the spec of the working folder.
pub fn run(flags: &ValidateFlags, voice: &Voice) -> Result<Success, Failure> {
    let checked = spec::load(&flags.variables, Asking::Refused).map(|spec| (wiring::validate(&spec), spec));
    match checked {
        Ok((found, spec)) => {
            if let Some(stream) = &voice.stream {
                stream.write(&format!("{:#}", to_json(&found, &spec)));
            }
            if voice.has_words() {
                show(&found, &spec, voice.terminal);
            }
            if found.has_errors() {
                return Err(shown());
            }
            Ok(Success::Done)
        }
        Err(failure) => {
            if let Some(stream) = &voice.stream {
                let found = diagnostic::to_json(&as_diagnostic(&failure), &Default::default());
                stream.write(&format!("{:#}", outcome(vec![found], (1, 0))));
            }
            if voice.has_words() {
                failure::show(voice.terminal, &failure);
            }
            Err(shown())
        }
    }
}

/// A failure that was shown: the JSON of this command is one document, and no line follows it.
fn shown() -> Failure {
    Failure::Diagnosed { diagnostics: Diagnostics::new(), sources: Box::default() }
}

fn show(found: &Diagnostics, spec: &Spec, terminal: Terminal) {
    if !found.is_empty() {
        let drawn = diagnostic::draw(found, spec.program.sources(), terminal.err_colour());
        terminal.tell(drawn.trim_end());
    }
    if !found.has_errors() {
        terminal.say("Success! The spec is valid.");
    }
}

fn to_json(found: &Diagnostics, spec: &Spec) -> Json {
    let errors = found.iter().filter(|one| one.severity == Severity::Error).count();
    let shown = found.iter().map(|one| diagnostic::to_json(one, spec.program.sources())).collect();
    outcome(shown, (errors, found.len() - errors))
}

fn outcome(diagnostics: Vec<Json>, (errors, warnings): (usize, usize)) -> Json {
    json!({
        "format_version": FORMAT_VERSION,
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": warnings,
        "diagnostics": diagnostics,
    })
}
