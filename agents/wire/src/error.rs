//! Why a connection or a call failed: who, what, and what to do about it.
//!
//! Not the answers of services; a refusal that a service decided arrives as an answer.
//! Invariant: every error names the address of the peer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::frame::FrameError;
use crate::handshake::Refusal;
use crate::session::SessionError;
use crate::subject::{Subject, SubjectError};

/// A part of making a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Resolving the name and reaching the port, up to the end of the handshake.
    Connecting,
    /// TLS and the version handshake.
    Handshake,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Handshake => "the handshake",
        })
    }
}

/// A body is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// It cannot be read.
    #[error("the {what} cannot be decoded")]
    Decode {
        /// What it should be.
        what: &'static str,
        /// Why not.
        #[source]
        source: postcard::Error,
    },
    /// Something follows it.
    #[error("{bytes} bytes follow the {what}")]
    Trailing {
        /// What it should be.
        what: &'static str,
        /// How many.
        bytes: usize,
    },
    /// It cannot be written.
    #[error("the {what} cannot be encoded")]
    Encode {
        /// What it is.
        what: &'static str,
        /// Why not.
        #[source]
        source: postcard::Error,
    },
    /// It is too large to send.
    #[error("the {what} is too large to send")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How large.
        #[source]
        source: FrameError,
    },
}

/// Why a connection or a call failed.
#[derive(Debug, Error)]
pub enum WireError {
    /// Nothing answers at the address.
    #[error("cannot reach {address}: check that the process runs there and that no firewall is between")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{step} with {address} took longer than {}: the host is overloaded or drops packets", seconds(*.limit))]
    TimedOut {
        /// With whom.
        address: String,
        /// What took so long.
        step: Step,
        /// What was allowed.
        limit: Duration,
    },
    /// The peer's certificate is not one of our authority's.
    #[error(
        "{address} showed a certificate that our authority did not sign: another deployment answers there"
    )]
    Stranger {
        /// Who.
        address: String,
        /// What is wrong with the certificate.
        #[source]
        source: rustls::Error,
    },
    /// The peer does not accept our certificate.
    #[error(
        "{address} does not accept our certificate: it was revoked or has ended, or another authority is trusted there"
    )]
    Unwelcome {
        /// Who.
        address: String,
        /// What it said.
        #[source]
        source: rustls::Error,
    },
    /// TLS failed otherwise.
    #[error("no TLS with {address}: something that is not ours may answer there")]
    Tls {
        /// With whom.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The peer's certificate names nobody.
    #[error("the certificate of {address} is not one of lustre's")]
    Nameless {
        /// Who.
        address: String,
        /// Why.
        #[source]
        source: SubjectError,
    },
    /// The peer belongs to another deployment or cluster.
    #[error("{address} belongs to \"{}\", not to \"{expected}\": the address is another cluster's", .found.scope)]
    Scope {
        /// Who.
        address: String,
        /// Our scope.
        expected: String,
        /// Whom its certificate names.
        found: Box<Subject>,
    },
    /// Another peer of the same cluster has the address.
    #[error("{expected} does not answer at {address}, {found} does: the address is another process's now")]
    Other {
        /// Where.
        address: String,
        /// Who should answer.
        expected: Box<Subject>,
        /// Who does.
        found: Box<Subject>,
    },
    /// The peer will not talk to us.
    #[error("{address} refused the connection")]
    Refused {
        /// Who.
        address: String,
        /// Why.
        #[source]
        source: Refusal,
    },
    /// Bytes that are no frame.
    #[error("the stream from {address} is damaged")]
    Damaged {
        /// From whom.
        address: String,
        /// How.
        #[source]
        source: FrameError,
    },
    /// A frame that may not come.
    #[error("{address} breaks the protocol")]
    Protocol {
        /// Who.
        address: String,
        /// How.
        #[source]
        source: SessionError,
    },
    /// A body that cannot be read or sent.
    #[error("a message to or from {address} is unusable")]
    Codec {
        /// Whose.
        address: String,
        /// How.
        #[source]
        source: CodecError,
    },
    /// The stream broke.
    #[error("the connection to {address} broke")]
    Broken {
        /// To whom.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The peer said nothing, not even that it lives.
    #[error("{address} has been silent for {}: its host or the network is down", seconds(*.limit))]
    Silent {
        /// Who.
        address: String,
        /// How long.
        limit: Duration,
    },
    /// The peer closed the connection.
    #[error("{address} closed the connection: the process there ended or restarts")]
    Ended {
        /// Who.
        address: String,
    },
    /// This side closed the connection.
    #[error("the connection to {address} was closed here")]
    Closed {
        /// To whom.
        address: String,
    },
    /// A call lost its connection.
    #[error("no answer from {address}: the connection is gone")]
    Lost {
        /// From whom.
        address: String,
        /// Why it is gone.
        #[source]
        source: Arc<WireError>,
    },
    /// The service there gave the request up.
    #[error("{address} gave the request up without an answer: look into its log")]
    Unanswered {
        /// Who.
        address: String,
    },
    /// Too many calls wait.
    #[error("{limit} calls to {address} wait already: it does not keep up")]
    TooManyCalls {
        /// Whom.
        address: String,
        /// How many may wait.
        limit: usize,
    },
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f32())
}

impl WireError {
    /// Tells whether the peer refused our certificate for what it is: trying again with it leads nowhere.
    pub fn is_refused_certificate(&self) -> bool {
        use rustls::AlertDescription::{
            AccessDenied, BadCertificate, CertificateExpired, CertificateRevoked, CertificateUnknown,
            UnknownCA,
        };
        let Self::Unwelcome { source: rustls::Error::AlertReceived(alert), .. } = self else { return false };
        [AccessDenied, BadCertificate, CertificateExpired, CertificateRevoked, CertificateUnknown, UnknownCA]
            .contains(alert)
    }
}

/// Sorts what goes wrong with a TLS stream by who distrusts whom.
pub(crate) fn tls_failure(address: &str, source: io::Error, connected: bool) -> WireError {
    let address = address.to_owned();
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
    match inner {
        Some(source @ rustls::Error::InvalidCertificate(_)) => WireError::Stranger { address, source },
        Some(source @ rustls::Error::AlertReceived(_)) => WireError::Unwelcome { address, source },
        Some(_) | None if connected => WireError::Broken { address, source },
        Some(_) | None => WireError::Tls { address, source },
    }
}
