//! The binary in a hermetic folder: flags, exit codes, texts and JSON, with `value` resources only.
//!
//! No agent, no mount, no network; those are the stories'.
//! Invariant: a test sees only its own folder and an environment without `LUSTRE_*`.

mod about;
mod bad_input;
mod blocks;
mod crash;
mod encryption;
mod explain;
mod fmt;
mod folder;
mod gates;
mod import;
mod json;
mod json_into;
mod library;
mod locks;
mod looks;
mod modules;
mod outputs;
mod partial;
mod pipeline;
mod refresh;
mod repositories;
mod saved_plans;
mod state_changes;
mod test_command;
mod values;
mod variables;
