//! `lustre validate`: the spec against itself, offline, and the test files beside it.
//!
//! Variables without a value count as unknown, so that a module can be checked before anybody chose values.

use lustre_model::diagnostic::{Diagnostics, Severity, Sources};
use serde_json::{Value as Json, json};

use super::spec::{self, Asking, Spec};
use super::test;
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
    let checked = spec::load(&flags.variables, Asking::Refused)
        .and_then(|spec| Ok((mistakes(&spec), test::mistakes(&flags.variables)?, spec)));
    match checked {
        Ok((found, tests, spec)) => {
            let mut all = vec![(found, spec.program.sources().clone())];
            all.extend(tests);
            if let Some(stream) = &voice.stream {
                stream.write(&format!("{:#}", to_json(&all)));
            }
            if voice.has_words() {
                show(&all, voice.terminal);
            }
            if all.iter().any(|(found, _)| found.has_errors()) {
                return Err(Failure::shown());
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
            // The JSON of this command is one document, and no line follows it.
            Err(Failure::shown())
        }
    }
}

/// Returns everything that is wrong with a spec by itself.
fn mistakes(spec: &Spec) -> Diagnostics {
    let mut found = wiring::validate(spec);
    found.extend(spec.check_encryption());
    found.sort();
    found
}

/// What is wrong, with the texts that it points into.
type Found = [(Diagnostics, Sources)];

fn show(all: &Found, terminal: Terminal) {
    for (found, sources) in all.iter().filter(|(found, _)| !found.is_empty()) {
        let drawn = diagnostic::draw(found, sources, terminal.err_colour());
        terminal.tell(drawn.trim_end());
    }
    if !all.iter().any(|(found, _)| found.has_errors()) {
        terminal.say("Success! The spec is valid.");
    }
}

fn to_json(all: &Found) -> Json {
    let found = || all.iter().flat_map(|(found, sources)| found.iter().map(move |one| (one, sources)));
    let errors = found().filter(|(one, _)| one.severity == Severity::Error).count();
    let shown: Vec<Json> = found().map(|(one, sources)| diagnostic::to_json(one, sources)).collect();
    let warnings = shown.len() - errors;
    outcome(shown, (errors, warnings))
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
