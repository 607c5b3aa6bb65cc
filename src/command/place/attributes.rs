//! Attributes of a `state` block, taken as what they should be.
//!
//! Knows no backend.
//! Invariant: a value that is not what it should be is a diagnostic at its place, and never a default.

use std::time::Duration;

use lustre_language::{Attribute, Block, did_you_mean};
use lustre_model::diagnostic::{Diagnostic, Diagnostics};
use lustre_model::value::Value;

/// The attributes of a backend's block.
pub struct Attributes<'a> {
    block: &'a Block,
    backend: &'static str,
    names: &'static [&'static str],
    found: &'a mut Diagnostics,
    refused: Vec<&'static str>,
}

impl<'a> Attributes<'a> {
    /// Looks at the block of a backend that has attributes of these names.
    pub fn new(
        block: &'a Block,
        (backend, names): (&'static str, &'static [&'static str]),
        found: &'a mut Diagnostics,
    ) -> Self {
        Self { block, backend, names, found, refused: Vec::new() }
    }

    /// Returns a text; none where it is absent or null, and the outer none after a diagnostic.
    #[expect(clippy::option_option, reason = "absent is not wrong")]
    pub fn text(&mut self, name: &str) -> Option<Option<String>> {
        self.take(name, "a text that is known and not empty", |value| {
            value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        })
    }

    /// Returns a text that must be there.
    pub fn required(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        if text.is_none() {
            let summary = format!("the state backend \"{}\" needs `{name}`", self.backend);
            self.found.push(Diagnostic::error("E0963", summary).at(self.block.span));
        }
        text
    }

    /// Returns a flag, false where it is absent.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        self.take(name, "true or false", Value::as_bool).map(|flag| flag.unwrap_or(false))
    }

    /// Returns a duration of at least `least`: a number of seconds, or a text such as `90s`.
    pub fn duration(&mut self, name: &str, (least, default): (Duration, Duration)) -> Option<Duration> {
        let what =
            format!("a number of seconds, or a text such as \"90s\", of at least {} s", least.as_secs());
        let read = |value: &Value| {
            let text = value.as_str().and_then(|text| crate::cli::parse_duration(text).ok());
            text.or_else(|| value.as_u64().map(Duration::from_secs)).filter(|duration| *duration >= least)
        };
        self.take(name, &what, read).map(|duration| duration.unwrap_or(default))
    }

    /// Returns a whole number of at most `most`.
    pub fn number(&mut self, name: &str, (most, default): (u32, u32)) -> Option<u32> {
        let read = |value: &Value| {
            value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= most)
        };
        self.take(name, &format!("a whole number of at most {most}"), read)
            .map(|number| number.unwrap_or(default))
    }

    /// Refuses attributes that somebody may expect, each with what to do instead.
    pub fn refuse(&mut self, names: &[(&'static str, &str)]) {
        for (name, instead) in names {
            let Some(attribute) = self.block.body.attributes.get(*name) else { continue };
            self.refused.push(name);
            self.push_unknown(name, attribute, (*instead).to_owned());
        }
    }

    /// Refuses credentials: what is in a spec is in plans and in repositories.
    pub fn refuse_credentials(&mut self, names: &[&'static str], instead: &str) {
        for name in names {
            let Some(attribute) = self.block.body.attributes.get(*name) else { continue };
            self.refused.push(name);
            let summary = format!("`{name}` of the state is a credential and is not written in a spec");
            self.found
                .push(Diagnostic::error("E0964", summary).hint(instead.to_owned()).at(attribute.name_span));
        }
    }

    /// Says that a value is not what its place needs.
    pub fn wrong(&mut self, name: &str, what: &str) {
        let span = self.block.body.attributes.get(name).map_or(self.block.span, |attribute| attribute.span);
        let summary = format!("`{name}` of the state must be {what}");
        self.found.push(Diagnostic::error("E0953", summary).at(span));
    }

    /// Refuses what the backend does not have and nobody refused yet.
    pub fn refuse_others(self) {
        let Self { block, backend, names, found, refused } = self;
        let unknown = |name: &str| !names.contains(&name) && !refused.contains(&name);
        for (name, attribute) in block.body.attributes.iter().filter(|(name, _)| unknown(name)) {
            let all: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let hint = did_you_mean(name, names.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("It has {}.", all.join(", ")));
            let summary = format!("the state backend \"{backend}\" has no attribute `{name}`");
            found.push(Diagnostic::error("E0952", summary).hint(hint).at(attribute.name_span));
        }
        for inner in &block.body.blocks {
            let summary = format!("the state backend \"{backend}\" has no block `{}`", inner.kind);
            found.push(Diagnostic::error("E0952", summary).at(inner.span));
        }
    }

    fn push_unknown(&mut self, name: &str, attribute: &Attribute, hint: String) {
        let summary = format!("the state backend \"{}\" has no attribute `{name}`", self.backend);
        self.found.push(Diagnostic::error("E0952", summary).hint(hint).at(attribute.name_span));
    }

    #[expect(clippy::option_option, reason = "absent is not wrong")]
    fn take<T>(&mut self, name: &str, what: &str, read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
        let Some(attribute) = self.block.body.attributes.get(name) else { return Some(None) };
        if attribute.value.is_known() && attribute.value.is_null() {
            return Some(None);
        }
        let taken = read(&attribute.value);
        // What could not be evaluated was told already.
        if taken.is_none() && !self.found.has_errors() {
            self.wrong(name, what);
        }
        taken.map(Some)
    }
}
