//! Evaluation of `provider` blocks.
//!
//! Done before anything else of a plan, from variables and locals; nothing of a resource is known by then.
//! Invariant: every provider of the root is returned, also one that failed.

use crate::body::Body;
use crate::program::ProviderName;
use crate::scope::{ModuleInstance, Scope, instance};

/// A provider, evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Provided {
    /// Which.
    pub name: ProviderName,
    /// What its block says.
    pub body: Body,
    /// Whether everything could be evaluated; if not, that was reported.
    pub complete: bool,
}

impl Scope<'_> {
    /// Evaluates the providers of the root.
    pub fn providers(&self) -> Vec<Provided> {
        let providers = self.program.root().providers.iter();
        let provided = providers.map(|provider| {
            let mut context = self.context(ModuleInstance::ROOT);
            let (body, sound) = instance::body(&mut context, &provider.body);
            // What comes too late was told when the program was checked.
            let complete = sound && self.program.root().needs_later(provider).is_empty();
            self.collect(context);
            Provided { name: provider.name.clone(), body, complete }
        });
        provided.collect()
    }
}
