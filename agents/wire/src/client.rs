//! The asking side of a connection.
//!
//! Does not reconnect and does not resend: who asks knows whether asking twice is right.
//! Invariant: every [`Connection::call`] ends, with the answer or with the reason why none will come, as soon as either is
//! known.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::error::{CodecError, Step, WireError, tls_failure};
use crate::frame::{Coverage, Frame, Kind};
use crate::handshake::{Cover, Hello, Refusal, Welcome};
use crate::identity::{Identity, TLS_BUFFER};
use crate::limit::{CALLS_MAX, NOTICES_MAX};
use crate::link::{Inlet, decode, message};
use crate::machine::{Input, leave_tls};
use crate::outlet::{self, Outlet, Output, write_now};
use crate::protocol::Protocol;
use crate::session::{Arrival, Calls, NoCall, unexpected};
use crate::subject::Subject;

/// TLS wants a name; peers are told apart by their subject instead.
const TLS_NAME: &str = "lustre";

/// A waiting call: woken with its answer's frame, or with `None` where the service gave it up. Dropped at the end.
type Waiter = oneshot::Sender<Option<Frame>>;

/// A connection to a server, shared by all its clones; it closes when the last of them is dropped.
pub struct Connection<P> {
    shared: Arc<Shared>,
    _close: Arc<CloseOnDrop>,
    protocol: PhantomData<fn() -> P>,
}

/// What the server says without being asked.
pub struct Notices<P: Protocol> {
    queue: mpsc::Receiver<P::Notice>,
}

struct Shared {
    address: Arc<str>,
    peer: Subject,
    calls: Mutex<Calls<Waiter>>,
    outlet: Arc<Outlet>,
    closing: CancellationToken,
    ended: CancellationToken,
    cause: OnceLock<Arc<WireError>>,
}

struct CloseOnDrop(CancellationToken);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl<P> Clone for Connection<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), _close: Arc::clone(&self._close), protocol: PhantomData }
    }
}

impl<P> std::fmt::Debug for Connection<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.shared.address)
            .field("peer", &self.shared.peer)
            .finish_non_exhaustive()
    }
}

impl<P: Protocol> std::fmt::Debug for Notices<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notices").field("waiting", &self.queue.len()).finish()
    }
}

impl<P: Protocol> Connection<P> {
    /// Connects to `host:port`, proves who we are, checks who answers, and agrees on a version, all within `timeout`.
    ///
    /// Must be called inside a tokio runtime, which then drives the connection; calls may come from any thread.
    pub async fn connect(
        address: &str,
        identity: &Identity,
        timeout: Duration,
    ) -> Result<(Self, Notices<P>), WireError> {
        let established = tokio::time::timeout(timeout, establish::<P>(address, identity)).await;
        let (inlet, output, peer) = established.unwrap_or_else(|_| {
            Err(WireError::TimedOut { address: address.to_owned(), step: Step::Connecting, limit: timeout })
        })?;
        let (outlet, writer) = outlet::open(output);
        let closing = CancellationToken::new();
        let shared = Arc::new(Shared {
            address: Arc::from(address),
            peer,
            calls: Mutex::new(Calls::new()),
            outlet,
            closing: closing.clone(),
            ended: CancellationToken::new(),
            cause: OnceLock::new(),
        });
        let (notices, notice_queue) = mpsc::channel(NOTICES_MAX);
        tokio::spawn(write(Arc::clone(&shared), writer));
        tokio::spawn(read::<P>(Arc::clone(&shared), inlet, notices));
        let connection = Self { shared, _close: Arc::new(CloseOnDrop(closing)), protocol: PhantomData };
        Ok((connection, Notices { queue: notice_queue }))
    }

    /// Connects as [`Connection::connect`] does, to this peer and no other: an address outlives who had it.
    pub async fn connect_to(
        address: &str,
        peer: &Subject,
        identity: &Identity,
        timeout: Duration,
    ) -> Result<(Self, Notices<P>), WireError> {
        let (connection, notices) = Self::connect(address, identity, timeout).await?;
        if connection.peer() == peer {
            return Ok((connection, notices));
        }
        let (expected, found) = (Box::new(peer.clone()), Box::new(connection.peer().clone()));
        Err(WireError::Other { address: address.to_owned(), expected, found })
    }

