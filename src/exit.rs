//! How the process ends: every kind of failure, its exit code, and what to do about it.
//!
//! Not how failures are drawn (`view`).
//! Invariant: 0 done or no changes, 1 error, 2 changes (only with `-detailed-exitcode`), 3 formatting differs, 4 stopped
//! by a data-loss gate, 70 a bug. Nothing else is ever returned.

use std::io;
use std::process::ExitCode;

use lustre_apply::ApplyError;
use lustre_apply::error::StepError;
use lustre_model::diagnostic::{Diagnostics, Sources};
use lustre_model::journal::JournalError;
use lustre_model::plan::{Gate, GateReason};
use lustre_plan::file::{PlanFileError, StaleError};
use lustre_store::signature::SignatureError;
use lustre_store::{Ends, LockError, SealError, StoreError};
use thiserror::Error;

/// Returned for a bug, as `sysexits.h` has it.
pub const BUG: u8 = 70;

/// How a command ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// Done, or nothing to do.
    Done,
    /// There are changes, and the caller asked to be told by the exit code.
    Changes,
    /// Files are not in canonical form, and the caller asked.
    FormattingDiffers,
}

/// How a command failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// The spec, or what it asks of hosts, is wrong.
    #[error("the spec has errors")]
    Diagnosed {
        /// What is wrong.
        diagnostics: Diagnostics,
        /// The texts that it points into.
        sources: Box<Sources>,
    },
    /// Bytes would be lost, or a destruction is forbidden.
    #[error("stopped before the first step")]
    Gated {
        /// By these.
        gates: Vec<Gate>,
    },
    /// Steps failed; each was told when it did.
    #[error("{}", steps_failed(*.failed, *.skipped))]
    Steps {
        /// How many failed.
        failed: usize,
        /// How many were not begun for it.
        skipped: usize,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted; what was done is in the state")]
    Interrupted,
    /// The answer to the question was not `yes`.
    #[error("{verb} cancelled")]
    Cancelled {
        /// What was not done.
        verb: &'static str,
    },
    /// There is nobody to ask.
    #[error("approval is needed, but standard input is not a terminal or has ended")]
    NobodyToAsk,
    /// Nothing was begun, or the state could not be kept.
    #[error(transparent)]
    Apply(ApplyError),
    /// A saved plan does not fit the state any more.
    #[error("the saved plan is stale")]
    Stale(#[source] StaleError),
    /// Hosts could not be asked.
    #[error("the hosts could not be asked")]
    Observe(#[source] StepError),
    /// Hosts were asked, and not all is as the state says.
    #[error("{}", amiss_said(*.amiss))]
    Amiss {
        /// How many objects and targets.
        amiss: usize,
    },
    /// The state is locked, or cannot be.
    #[error("{}", lock_said(.0))]
    Lock(#[from] LockError),
    /// The state cannot be read or written.
    #[error("the state cannot be used")]
    Store(#[from] StoreError),
    /// A file is not a plan.
    #[error("{path} cannot be read as a plan")]
    PlanFile {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: PlanFileError,
    },
    /// A plan file cannot be decrypted or encrypted, or should be encrypted.
    #[error("{path} cannot be used as a plan")]
    PlanSeal {
        /// Which file.
        path: String,
        /// Why, and what to do.
        #[source]
        source: SealError,
    },
    /// A plan file is not signed as is demanded, or cannot be signed.
    #[error("{path} cannot be trusted")]
    PlanSignature {
        /// Which file.
        path: String,
        /// Why, and what to do.
        #[source]
        source: SignatureError,
    },
    /// No such output.
    #[error("there is no output \"{name}\"")]
    NoOutput {
        /// Which.
        name: String,
    },
    /// Only texts, numbers and bools can be printed raw.
    #[error("the output \"{name}\" is {kind}, and only a string, number or bool can be printed raw")]
    NotRaw {
        /// Which.
        name: String,
        /// Its type.
        kind: String,
    },
    /// No such object.
    #[error("the state has no {address}")]
    NoObject {
        /// What was asked for.
        address: String,
    },
    /// `-json` cannot ask.
    #[error("-json cannot ask for approval")]
    JsonCannotAsk,
    /// Flags that shape a plan were given with a plan that is made.
    #[error("{flag} shapes a plan and cannot be given with a saved one")]
    Sealed {
        /// Which flag.
        flag: &'static str,
    },
    /// A file could not be read or written.
    #[error("a file could not be used")]
    File(#[from] io::Error),
    /// A mounted file system refuses.
    #[error(transparent)]
    Fs(#[from] crate::command::fs::FsError),
    /// `-` was given with other targets.
    #[error("standard input cannot be formatted together with files")]
    InputAndFiles,
    /// Another command failed and said why itself.
    #[error("{cause}")]
    Said {
        /// What it says.
        cause: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl Success {
    /// Returns the exit code.
    pub fn code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Changes => ExitCode::from(2),
            Self::FormattingDiffers => ExitCode::from(3),
        }
    }
}

impl Failure {
    /// The failure of a command that has shown what is wrong; nothing more is said of it.
    pub fn shown() -> Self {
        Self::Diagnosed { diagnostics: Diagnostics::new(), sources: Box::default() }
    }

    /// Returns the gates that stopped the command; none when something else did.
    pub fn gates(&self) -> &[Gate] {
        if let Self::Gated { gates } | Self::Apply(ApplyError::Gated { gates }) = self { gates } else { &[] }
    }

    /// Returns the exit code.
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Gated { gates } | Self::Apply(ApplyError::Gated { gates }) if loses_data(gates) => {
                ExitCode::from(4)
            }
            Self::Diagnosed { .. }
            | Self::Gated { .. }
            | Self::Steps { .. }
            | Self::Interrupted
            | Self::Cancelled { .. }
            | Self::NobodyToAsk
            | Self::Apply(_)
            | Self::Stale(_)
            | Self::Observe(_)
            | Self::Amiss { .. }
            | Self::Lock(_)
            | Self::Store(_)
            | Self::PlanFile { .. }
            | Self::PlanSeal { .. }
            | Self::PlanSignature { .. }
            | Self::NoOutput { .. }
            | Self::NotRaw { .. }
            | Self::NoObject { .. }
            | Self::JsonCannotAsk
            | Self::Sealed { .. }
            | Self::File(_)
            | Self::Fs(_)
            | Self::InputAndFiles
            | Self::Said { .. } => ExitCode::from(1),
        }
    }

    /// Returns what to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Gated { gates } | Self::Apply(ApplyError::Gated { gates }) => {
                return Some(gate_hint(gates));
            }
            Self::Steps { .. } => "repair the causes above and apply again; what is done stays done",
            Self::Interrupted => "apply again to go on",
            Self::NobodyToAsk => "say -auto-approve, or apply a plan saved with `lustre plan -out=FILE`",
            Self::JsonCannotAsk => "say -auto-approve, or apply a saved plan",
            Self::Stale(_) | Self::Apply(ApplyError::Stale { .. } | ApplyError::Foreign) => "plan again",
            Self::Apply(ApplyError::Journal { source: JournalError::LockLost }) => {
                "this process was held up for longer than its lock lasts, and somebody else works on the state now: wait for \
                 them, then plan again"
            }
            Self::Apply(ApplyError::Journal { .. }) => "make room or repair the disk, then apply again",
            Self::Lock(LockError::Held { held }) if held.ends != Ends::WithItsProcess => {
                let ends = match held.ends {
                    Ends::At(_) => "When its process is dead its lock ends by itself; ",
                    Ends::WithItsProcess | Ends::Never => "When its process is dead, ",
                };
                return Some(format!(
                    "wait for it, or say -lock-timeout=5m to wait here. {ends}`lustre force-unlock {}` ends it now",
                    held.id
                ));
            }
            Self::Lock(LockError::Held { .. } | LockError::HeldByUnnamed) => {
                "wait for it, or say -lock-timeout=5m to wait here; the lock ends with the process that holds it"
            }
            Self::Lock(LockError::Unconditional { .. }) => {
                "keep the state at a store with conditional writes, as AWS, MinIO and Ceph have them, or at a state \"http\""
            }
            Self::PlanFile { .. } => "the file must be what `lustre plan -out=FILE` wrote",
            Self::NoOutput { .. } => "`lustre output` lists them; an output exists once it was applied",
            Self::NotRaw { .. } => "use -json",
            Self::Amiss { .. } => {
                "agents start again what has ended, with pauses: look again in a while; where it stays so, mend the cause \
                 above, or see with `lustre plan` what `lustre apply` would repair"
            }
            Self::NoObject { .. } => "`lustre state list` lists what is there",
            Self::Sealed { .. } => "leave it out, or plan again with it",
            Self::InputAndFiles => "give `-` alone",
            Self::Said { hint, .. } => return hint.clone(),
            Self::Observe(error) => return error.remedy(),
            Self::Diagnosed { .. }
            | Self::Cancelled { .. }
            | Self::Apply(ApplyError::Outputs { .. })
            | Self::Lock(_)
            | Self::Store(_)
            | Self::PlanSeal { .. }
            | Self::PlanSignature { .. }
            | Self::Fs(_)
            | Self::File(_) => return None,
        };
        Some(hint.to_owned())
    }
}

/// Returns an error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

fn steps_failed(failed: usize, skipped: usize) -> String {
    let steps = if failed == 1 { "1 step failed".to_owned() } else { format!("{failed} steps failed") };
    match skipped {
        0 => steps,
        1 => format!("{steps}, and 1 that depends on it was not begun"),
        _ => format!("{steps}, and {skipped} that depend on it were not begun"),
    }
}

fn lock_said(error: &LockError) -> &'static str {
    match error {
        LockError::Held { .. } | LockError::HeldByUnnamed => "the state is in use",
        LockError::State { .. } => "the state cannot be used",
        LockError::Damaged { .. }
        | LockError::Io { .. }
        | LockError::Storage { .. }
        | LockError::Unconditional { .. }
        | LockError::Http { .. }
        | LockError::Encoding { .. } => "the state cannot be locked",
    }
}

