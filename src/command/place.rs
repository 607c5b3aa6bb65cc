//! The `state` block of a spec, read as the place where the state is.
//!
//! Attributes may be expressions, also of variables. Nothing is asked of the place itself here.
//! Invariant: what is not understood is refused by name; a mistake never leads to another place.

use std::path::PathBuf;

use lustre_language::{Block, Scope};
use lustre_model::diagnostic::{Diagnostic, Diagnostics, Sources};
use lustre_store::Place;

use self::attributes::Attributes;

pub use self::http::with_secrets_of_environment;

mod attributes;
mod http;
mod s3;

/// Where the state is unless the spec says.
pub const STATE: &str = "lustre.state";

/// Attributes that are noted nowhere.
const SECRETS: [&str; 2] = ["password", "client_private_key_pem"];

/// Reads the attributes of a backend.
type Read = fn(&mut Attributes<'_>) -> Option<Place>;

/// The backends by name, each with the attributes that it has.
const BACKENDS: [(&str, &[&str], Read); 3] =
    [("local", &["path"], local), ("s3", s3::NAMES, s3::read), ("http", http::NAMES, http::read)];

/// A place, and how the spec says it.
pub struct Site {
    /// The place.
    pub place: Place,
    /// What is written in the spec. While that stays the same, another place comes from other values of variables, and is
    /// no move.
    pub written: String,
}

/// Returns the place that the spec names.
pub fn of(scope: &Scope<'_>, sources: &Sources) -> Result<Site, Diagnostics> {
    let Some(block) = scope.state_backend() else {
        let found = scope.take_diagnostics();
        let site = Site { place: Place::Local { path: PathBuf::from(STATE) }, written: String::new() };
        return if found.has_errors() { Err(found) } else { Ok(site) };
    };
    let mut found = scope.take_diagnostics();
    let place = read(&block, &mut found);
    match place {
        Some(place) if !found.has_errors() => Ok(Site { place, written: written(&block, sources) }),
        Some(_) | None => Err(found),
    }
}

/// Returns the block's text without spaces, comments and secrets that may stand in it.
fn written(block: &Block, sources: &Sources) -> String {
    let label = block.labels.first().map_or("local", |label| label.text.as_str());
    let attributes = block.body.attributes.iter().filter(|(name, _)| !SECRETS.contains(&name.as_str()));
    let mut lines: Vec<String> = attributes
        .map(|(name, attribute)| format!("{name} = {}", sources.text(attribute.span).trim()))
        .collect();
    lines.sort();
    format!("{label}: {}", lines.join("; "))
}

fn read(block: &Block, found: &mut Diagnostics) -> Option<Place> {
    let label = block.labels.first();
    let name = label.map_or("local", |label| label.text.as_str());
    let Some((name, names, read)) = BACKENDS.into_iter().find(|(known, ..)| *known == name) else {
        let known: Vec<String> = BACKENDS.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
        let summary = format!("there is no state backend \"{name}\"");
        let hint = format!("Use {}.", known.join(" or "));
        found.push(Diagnostic::error("E0951", summary).hint(hint).at(label.map_or(block.span, |it| it.span)));
        return None;
    };
    let mut attributes = Attributes::new(block, (name, names), found);
    let place = read(&mut attributes);
    attributes.refuse_others();
    place
}

fn local(attributes: &mut Attributes<'_>) -> Option<Place> {
    let path = attributes.text("path")?.unwrap_or_else(|| STATE.to_owned());
    Some(Place::Local { path: PathBuf::from(path) })
}
