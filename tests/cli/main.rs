//! The binary in a hermetic folder: flags, exit codes, texts and JSON, with `value` resources only.
//!
//! No agent, no mount, no network; those are the stories'.
//! Invariant: a test sees only its own folder and an environment without `LUSTRE_*`.

mod bad_input;
mod crash;
mod fmt;
mod folder;
mod gates;
mod json;
mod locks;
mod outputs;
mod saved_plans;
mod values;
mod variables;