fn amiss_said(amiss: usize) -> String {
    if amiss == 1 {
        "1 thing is not as the state says".to_owned()
    } else {
        format!("{amiss} things are not as the state says")
    }
}

fn loses_data(gates: &[Gate]) -> bool {
    gates.iter().any(|gate| gate.reason == GateReason::DataLoss)
}

/// Names the exact flags that lift the gates, or what the spec must say.
fn gate_hint(gates: &[Gate]) -> String {
    let mut wholes: Vec<String> = gates
        .iter()
        .filter(|gate| gate.reason == GateReason::DataLoss)
        .map(|gate| gate.address.to_string())
        .collect();
    let clusters: Vec<String> =
        wholes.iter().filter(|address| !address.contains(".target[")).cloned().collect();
    wholes.retain(|address| {
        clusters.contains(address) || !clusters.iter().any(|cluster| covers(cluster, address))
    });
    let mut lines = Vec::new();
    if !wholes.is_empty() {
        let flags: Vec<String> =
            wholes.iter().map(|address| shell_word(&format!("-allow-data-loss={address}"))).collect();
        lines.push(format!("to go on and lose these bytes, add {}", flags.join(" ")));
    }
    for gate in gates.iter().filter(|gate| gate.reason == GateReason::PreventDestroy) {
        lines.push(format!("{}: set lifecycle {{ prevent_destroy = false }} first", gate.address));
    }
    lines.join("; ")
}

fn covers(cluster: &str, address: &str) -> bool {
    address.strip_prefix(cluster).is_some_and(|rest| rest.starts_with(".target["))
}

/// Quotes a word for a shell when it needs it.
fn shell_word(word: &str) -> String {
    let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=/".contains(&byte));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use lustre_model::address::Address;

    use super::*;

    fn gate(address: Address) -> Gate {
        Gate { address, reason: GateReason::DataLoss }
    }

    #[test]
    fn the_hint_names_a_cluster_once_and_not_its_targets() {
        let cluster = Address::new("cluster", "a");
        let gates = [gate(cluster.clone()), gate(cluster.part("target", "a-OST0000"))];
        assert!(gate_hint(&gates).ends_with("add -allow-data-loss=cluster.a"), "{}", gate_hint(&gates));
    }

    #[test]
    fn the_hint_survives_a_shell() {
        let target = Address::new("cluster", "a").part("target", "a-OST0000");
        let hint = gate_hint(&[gate(target)]);
        assert!(hint.ends_with("add '-allow-data-loss=cluster.a.target[\"a-OST0000\"]'"), "{hint}");
    }
}
