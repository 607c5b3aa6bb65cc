//! Leaves encryption behind where both ends of a connection are one machine.
//!
//! TLS on loopback costs more than all the rest of a transfer and hides nothing: who could read the loopback device can
//! read the memory of both processes. So each side names, inside the authenticated stream, its boot of the kernel and its
//! network namespace, and where both are the same, TLS ends behind the handshake. Two containers keep it, since others may
//! read the bridge between them; a tunnel or a proxy to another machine never passes the test.
//! Invariant: the first byte outside TLS is the client's, sent after the server agreed inside it; neither side has read ahead.

use tokio::io::AsyncRead;
use tokio::net::TcpStream;

use crate::error::{WireError, tls_failure};
use crate::frame::{Coverage, Frame, Kind};
use crate::link::Inlet;
use crate::outlet::{Output, write_now};

/// Changes with each boot and differs between machines (`random(4)`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A link whose text names the network namespace (`network_namespaces(7)`).
const NETWORK_NAMESPACE: &str = "/proc/self/ns/net";

/// What a connection reads from, with TLS or without.
pub(crate) type Input = Box<dyn AsyncRead + Send + Unpin>;

/// Returns the name of this boot of this machine and of the network that this process sees, where the system tells.
pub(crate) fn boot() -> Option<String> {
    let boot = fs_err::read_to_string(BOOT_ID).ok()?;
    let network = fs_err::read_link(NETWORK_NAMESPACE).ok()?;
    (!boot.trim().is_empty()).then(|| format!("{} {}", boot.trim(), network.display()))
}

/// Goes on without TLS on the client's side: says so with the first plain frame.
pub(crate) async fn leave_tls(socket: TcpStream, address: &str) -> Result<(Inlet<Input>, Output), WireError> {
    let (input, mut output) = socket.into_split();
    let sent = write_now(&mut output, &Frame::bare(Kind::Beat, 0), Coverage::WithoutBulk).await;
    sent.map_err(|source| tls_failure(address, source, true))?;
    Ok((Inlet::new(input, address.into(), Coverage::WithoutBulk).boxed(), Output::Plain(output)))
}

/// Goes on without TLS on the server's side: waits for the client's first plain frame, and sends none before.
pub(crate) async fn await_plain(
    socket: TcpStream,
    address: &str,
) -> Result<(Inlet<Input>, Output), WireError> {
    let (input, output) = socket.into_split();
    let mut inlet = Inlet::new(input, address.into(), Coverage::WithoutBulk).boxed();
    let Some(frame) = inlet.frame().await? else {
        return Err(WireError::Ended { address: address.to_owned() });
    };
    match frame.kind {
        Kind::Beat => Ok((inlet, Output::Plain(output))),
        Kind::Hello
        | Kind::Welcome
        | Kind::Refusal
        | Kind::Request
        | Kind::Answer
        | Kind::Unanswered
        | Kind::Notice
        | Kind::Bye => {
            let source = crate::session::unexpected(frame.kind);
            Err(WireError::Protocol { address: address.to_owned(), source })
        }
    }
}
