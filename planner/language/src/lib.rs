//! The language of specs: HCL text in, values out.
//!
//! ```text
//! folders ──parse──▶ Program ──Graph──▶ the planner's order
//!                     │
//!                   Scope ─ expand(resource) ───▶ instances (for_each, count), in each instance of a module
//!                     │
//!                     └──── evaluate(instance) ─▶ Body: attributes (Value + Span) and nested blocks
//! ```
//! The syntax is HCL's native one, the semantics are Terraform's: values that are unknown until something is applied,
//! marks that follow sensitive values, conversions, numbers of any size. What is wrong is collected with its place, the
//! values of the references involved and what was probably meant; nothing stops at the first mistake, and what depends
//! on a mistake is silent.
//!
//! The planner drives it in this order:
//! ```
//! use lustre_language::{EmptyWorld, ModuleInstance, Program, Scope};
//! use lustre_model::value::Value;
//!
//! let text = r#"
//!     host "oss" {
//!       for_each = { a = "10.0.0.1", b = "10.0.0.2" }
//!       address  = each.value
//!     }
//!     output "first" { value = host.oss["a"].address }
//! "#;
//! let files = [("main.hcl".to_owned(), text.to_owned())];
//! let (program, mut found) = Program::load(files, &["host", "cluster"]);
//! let mut scope = Scope::new(&program, &EmptyWorld, &[]);
//! for resource in program.resources() {
//!     // A real planner goes through the nodes of a `Graph` in an order that its edges allow.
//!     for instance in scope.expand(ModuleInstance::ROOT, resource) {
//!         let evaluated = scope.evaluate(resource, &instance);
//!         let attributes = evaluated.body.attributes.into_iter().map(|(name, it)| (name, it.value)).collect();
//!         scope.set(&instance.address, Value::resource_object(instance.address.clone(), attributes));
//!     }
//! }
//! let outputs: Vec<_> = program.outputs().filter_map(|output| scope.output(output)).collect();
//! found.extend(scope.take_diagnostics());
//! assert!(found.is_empty());
//! assert_eq!(outputs, [Value::from("10.0.0.1")]);
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `syntax` | our tree of bodies and expressions, from hcl-edit's, with what hcl-edit gets wrong put right |
//! | `program` | the blocks of each module, sorted; every name checked; cycles of locals |
//! | `graph` | what depends on what, through all modules |
//! | `scope` | one run: instances of modules and resources; expansion, evaluation, outputs |
//! | `evaluate` | expressions: operators, access, `for`, templates, calls |
//! | `function` | the table of functions, by family |
//! | `lock` | the lock file of repositories that modules come from |
//! | `style` | text into canonical form, for `lustre fmt` |
//! | `constraint`, `input` | types of variables, and values given for them |
//!
//! Codes of diagnostics: `E01` syntax, `E02` blocks and arguments, `E03` names, `E04` evaluation, `E05` functions,
//! `E06` variables, outputs and conditions, `E07` instances.
//!
//! Not here: which attributes a resource has, the order of the graph, the state, files (they come through [`World`] and
//! [`Folders`]).
//! Invariant: no text makes anything here panic, hang, or use memory without bound.

mod body;
mod constraint;
mod evaluate;
mod function;
mod graph;
mod input;
mod lock;
mod mention;
mod program;
mod scope;
mod stray;
mod style;
mod suggest;
mod syntax;
mod world;

pub use crate::body::{Attribute, Block, Body, Evaluated, Label, Lifecycle};
pub use crate::function::{Function, Parameter, Presence, functions};
pub use crate::graph::{Block as GraphBlock, Edge, Graph, Node, Reach};
pub use crate::input::{Given, Input, Origin};
pub use crate::lock::{LOCK_FILE, Lock, Locked};
pub use crate::program::{
    Assertions, Endpoint, Expected, FolderError, Folders, INSTALLED, Import, Local, Module, ModuleCall,
    Moved, NOT_SPEC, Output, Program, ProviderName, Remote, Removed, Resource, Settings, TestCommand,
    TestFile, TestRun, Variable,
};
pub use crate::scope::{Applied, Expansion, Imported, Instance, ModuleInstance, Provided, Scope};
pub use crate::style::{format, say_the_same};
pub use crate::suggest::{did_you_mean, nearest};
pub use crate::syntax::{AttributeSyntax, Expr};
pub use crate::world::{Applying, EmptyWorld, Entry, EntryKind, Moment, World, WorldError};
