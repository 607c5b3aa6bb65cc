//! The binary in a hermetic folder: flags, exit codes, texts and JSON, with `value` resources only.
//!
//! No agent and no mount; those are the stories'. The only servers are the test's own, for states.
//! Invariant: a test sees only its own folder and an environment without `LUSTRE_*`.

mod about;
mod bad_input;
mod blocks;
mod bucket;
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
mod migrate;
mod modules;
mod outputs;
mod partial;
mod pipeline;
mod refresh;
mod repositories;
mod saved_plans;
#[path = "../../state/store/tests/conformance/server.rs"]
mod server;
mod state_changes;
mod state_http;
mod state_s3;
mod test_command;
mod values;
mod variables;
