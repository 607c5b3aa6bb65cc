//! Hosts over SSH, on real machines: containers with systemd and sshd of their own on a private bridge.
//!
//! Each test has a lab of its own, with its own names, keys and addresses; several run at once. Needs root and what
//! `make setup-test` installs; without it every test fails and says so.
//! Invariant: whatever a test started is gone when it ends, also when it fails; when it is killed its machines end with it, and the
//! next lab removes their bridge.

#[cfg(test)]
mod cluster;
#[cfg(test)]
#[path = "../../planner/apply/tests/connection/conformance.rs"]
mod conformance;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod root;
#[cfg(test)]
mod spawned;
#[cfg(test)]
mod upgrade;
