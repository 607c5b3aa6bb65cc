//! Carries a sealed plan out: reaches hosts, starts their agents, asks them, and journals every step.
//!
//! Not what the plan is (`planner/plan`), where its journal is kept (`state/store`), or what is shown meanwhile (the
//! package `lustre`, through [`event::Watch`]).
//! Invariant: applying what was applied before changes nothing; an apply that was killed at any moment is finished by
//! the next.

mod bootstrap;
pub mod clock;
pub mod cloud;
pub mod connection;
pub mod credential;
pub mod error;
pub mod event;
mod fleet;
pub mod interrupt;
pub mod observe;
mod order;
mod perform;
mod service;
mod step;
mod trust;
mod upgrade;
mod walk;

pub use perform::{Left, Perform, Task, Tell};
pub use step::Hosts;
pub use walk::{Apply, ApplyError, Failure, Report, carry_out};
