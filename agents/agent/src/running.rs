//! Processes that run, told apart from others that got their number.
//!
//! Linux reuses process numbers; a number with its start time and the kernel's boot names one process for ever.
//! Invariant: no signal is sent to a process that is not proven to be the one that was started as ours.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Changes with each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Milliseconds of one tick in `/proc/<pid>/stat`: `USER_HZ` is 100 on every architecture that we build for.
const TICK_MS: u64 = 10;

/// Names one process for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// Its number.
    pub pid: u32,
    /// Ticks from boot to its start.
    pub start: u64,
    /// The boot it belongs to.
    pub boot: String,
}

/// A proven process, by a descriptor that never names another one.
#[derive(Debug)]
pub(crate) struct Alive {
    /// What proves it.
    pub proof: Proof,
    descriptor: AsyncFd<OwnedFd>,
}

/// What a process used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Most resident bytes ever.
    pub memory_peak: u64,
    /// CPU time, user and system.
    pub cpu_ms: u64,
}

/// The fields that we use of `/proc/<pid>/stat`.
struct Stat {
    ended: bool,
    cpu_ticks: u64,
    start: u64,
}

impl Proof {
    /// Proves the process that has this number now; `None` when there is none.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let Some(stat) = stat(pid)?.filter(|stat| !stat.ended) else { return Ok(None) };
        Ok(Some(Self { pid, start: stat.start, boot: boot()? }))
    }

    /// Opens the process, when it is still there. Needs a tokio runtime.
    pub fn open(self) -> io::Result<Option<Alive>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Read after opening: from here on the number cannot pass to another process unseen.
        if Self::of(self.pid)?.as_ref() != Some(&self) {
            return Ok(None);
        }
        Ok(Some(Alive { proof: self, descriptor: watch(descriptor)? }))
    }
}

impl Alive {
    /// Waits for its end.
    pub async fn ended(&self) -> io::Result<()> {
        self.descriptor.readable().await.map(drop)
    }

    /// Sends it a signal; nothing when it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.descriptor.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[expect(
    deprecated,
    reason = "an OwnedFd keeps its descriptor open, which is all that the unsafe successor asks for"
)]
fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Names the run of the kernel.
pub(crate) fn boot() -> io::Result<String> {
    Ok(fs_err::read_to_string(BOOT_ID)?.trim().to_owned())
}

/// Returns what a process used; `None` when it has ended.
pub(crate) fn usage(proof: &Proof) -> Option<Usage> {
    let stat = stat(proof.pid).ok()??;
    if stat.start != proof.start || stat.ended {
        return None;
    }
    let status = fs_err::read_to_string(format!("/proc/{}/status", proof.pid)).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(Usage { memory_peak: kibibytes << 10, cpu_ms: stat.cpu_ticks * TICK_MS })
}

fn stat(pid: u32) -> io::Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    match fs_err::read_to_string(Path::new(&path)) {
        Ok(text) => Ok(parse_stat(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // The process ended between opening and reading.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name in the second field may hold anything, so fields are counted behind its last parenthesis.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let ended = matches!(*fields.first()?, "Z" | "X" | "x");
    Some(Stat { ended, cpu_ticks: number(11)? + number(12)?, start: number(19)? })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = "7 (a) b) (S 1) S 1 7 7 0 -1 4194304 1 2 3 4 11 22 0 0 20 0 1 0 987654 1 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.ended, stat.cpu_ticks, stat.start), (false, 33, 987_654));
    }

    #[tokio::test]
    async fn a_process_is_proven_until_it_ends_and_a_wrong_start_never_is() {
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let proof = Proof::of(child.id()).unwrap().unwrap();
        assert!(usage(&proof).unwrap().memory_peak > 0);
        let other = Proof { start: proof.start + 1, ..proof.clone() };
        assert!(other.open().unwrap().is_none());
        let earlier = Proof { boot: "another boot".to_owned(), ..proof.clone() };
        assert!(earlier.open().unwrap().is_none());
        let alive = proof.clone().open().unwrap().unwrap();
        alive.signal(Signal::KILL).unwrap();
        alive.ended().await.unwrap();
        assert!(proof.clone().open().unwrap().is_none(), "a zombie is not alive");
        child.wait().unwrap();
        assert!(proof.open().unwrap().is_none());
        alive.signal(Signal::KILL).unwrap();
    }
}
