//! What a host is: kernel, architecture, cores, memory, and which agent runs there.
//!
//! Facts only; whether they suffice is the planner's to say.
//! Invariant: the agent's hash is that of the program that runs, also when the file was replaced meanwhile.

use std::io::{self, Read};

use lustre_model::control::Facts;
use sha2::{Digest, Sha256};

/// The program that runs, whatever its path holds now.
const SELF: &str = "/proc/self/exe";

/// Bytes that are hashed at a time.
const CHUNK: usize = 1 << 20;

/// Looks at this host.
pub(crate) fn facts(agent_hash: &str) -> Facts {
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let memory = rustix::system::sysinfo();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Facts {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        agent_hash: agent_hash.to_owned(),
        hostname: text(system.nodename()),
        architecture: text(system.machine()),
        kernel: text(system.release()),
        uid: rustix::process::geteuid().as_raw(),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        memory: memory.totalram.saturating_mul(u64::from(memory.mem_unit)),
    }
}

/// Returns the SHA-256 of the running program, hex.
pub(crate) fn program_hash() -> io::Result<String> {
    let mut file = fs_err::File::open(SELF)?;
    let (mut hasher, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&chunk[..count]);
    }
}
