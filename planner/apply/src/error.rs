//! Why a step failed, whether trying again may help, and what a person can do.
//!
//! Not why an apply could not begin; that is [`crate::walk::ApplyError`].
//! Invariant: what is transient is so by its type, never by the text of a message.

use std::error::Error as _;
use std::time::Duration;

use lustre_model::address::Address;
use lustre_model::control::Refusal;
use lustre_model::fault::Fault;
use lustre_model::hsm::FailedExport;
use lustre_model::journal::{JournalError, ResolveError};
use lustre_model::recorded::IllegalEvent;
use lustre_model::resource::AttributeError;
use lustre_wire::WireError;
use thiserror::Error;

use crate::clock::Side;
use crate::cloud::CloudError;
use crate::connection::ConnectionError;
use crate::trust::TrustError;

/// Most failed exports that an error names.
const EXPORTS_SHOWN: usize = 5;

/// Why a step failed.
#[derive(Debug, Error)]
pub enum StepError {
    /// An attribute did not become known, or came out differently.
    #[error("its attributes could not be made")]
    Resolve(#[from] ResolveError),
    /// The object is there, but its postconditions do not hold, or could not be evaluated.
    #[error("it is not as the spec asserts")]
    Unfulfilled(#[source] ResolveError),
    /// Attributes are not those of the kind.
    #[error("its attributes do not fit")]
    Attributes(#[from] AttributeError),
    /// The step does not follow what is recorded.
    #[error("the step does not fit the state")]
    Illegal(#[from] IllegalEvent),
    /// Something cannot be signed.
    #[error("no certificate could be made")]
    Trust(#[from] TrustError),
    /// The host could not be reached, or a command there failed.
    #[error("the host could not be worked on")]
    Connection(#[from] ConnectionError),
    /// The agent's binary is not beside ours.
    #[error("there is no agent to put on the host at {path}")]
    NoAgentBinary {
        /// Where it was looked for.
        path: String,
    },
    /// Our agent cannot run there.
    #[error("{host} is {machine}, and the agent beside this program is for {ours}")]
    Machine {
        /// Which host.
        host: Box<Address>,
        /// What it is.
        machine: String,
        /// What it would have to be.
        ours: String,
    },
    /// Its clock is off.
    #[error("the clock of {host} is {seconds} s {side} the one of this machine")]
    Clock {
        /// Which host.
        host: Box<Address>,
        /// By how much at least.
        seconds: u64,
        /// Which way.
        side: Side,
    },
    /// A host that a step needs is not recorded.
    #[error("{host} is not in the state")]
    NoHost {
        /// Which.
        host: Box<Address>,
    },
    /// Nothing answers where the agent should.
    #[error("the agent of {host} does not answer")]
    NoAgent {
        /// Whose.
        host: Box<Address>,
    },
    /// Another deployment's agent lives in the folder.
    #[error("{path} on {host} belongs to the agent of another state")]
    Foreign {
        /// Which host.
        host: Box<Address>,
        /// Its folder.
        path: String,
    },
    /// The agent does not answer.
    #[error("the agent of {host} does not answer")]
    Agent {
        /// Whose.
        host: Box<Address>,
        /// Why.
        #[source]
        source: Box<WireError>,
    },
    /// The agent was started, and does not answer.
    #[error("the agent of {host} was started, and does not answer at {address}; its last words: {words}")]
    Silent {
        /// Whose.
        host: Box<Address>,
        /// Where it should.
        address: String,
        /// The end of its log.
        words: String,
        /// Why.
        #[source]
        source: Box<WireError>,
    },
    /// The agent was started, and ended or did not say that it listens.
    #[error("the agent of {host} did not come up; its last words: {words}")]
    NotUp {
        /// Whose.
        host: Box<Address>,
        /// The end of its log.
        words: String,
    },
    /// Another agent than the one that was started goes on answering.
    #[error("at {address} an agent answers that is not the one that was started on {host}")]
    OtherAgent {
        /// Where it was started.
        host: Box<Address>,
        /// Where it should answer.
        address: String,
    },
    /// A new agent did not work, and the one before it runs again.
    #[error("the new agent of {host} did not work, and the one before it was put back")]
    PutBack {
        /// Whose.
        host: Box<Address>,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// Neither a new agent nor the one before it works.
    #[error("the new agent of {host} did not work, and the one before it could not be put back: {}", .cause.causes().join(": "))]
    NotPutBack {
        /// Whose.
        host: Box<Address>,
        /// Why it could not be put back.
        cause: Box<StepError>,
        /// Why the new one did not work.
        #[source]
        source: Box<StepError>,
    },
    /// A new agent did not work on another host.
    #[error("{host} keeps the agent that it has, because the new one did not work on {failed}")]
    Held {
        /// Which host.
        host: Box<Address>,
        /// Where it did not.
        failed: Box<Address>,
    },
    /// The agent said no.
    #[error("the agent of {host} could not do it")]
    Refused {
        /// Whose.
        host: Box<Address>,
        /// Why.
        #[source]
        source: Refusal,
    },
    /// The agent answered something else than was asked.
    #[error("the agent of {host} gave an answer that does not belong to {asked}")]
    Unfitting {
        /// Whose.
        host: Box<Address>,
        /// To which request.
        asked: &'static str,
    },
    /// The metadata target does not answer.
    #[error("the metadata target of {cluster} does not answer")]
    Metadata {
        /// Of which cluster.
        cluster: Box<Address>,
        /// Why.
        #[source]
        source: Box<WireError>,
    },
    /// The metadata target said no.
    #[error("the metadata target of {cluster} could not {what}")]
    MetadataRefused {
        /// Of which cluster.
        cluster: Box<Address>,
        /// What was asked.
        what: &'static str,
        /// Why.
        #[source]
        source: Fault,
    },
    /// The link cannot work.
    #[error("the link does not work: {cause}")]
    Link {
        /// What the metadata target says.
        cause: String,
    },
    /// A link that this state does not record has the directory, or the part of the bucket.
    #[error("{name} links {directory} with {repository} already, and this state does not record it")]
    LinkTaken {
        /// Its address where it was declared.
        name: String,
        /// Its directory.
        directory: String,
        /// Its bucket and prefix.
        repository: String,
    },
    /// The metadata target does not know a link that was put there.
    #[error("the metadata target forgot the link")]
    LinkMissing,
    /// Files have not reached the bucket.
    #[error("{pending} files have not been exported: {}", exports(.failed))]
    Unexported {
        /// How many.
        pending: u64,
        /// Those that failed.
        failed: Vec<FailedExport>,
    },
    /// Something that was waited for did not go on.
    #[error("{what} made no progress for {} s", limit.as_secs())]
    Stalled {
        /// What.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// AWS did not do it.
    #[error("AWS did not do it")]
    Cloud(#[from] CloudError),
    /// What the step must not forget could not be recorded, so it did not go on.
    #[error("what the step is about to do could not be recorded")]
    Journal(#[from] JournalError),
    /// Processes would be left behind.
    #[error("{host} still keeps {}", processes.join(", "))]
    StillKept {
        /// Which host.
        host: Box<Address>,
        /// What it keeps.
        processes: Vec<String>,
    },
}

impl StepError {
    /// Tells whether the same step may succeed soon without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Agent { source, .. } | Self::Metadata { source, .. } => wire_is_transient(source),
            Self::Connection(ConnectionError::Ssh { source, .. }) => source.is_transient(),
            Self::MetadataRefused { source, .. } => {
                matches!(source, Fault::TimedOut | Fault::Unreachable | Fault::Busy)
            }
            Self::Resolve(_)
            | Self::Unfulfilled(_)
            | Self::Attributes(_)
            | Self::Illegal(_)
            | Self::Trust(_)
            // What may pass was sent again by who asked.
            | Self::Cloud(_)
            | Self::Journal(_)
            | Self::Connection(_)
            | Self::NoAgentBinary { .. }
            | Self::Machine { .. }
            | Self::Clock { .. }
            | Self::Silent { .. }
            | Self::NotUp { .. }
            | Self::OtherAgent { .. }
            | Self::PutBack { .. }
            | Self::NotPutBack { .. }
            | Self::Held { .. }
            | Self::NoHost { .. }
            | Self::NoAgent { .. }
            | Self::Foreign { .. }
            | Self::Refused { .. }
            | Self::Unfitting { .. }
            | Self::Link { .. }
            | Self::LinkTaken { .. }
            | Self::LinkMissing
            | Self::Unexported { .. }
            | Self::Stalled { .. }
            | Self::StillKept { .. } => false,
        }
    }

    /// Returns what went wrong, outermost first.
    pub fn causes(&self) -> Vec<String> {
        let mut causes = vec![self.to_string()];
        let mut next = self.source();
        while let Some(source) = next {
            causes.push(source.to_string());
            next = source.source();
        }
        causes.dedup();
        causes
    }

    /// Returns what a person can do, when that is known.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Refused { source, .. } => Some(remedy_of(source)),
            Self::Foreign { .. } => {
                Some("use that state, or give the host block another path and port".to_owned())
            }
            Self::NoAgentBinary { .. } => Some("install lustre-agent beside lustre".to_owned()),
            Self::Silent { address, .. } => Some(format!(
                "when it says that it listens, look for a firewall between this machine and {address}; else mend what it says"
            )),
            Self::NotUp { .. } => Some("mend what it says, then apply again".to_owned()),
            Self::OtherAgent { address, .. } => {
                Some(format!("end what answers at {address}, then apply again"))
            }
            Self::PutBack { .. } => Some(
                "its processes went on all the while: mend the cause, or go back to the lustre that brought the agent before; the next \
                 apply tries again"
                    .to_owned(),
            ),
            Self::NotPutBack { .. } => Some(
                "its processes go on without an agent: see to the host, then apply again, which starts an agent there".to_owned(),
            ),
            Self::Held { failed, .. } => {
                Some(format!("see to {failed} first; the next apply goes on where this one stopped"))
            }
            Self::Clock { .. } => Some(
                "have both set their clocks by the network, `timedatectl set-ntp true` where systemd runs; files get their times from \
                 these clocks, and certificates are refused by a host that is a day behind"
                    .to_owned(),
            ),
            Self::Machine { ours, .. } => {
                Some(format!("use hosts that are {ours}, or run lustre of the host's architecture"))
            }
            Self::Unexported { .. } => Some(
                "repair the access to the bucket, or allow the loss with -allow-data-loss=ADDRESS".to_owned(),
            ),
            Self::LinkTaken { .. } => Some(
                "if this state forgot it, give it the state back that `lustre state rm` kept: `lustre state push -force \
                 lustre.state.backup`; else link another directory with another prefix"
                    .to_owned(),
            ),
            Self::Resolve(_) => Some("plan again".to_owned()),
            Self::Unfulfilled(_) => {
                Some("change the spec, or what the object depends on, and apply again".to_owned())
            }
            Self::Connection(source) => source.remedy(),
            Self::Cloud(source) => source.remedy(),
            Self::Attributes(_)
            | Self::Journal(_)
            | Self::Illegal(_)
            | Self::Trust(_)
            | Self::NoHost { .. }
            | Self::NoAgent { .. }
            | Self::Agent { .. }
            | Self::Unfitting { .. }
            | Self::Metadata { .. }
            | Self::MetadataRefused { .. }
            | Self::Link { .. }
            | Self::LinkMissing
            | Self::Stalled { .. }
            | Self::StillKept { .. } => None,
        }
    }
}

/// Returns what a person can do about an agent's refusal.
fn remedy_of(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotStarted { remedy, .. } | Refusal::Conflict { remedy, .. } => remedy.clone(),
        Refusal::Fenced { .. } => "wait for the other apply, then plan again".to_owned(),
        Refusal::NotAdministrator => {
            "another state owns this host: use that state, or give the host block another path and port"
                .to_owned()
        }
    }
}

fn wire_is_transient(error: &WireError) -> bool {
    match error {
        WireError::Unreachable { .. }
        | WireError::TimedOut { .. }
        | WireError::Broken { .. }
        | WireError::Silent { .. }
        | WireError::Ended { .. }
        | WireError::Closed { .. }
        | WireError::Lost { .. }
        | WireError::Unanswered { .. }
        | WireError::TooManyCalls { .. } => true,
        WireError::Stranger { .. }
        | WireError::Other { .. }
        | WireError::Unwelcome { .. }
        | WireError::Tls { .. }
        | WireError::Nameless { .. }
        | WireError::Scope { .. }
        | WireError::Refused { .. }
        | WireError::Damaged { .. }
        | WireError::Protocol { .. }
        | WireError::Codec { .. } => false,
    }
}

fn exports(failed: &[FailedExport]) -> String {
    let mut shown: Vec<String> = failed
        .iter()
        .take(EXPORTS_SHOWN)
        .map(|export| format!("{} ({})", export.path, export.cause))
        .collect();
    if failed.len() > EXPORTS_SHOWN {
        shown.push(format!("{} more", failed.len() - EXPORTS_SHOWN));
    }
    shown.join(", ")
}
