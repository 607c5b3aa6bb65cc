//! Whole clusters on this machine: real agents, a real FUSE mount, a real bucket, real kills.
//!
//! Each story has a folder, ports and a cluster of its own. Needs `/dev/fuse`; without it every story fails and says so.
//! Invariant: whatever a story started is gone when it ends, also when it fails.

#[path = "../cli/bucket.rs"]
#[expect(dead_code, reason = "stories look at no file behind an object")]
mod bucket;
mod crash;
mod credentials;
mod extract;
mod faults;
mod fencing;
mod full_disk;
mod growth;
mod lab;
mod link;
mod refresh;
mod relink;
mod tested;
mod two_mounts;
mod upgrade;
mod workloads;
