//! What one expression may make and read, all its loops and calls together.
//!
//! Limits on each text and each value alone are not enough: `for` repeats what makes the largest one a million times.
//! Invariant: an expression holds at most [`MADE_BYTES_MAX`], and ends after reading at most [`READ_BYTES_MAX`].

use lustre_model::diagnostic::{Diagnostic, Span};
use lustre_model::value::Value;

/// Most bytes that calls and templates of one expression make, each part of a value counted as [`PART_BYTES`].
pub(crate) const MADE_BYTES_MAX: usize = 512 << 20;

/// Most bytes that calls of one expression read, each argument counted as [`PART_BYTES`] at least.
pub(crate) const READ_BYTES_MAX: usize = 8 << 30;

/// Most bytes of all values that a spec has, each part of a value counted as [`PART_BYTES`].
pub(crate) const KEPT_BYTES_MAX: usize = 1 << 30;

/// What reading a byte as a template costs.
const TEMPLATE_BYTE: usize = 128;

/// What a part of a value costs.
const PART_BYTES: usize = 64;

/// What is used up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Budget {
    made: usize,
    read: usize,
}

impl Budget {
    /// Charges for a result of a call, or a text.
    pub(crate) fn make(&mut self, value: &Value, at: Span) -> Result<(), Box<Diagnostic>> {
        self.made = self.made.saturating_add(bytes(value));
        if self.made <= MADE_BYTES_MAX {
            return Ok(());
        }
        let detail = format!("One expression makes texts and lists of at most {} MiB.", MADE_BYTES_MAX >> 20);
        let summary = "results of functions and texts are too large together";
        Err(Box::new(Diagnostic::error("E0506", summary).detail(detail).at(at)))
    }

    /// Charges for the arguments of a call.
    pub(crate) fn read(&mut self, arguments: &[Value], at: Span) -> Result<(), Box<Diagnostic>> {
        let costs = arguments.iter().map(|value| PART_BYTES + bytes(value));
        self.spend(costs.fold(0, usize::saturating_add), at)
    }

    /// Charges for a text that is read as a template.
    pub(crate) fn read_template(&mut self, text: &str, at: Span) -> Result<(), Box<Diagnostic>> {
        self.spend(text.len().saturating_mul(TEMPLATE_BYTE), at)
    }

    fn spend(&mut self, cost: usize, at: Span) -> Result<(), Box<Diagnostic>> {
        self.read = self.read.saturating_add(cost);
        if self.read <= READ_BYTES_MAX {
            return Ok(());
        }
        let detail = "Functions are called too often on lists and texts that are too long.";
        Err(Box::new(Diagnostic::error("E0432", "too many steps").detail(detail).at(at)))
    }
}

/// What a value costs without the parts of its parts.
fn bytes(value: &Value) -> usize {
    let text = value.as_str().map_or(0, str::len);
    text.saturating_add(value.parts().count().saturating_mul(PART_BYTES))
}

/// What a value costs with all its parts, which are within bounds.
pub(crate) fn whole_bytes(value: &Value) -> usize {
    let parts = value.parts().map(whole_bytes);
    parts.fold(PART_BYTES + value.as_str().map_or(0, str::len), usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use lustre_model::diagnostic::SourceId;

    use super::*;

    #[test]
    fn reading_the_longest_text_ends_after_so_many_calls() {
        let mut budget = Budget::default();
        let long = Value::from("x".repeat(64 << 20).as_str());
        let at = Span::new(SourceId(0), 0..1);
        let calls = (0..1000).take_while(|_| budget.read(std::slice::from_ref(&long), at).is_ok());
        assert_eq!(calls.count(), 127);
    }
}
