//! Blocks `data`: `data "cluster" "x" { … }`.
//!
//! Kept as resources whose kind is `data.cluster`: they are expanded, evaluated and referred to in the same way. Which kinds
//! there are the caller says, among the kinds of resources. Data inside a `check` has a name of the module too, but only
//! that check may use it, and what is wrong with reading it is a warning.
//! Invariant: data has no `lifecycle` but conditions, for nothing is made or destroyed.

use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};

use crate::mention::Reference;
use crate::program::{DATA, Module};
use crate::suggest::did_you_mean;
use crate::syntax::{BlockSyntax, Step};

impl Module {
    /// Takes in a block `data`, as the block of a resource of the kind `data.<label>`.
    pub(super) fn declare_data(&mut self, mut block: BlockSyntax, diagnostics: &mut Diagnostics) {
        let [kind, _] = block.labels.as_slice() else {
            let diagnostic = Diagnostic::error("E0208", "wrong number of labels for `data`");
            let detail = "`data` has two labels, kind and name: `data \"cluster\" \"name\" { … }`.";
            diagnostics.push(diagnostic.detail(detail).at(block.header_span));
            return;
        };
        let full = format!("{DATA}{}", kind.text);
        if !self.kinds.contains(&full) {
            diagnostics.push(self.unknown_data(&kind.text, kind.span));
            return;
        }
        for lifecycle in block.body.blocks.iter().filter(|inner| inner.kind == "lifecycle") {
            for (name, attribute) in &lifecycle.body.attributes {
                let summary = format!("`{name}` of data has no meaning");
                let detail = "Data is read, never made or destroyed; its `lifecycle` holds conditions only.";
                let diagnostic = Diagnostic::error("E0243", summary).detail(detail);
                diagnostics.push(diagnostic.at(attribute.name_span));
            }
        }
        block.kind = full;
        block.labels.remove(0);
        self.declare_resource(block, diagnostics);
    }

    /// Takes in the `data` of a `check`.
    pub(super) fn declare_data_of_check(
        &mut self,
        mut block: BlockSyntax,
        check: &str,
        diagnostics: &mut Diagnostics,
    ) {
        let misplaced = |what: &str| {
            let summary = format!("`{what}` in the data of a check");
            let detail =
                "It is read once, each time the check is evaluated, and its assertions are its conditions.";
            let hint = "Leave it out, or move the `data` block out of the `check`.";
            Diagnostic::error("E0315", summary).detail(detail).hint(hint)
        };
        for name in ["for_each", "count"] {
            let argument = block.body.attributes.shift_remove(name);
            diagnostics.extend(argument.map(|argument| misplaced(name).at(argument.name_span)));
        }
        let lifecycles = block.body.blocks.extract_if(.., |inner| inner.kind == "lifecycle");
        diagnostics.extend(lifecycles.map(|inner| misplaced("lifecycle").at(inner.header_span)));
        let before = self.resources.len();
        self.declare_data(block, diagnostics);
        if let Some((_, resource)) = self.resources.get_index_mut(before) {
            resource.check = Some(check.to_owned());
        }
    }

    pub(super) fn unknown_data(&self, kind: &str, span: Span) -> Diagnostic {
        let known: Vec<&str> = self.kinds.iter().filter_map(|known| known.strip_prefix(DATA)).collect();
        let diagnostic =
            Diagnostic::error("E0244", format!("there is no data of the kind `{kind}`")).at(span);
        let diagnostic = diagnostic.detail(format!("Kinds of data are {}.", known.join(", ")));
        match did_you_mean(kind, known) {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    }
}

/// The resource that a reference names by its first steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    /// Its kind without `data.`.
    kind: &'a str,
    /// Its label.
    pub(crate) name: &'a str,
    /// Whether it is data.
    data: bool,
}

impl<'a> Named<'a> {
    /// Reads the first steps behind a root name that is no other than that of a kind, or `data`.
    pub(crate) fn read(root: &'a str, steps: &'a [Step]) -> Option<Self> {
        let name = |place: usize| match steps.get(place)? {
            Step::Attribute(name, _) => Some(name.as_str()),
            Step::Index(..) | Step::Splat(..) => None,
        };
        match root {
            "data" => Some(Self { kind: name(0)?, name: name(1)?, data: true }),
            kind => Some(Self { kind, name: name(0)?, data: false }),
        }
    }

    pub(crate) fn of(reference: &Reference<'a>) -> Option<Self> {
        Self::read(reference.root, reference.steps)
    }

    /// Returns the kind as it is kept.
    pub(crate) fn kind(&self) -> String {
        if self.data { format!("{DATA}{}", self.kind) } else { self.kind.to_owned() }
    }

    /// Returns how many steps the name takes.
    pub(crate) fn steps(&self) -> usize {
        if self.data { 2 } else { 1 }
    }
}
