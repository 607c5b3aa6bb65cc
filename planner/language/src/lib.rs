//! The language of specs: HCL text in, values out.
//!
//! ```text
//! files ──parse──▶ Program ──references──▶ the planner's graph
//!                     │
//!                     ├─ expand(resource) ──▶ instances (for_each, count)
//!                     └─ evaluate(instance) ─▶ Body: attributes (Value + Span) and nested blocks
//! ```
//! How the planner drives it; everything that is wrong is collected in the scope, nothing stops at the first error:
//! ```text
//! let (program, diagnostics) = Program::load(files, &["host", "cluster", …]);    // texts, by name
//! let mut scope = Scope::new(&program, &world, inputs);                          // variables converted and validated
//! for resource in program.resources() {                                          // &Resource { kind, name, span, … }
//!     program.references(resource) -> Vec<Reference { address, span }>           // resources only, through locals too;
//! }                                                                              // address.key set for `a["k"]`
//! // in topological order:
//! let instances = scope.expand(resource) -> Vec<Instance { address, … }>;        // empty when for_each failed
//! let evaluated = scope.evaluate(resource, &instance) -> Evaluated { body, lifecycle, complete };
//! scope.set(&instance.address, Value::resource_object(address, attributes));     // known or partly unknown
//! scope.poison(&instance.address);                                               // decode failed: dependents stay silent
//! // at the end:
//! for output in program.outputs() { scope.output(output) -> Option<Value> }
//! program.settings(): required_version, state backend · scope.state_backend() -> Option<Block>
//! scope.files_read() -> BTreeMap<path, sha256> · scope.take_diagnostics() -> Diagnostics · program.sources() -> &Sources
//!
//! Body { attributes: IndexMap<String, Attribute { value, span, name_span }>, blocks: Vec<Block>, span }
//! Block { kind, labels: Vec<Label { text, span }>, body, span }
//! ```
//! Not here: which attributes a resource has, the graph, the state, files (they come through the trait `World`).
//! Invariant: no text makes anything here panic, hang, or use memory without bound.

mod body;
mod constraint;
mod evaluate;
mod function;
mod input;
mod mention;
mod program;
mod scope;
mod suggest;
mod syntax;
mod world;

pub use crate::body::{Attribute, Block, Body, Evaluated, Label, Lifecycle};
pub use crate::function::{Function, Parameter, Presence, functions};
pub use crate::input::{Given, Input, Origin};
pub use crate::program::{Local, Output, Program, Reference, Resource, Settings, Variable};
pub use crate::scope::{Instance, Scope};
pub use crate::suggest::{did_you_mean, nearest};
pub use crate::syntax::Expr;
pub use crate::world::{EmptyWorld, World, WorldError};