    /// Asks, and waits for the answer. Any number of calls may wait at the same time, up to
    /// [`CALLS_MAX`].
    ///
    /// Dropping the future gives the answer up; the request may have been carried out all the same.
    pub async fn call(&self, request: &P::Request, bulk: Bytes) -> Result<(P::Answer, Bytes), WireError> {
        let codec = |source| WireError::Codec { address: self.shared.address.to_string(), source };
        let frame = message(Kind::Request, "request", request, bulk).map_err(codec)?;
        let (waiter, woken) = oneshot::channel();
        let pending = self.shared.begin(frame, waiter)?;
        let frame = woken.await;
        pending.finish();
        match frame {
            Ok(Some(frame)) => {
                let answer = decode("answer", &frame.body).map_err(codec)?;
                Ok((answer, frame.bulk))
            }
            Ok(None) => Err(WireError::Unanswered { address: self.shared.address.to_string() }),
            Err(_) => Err(self.shared.lost()),
        }
    }
}

impl<P> Connection<P> {
    /// Says whether the connection has ended; calls fail from then on.
    pub fn is_closed(&self) -> bool {
        self.shared.ended.is_cancelled()
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) {
        self.shared.ended.cancelled().await;
    }

    /// Closes it for all clones: queued requests are still sent, waiting calls fail.
    pub fn close(&self) {
        self.shared.closing.cancel();
    }

    /// Returns whom the server's certificate names.
    pub fn peer(&self) -> &Subject {
        &self.shared.peer
    }

    /// Returns the address that was connected to.
    pub fn address(&self) -> &str {
        &self.shared.address
    }
}

impl<P: Protocol> Notices<P> {
    /// Waits for the next notice; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<P::Notice> {
        self.queue.recv().await
    }
}

/// A call that waits; gives itself up when it is dropped before its end.
struct Pending<'a> {
    shared: &'a Shared,
    id: Option<u64>,
}

impl Pending<'_> {
    fn finish(mut self) {
        self.id = None;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.calls().abandon(id);
        }
    }
}

impl Shared {
    /// The table stays whole even if a thread died holding it: each change of it is one insertion or removal.
    fn calls(&self) -> MutexGuard<'_, Calls<Waiter>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, mut frame: Frame, waiter: Waiter) -> Result<Pending<'_>, WireError> {
        // Numbered and queued under one lock, so that numbers rise on the wire.
        let mut calls = self.calls();
        let id = calls.begin(waiter).map_err(|no| self.no_call(no))?;
        frame.id = id;
        // Where nothing is queued any more the connection is ending; the reader is about to wake every waiter.
        self.outlet.queue(frame.into());
        drop(calls);
        self.outlet.flush();
        Ok(Pending { shared: self, id: Some(id) })
    }

    fn no_call(&self, no: NoCall) -> WireError {
        match no {
            NoCall::TooMany => {
                WireError::TooManyCalls { address: self.address.to_string(), limit: CALLS_MAX }
            }
            NoCall::Ended => self.lost(),
        }
    }

    /// Notes why the connection ends; the first reason stays.
    fn fail(&self, cause: WireError) {
        let _ = self.cause.set(Arc::new(cause));
        self.closing.cancel();
    }

    fn lost(&self) -> WireError {
        let address = self.address.to_string();
        match self.cause.get() {
            Some(cause) => WireError::Lost { address, source: Arc::clone(cause) },
            None => WireError::Closed { address },
        }
    }

    fn finish(&self) {
        drop(self.calls().end());
        self.ended.cancel();
    }
}

type Stream = TlsStream<TcpStream>;

async fn establish<P: Protocol>(
    address: &str,
    identity: &Identity,
) -> Result<(Inlet<Input>, Output, Subject), WireError> {
    let unreachable = |source| WireError::Unreachable { address: address.to_owned(), source };
    let socket = TcpStream::connect(address).await.map_err(unreachable)?;
    socket.set_nodelay(true).map_err(unreachable)?;
    let name = ServerName::try_from(TLS_NAME)
        .map_err(|error| tls_failure(address, std::io::Error::other(error), false))?;
    let mut stream = TlsConnector::from(identity.client())
        .connect(name, socket)
        .await
        .map_err(|source| tls_failure(address, source, false))?;
    stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
    let peer = peer_of(address, identity, &stream)?;
    let hello = message(Kind::Hello, "hello", &Hello::ours(P::NAME, identity.boot()), Bytes::new())
        .map_err(|source| WireError::Codec { address: address.to_owned(), source })?;
    write_now(&mut stream, &hello, Coverage::Whole)
        .await
        .map_err(|source| tls_failure(address, source, true))?;
    let (input, output) = tokio::io::split(stream);
    let mut inlet = Inlet::new(input, Arc::from(address), Coverage::Whole);
    let (inlet, output): (Inlet<Input>, Output) = match welcomed(address, inlet.frame().await?)? {
        Cover::Tls => (inlet.boxed(), Output::Tls(Box::new(output))),
        Cover::Machine => leave_tls(inlet.into_io().unsplit(output).into_inner().0, address).await?,
    };
    Ok((inlet, output, peer))
}

