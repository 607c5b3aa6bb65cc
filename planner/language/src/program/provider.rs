//! Blocks `provider`: how something outside is reached, and which of them a resource says.
//!
//! ```text
//! provider "aws" { region = "eu-central-1" }                   what resources use that do not say
//! provider "aws" { alias = "west"  region = "us-west-2" }      what `provider = aws.west` names
//! ```
//! Only the root has them; resources of modules use them too. They are evaluated before anything else, from variables,
//! locals and functions. Which providers there are is known here, what one may say is not.
//! Invariant: a provider and its alias stand for one block.

use lustre_model::diagnostic::{Diagnostic, Diagnostics, Span};
use lustre_model::types::Type;

use crate::mention;
use crate::program::check::Place;
use crate::program::declare::{constant, label_name};
use crate::program::{Module, duplicate};
use crate::syntax::{AttributeSyntax, BlockSyntax, BodySyntax, Expr, ExprKind, Step};

/// The providers that there are.
const PROVIDERS: [&str; 1] = ["aws"];

/// A block `provider`.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) name: ProviderName,
    pub(crate) body: BodySyntax,
}

/// Names a block `provider`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderName {
    /// Its label, `aws`.
    pub name: String,
    /// Its alias; none for what is meant when nothing is said.
    pub alias: Option<String>,
    /// Where it is named.
    pub span: Span,
}

impl Module {
    /// Takes in a block `provider`.
    pub(super) fn declare_provider(&mut self, mut block: BlockSyntax, diagnostics: &mut Diagnostics) {
        let Some(name) = label_name(&block, diagnostics) else { return };
        if !PROVIDERS.contains(&name.as_str()) {
            let diagnostic = Diagnostic::error("E0240", format!("provider {name:?} is not supported"));
            let detail = "Kinds of resources are built in; the only ones that come from a provider are those of `aws`.";
            diagnostics.push(diagnostic.detail(detail).hint("Take the block out.").at(block.header_span));
            return;
        }
        if self.folder != "." {
            let diagnostic = Diagnostic::error("E1040", "`provider` in a module").at(block.header_span);
            let detail = "Resources of modules use the providers of the folder that lustre runs in.";
            diagnostics.push(
                diagnostic.detail(detail).hint("Move the block there; `provider = aws.NAME` finds it."),
            );
            return;
        }
        let alias = match block.body.attributes.shift_remove("alias") {
            Some(alias) => {
                let text = constant(&alias.value, &Type::String, "alias", diagnostics);
                let Some(text) = text.and_then(|text| text.as_str().map(str::to_owned)) else { return };
                Some(text)
            }
            None => None,
        };
        let name = ProviderName { name, alias, span: block.header_span };
        let same = |it: &&Provider| it.name.name == name.name && it.name.alias == name.alias;
        if let Some(first) = self.providers.iter().find(same) {
            diagnostics.push(duplicate("provider", &name.shown(), block.header_span, first.name.span));
            return;
        }
        self.providers.push(Provider { name, body: block.body });
    }

    /// Checks what providers mention: nothing that is only known when resources are.
    pub(super) fn check_providers(&self, diagnostics: &mut Diagnostics) {
        for provider in &self.providers {
            self.check_body(&provider.body, &mut Vec::new(), Place::Plain, diagnostics);
            for span in self.needs_later(provider) {
                let summary = "a provider depends on a resource, data or a module";
                let detail = "It is needed before any of them is looked at. Variables, locals and functions are known by then.";
                diagnostics.push(Diagnostic::error("E1041", summary).detail(detail).at(span));
            }
        }
    }

    /// Returns where a provider mentions what is only known when resources are.
    pub(crate) fn needs_later(&self, provider: &Provider) -> Vec<Span> {
        let expressions = provider.body.expressions().into_iter();
        let references =
            expressions.flat_map(|expression| mention::references(expression).collect::<Vec<_>>());
        let later = references.filter(|it| self.named(it).is_some() || it.root == "module");
        later.map(|reference| reference.span).collect()
    }
}

impl ProviderName {
    /// Returns the name as `provider = …` says it.
    pub fn shown(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{}.{alias}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Reads what `provider = …` of a resource says.
pub(super) fn provider_of(
    attribute: Option<AttributeSyntax>,
    diagnostics: &mut Diagnostics,
) -> Option<ProviderName> {
    let AttributeSyntax { value, .. } = attribute?;
    let named = named(&value);
    if named.is_none() {
        let diagnostic = Diagnostic::error("E1042", "`provider` names no provider").at(value.span);
        diagnostics
            .push(diagnostic.hint("Write `provider = aws` or `provider = aws.ALIAS`, without quotes."));
    }
    named
}

fn named(value: &Expr) -> Option<ProviderName> {
    let span = value.span;
    if let ExprKind::Variable(name) = &value.kind {
        return Some(ProviderName { name: name.clone(), alias: None, span });
    }
    let ExprKind::Access(base, steps) = &value.kind else { return None };
    let (ExprKind::Variable(name), [Step::Attribute(alias, _)]) = (&base.kind, steps.as_slice()) else {
        return None;
    };
    Some(ProviderName { name: name.clone(), alias: Some(alias.clone()), span })
}
