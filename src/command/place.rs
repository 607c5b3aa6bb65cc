//! The `state` block of a spec, read as the place where the state is.
//!
//! Attributes may be expressions, also of variables. Nothing is asked of the place itself here.
//! Invariant: what is not understood is refused by name; a mistake never leads to another place.

use std::path::PathBuf;

use lustre_language::{Block, Scope};
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_store::Place;

/// Where the state is unless the spec says.
const STATE: &str = "lustre.state";

/// Returns the place that the spec names.
pub fn of(scope: &Scope<'_>) -> Result<Place, Diagnostics> {
    let Some(block) = scope.state_backend() else {
        let found = scope.take_diagnostics();
        let path = PathBuf::from(STATE);
        return if found.has_errors() { Err(found) } else { Ok(Place::Local { path }) };
    };
    let mut found = scope.take_diagnostics();
    let label = block.labels.first().map(|label| (label.text.as_str(), label.span));
    if let Some((other, span)) = label.filter(|(text, _)| *text != "local") {
        let summary = format!("there is no state backend \"{other}\"");
        found.push(Diagnostic::error("E0951", summary).hint("Use \"local\".").at(span));
    }
    let place = local(&block, &mut found);
    match place {
        Some(place) if !found.has_errors() => Ok(place),
        Some(_) | None => Err(found),
    }
}

fn local(block: &Block, found: &mut Diagnostics) -> Option<Place> {
    for (name, attribute) in block.body.attributes.iter().filter(|(name, _)| *name != "path") {
        let summary = format!("the state backend \"local\" has no attribute `{name}`");
        found.push(Diagnostic::error("E0952", summary).hint("It has `path`.").at(attribute.name_span));
    }
    let path = match block.body.attributes.get("path") {
        None => Some(STATE),
        Some(attribute) => {
            let text = attribute.value.as_str().filter(|text| !text.is_empty());
            if text.is_none() && !found.has_errors() {
                let summary = "`path` of the state must be a text that is known";
                found.push(Diagnostic::error("E0953", summary).at(attribute.span));
            }
            text
        }
    };
    path.map(|path| Place::Local { path: PathBuf::from(path) })
}