fn peer_of(address: &str, identity: &Identity, stream: &Stream) -> Result<Subject, WireError> {
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = certificate
        .ok_or(crate::subject::SubjectError::NotCertificate)
        .and_then(Subject::of_certificate)
        .map_err(|source| WireError::Nameless { address: address.to_owned(), source })?;
    let expected = &identity.subject().scope;
    if peer.scope != *expected {
        let (address, expected) = (address.to_owned(), expected.clone());
        return Err(WireError::Scope { address, expected, found: Box::new(peer) });
    }
    Ok(peer)
}

fn welcomed(address: &str, frame: Option<Frame>) -> Result<Cover, WireError> {
    let address = address.to_owned();
    let Some(frame) = frame else { return Err(WireError::Ended { address }) };
    match frame.kind {
        Kind::Welcome => {
            let read: Result<Welcome, CodecError> = decode("welcome", &frame.body);
            read.map(|welcome| welcome.cover).map_err(|source| WireError::Codec { address, source })
        }
        Kind::Refusal => {
            let read: Result<Refusal, CodecError> = decode("refusal", &frame.body);
            Err(match read {
                Ok(source) => WireError::Refused { address, source },
                Err(source) => WireError::Codec { address, source },
            })
        }
        Kind::Hello
        | Kind::Request
        | Kind::Answer
        | Kind::Unanswered
        | Kind::Notice
        | Kind::Beat
        | Kind::Bye => Err(WireError::Protocol { address, source: unexpected(frame.kind) }),
    }
}

async fn write(shared: Arc<Shared>, writer: outlet::Writer) {
    let written = writer.run(shared.closing.clone()).await;
    if let Err(source) = written {
        shared.fail(WireError::Broken { address: shared.address.to_string(), source });
    }
}

async fn read<P: Protocol>(shared: Arc<Shared>, mut inlet: Inlet<Input>, notices: mpsc::Sender<P::Notice>) {
    let received = tokio::select! {
        biased;
        () = shared.closing.cancelled() => Ok(()),
        received = receive::<P>(&shared, &mut inlet, notices) => received,
    };
    if let Err(cause) = received {
        shared.fail(cause);
    }
    shared.finish();
}

/// Hands out what arrives until the connection fails or is closed.
async fn receive<P: Protocol>(
    shared: &Shared,
    inlet: &mut Inlet<Input>,
    notices: mpsc::Sender<P::Notice>,
) -> Result<(), WireError> {
    let address = || shared.address.to_string();
    let mut woken = 0_usize;
    loop {
        let frame = match inlet.arrived()? {
            Some(frame) => frame,
            None => {
                if woken > 1 {
                    // Those who were woken run first: what they ask next leaves in one write.
                    tokio::task::yield_now().await;
                }
                shared.outlet.release();
                woken = 0;
                let frame = inlet.frame().await?;
                let Some(frame) = frame else { return Err(WireError::Ended { address: address() }) };
                frame
            }
        };
        let arrival = shared.calls().received(frame);
        match arrival.map_err(|source| WireError::Protocol { address: address(), source })? {
            // A waiter that is gone has given its call up.
            Arrival::Answer(waiter, frame) => {
                woken += 1;
                if woken == 2 {
                    shared.outlet.gather();
                }
                drop(waiter.send(Some(frame)));
            }
            Arrival::Unanswered(waiter) => drop(waiter.send(None)),
            Arrival::Nothing => {}
            Arrival::Bye => return Err(WireError::Ended { address: address() }),
            Arrival::Notice(frame) => {
                let notice = decode("notice", &frame.body)
                    .map_err(|source| WireError::Codec { address: address(), source })?;
                match notices.try_send(notice) {
                    // Nobody listens to notices: legal, they are dropped.
                    Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        return Err(WireError::Closed { address: address() });
                    }
                }
            }
        }
    }
}
