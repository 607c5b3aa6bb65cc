//! The answering side of connections.
//!
//! Gives requests to a [`Service`] and carries its answers back; knows nothing of what they mean.
//! Invariant: every request gets exactly one answer, or its caller learns that none will come: a [`Responder`] that is dropped says so.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::{Step, WireError, tls_failure};
use crate::frame::{Coverage, Frame, Kind};
use crate::handshake::{Cover, Hello, Refusal, check_scope, negotiate};
use crate::identity::{Identity, TLS_BUFFER};
use crate::limit::{ACCEPT_PAUSE, CONNECTIONS_MAX, HANDSHAKE_MAX, NOTICES_MAX, SERVER_BYTES_MAX};
use crate::link::{Budget, Charge, Inlet, decode, message};
use crate::machine::{Input, await_plain};
use crate::outlet::{self, Outgoing, Outlet, Output, write_now};
use crate::protocol::Protocol;
use crate::session::{Demand, Requests, unexpected};
use crate::subject::{Issued, Subject, SubjectError};

/// Gives the requests of a protocol their meaning.
pub trait Service<P: Protocol>: Send + Sync + 'static {
    /// A peer is there; called before its first request.
    fn connected(&self, peer: &Peer<P>) {
        let _ = peer;
    }

    /// A peer is gone; called after its last request, exactly once for each `connected`.
    fn disconnected(&self, peer: &Peer<P>) {
        let _ = peer;
    }

    /// Takes a request. Called inline on the connection's reader, one at a time and in the order of sending: must not
    /// block for long. The responder may be kept and used later, from any thread.
    fn call(&self, peer: &Peer<P>, request: P::Request, bulk: Bytes, responder: Responder<P>);

    /// No more requests are there for now. Called on the connection's reader whenever it is about to wait, so that a service
    /// may collect the requests that arrive together and start on them here; it must not block for long either.
    ///
    /// Where the connection ends instead, `disconnected` follows the last `call`.
    fn paused(&self, peer: &Peer<P>) {
        let _ = peer;
    }
}

/// One connected client. Clones name the same connection.
pub struct Peer<P> {
    link: Arc<PeerLink>,
    protocol: PhantomData<fn() -> P>,
}

struct PeerLink {
    id: u64,
    subject: Subject,
    address: Arc<str>,
    outlet: Arc<Outlet>,
    closing: CancellationToken,
    /// Notices that are not written yet, counted one each.
    notices: Arc<Budget>,
}

/// Where the answer to one request goes.
pub struct Responder<P: Protocol> {
    /// `None` once it has answered.
    link: Option<Arc<PeerLink>>,
    id: u64,
    charge: Option<Charge>,
    protocol: PhantomData<fn() -> P>,
}

/// An answer that is queued; dropping this writes it, with all that was queued for the same peer.
#[must_use = "the answer is written when this is dropped"]
pub struct Unwritten {
    link: Option<Arc<PeerLink>>,
}

impl std::fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unwritten").finish_non_exhaustive()
    }
}

impl<P> Clone for Peer<P> {
    fn clone(&self) -> Self {
        Self { link: Arc::clone(&self.link), protocol: PhantomData }
    }
}

impl<P> std::fmt::Debug for Peer<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peer({} {} {})", self.link.id, self.link.address, self.link.subject)
    }
}

impl<P: Protocol> std::fmt::Debug for Responder<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<P> Peer<P> {
    /// Returns the connection's number, unique in this process.
    pub fn id(&self) -> u64 {
        self.link.id
    }

    /// Returns whom the peer's certificate names.
    pub fn subject(&self) -> &Subject {
        &self.link.subject
    }

    /// Returns the address that it came from.
    pub fn address(&self) -> &str {
        &self.link.address
    }

    /// Closes the connection; what is queued is still sent.
    pub fn close(&self) {
        self.link.closing.cancel();
    }
}

impl<P: Protocol> Peer<P> {
    /// Queues a notice. Does not block; a peer that leaves [`NOTICES_MAX`] of them unread is cut off.
    pub fn notify(&self, notice: P::Notice) {
        let frame = match message(Kind::Notice, "notice", &notice, Bytes::new()) {
            Ok(frame) => frame,
            Err(error) => {
                warn!(peer = %self.link.subject, ?error, "closing: a notice cannot be sent");
                return self.close();
            }
        };
        if !self.link.notices.is_below(NOTICES_MAX) {
            warn!(peer = %self.link.subject, "closing: the peer does not read its notices");
            return self.close();
        }
        // What is not queued any more was for a peer that is gone, and so are its leases: nobody needs the notice.
        self.link.outlet.send(Outgoing::charged(frame, Some(self.link.notices.charge(1))));
    }
}

impl<P: Protocol> Responder<P> {
    /// Answers. An answer that cannot be sent, being too large, becomes a call without answer at the peer.
    ///
    /// Never blocks; may be called from any thread.
    pub fn send(self, answer: P::Answer, bulk: Bytes) {
        drop(self.queue(answer, bulk));
    }

    /// Answers as [`Responder::send`] does, but does not write yet: for who has many answers at a time.
    pub fn queue(mut self, answer: P::Answer, bulk: Bytes) -> Unwritten {
        match message(Kind::Answer, "answer", &answer, bulk) {
            Ok(frame) => Unwritten { link: self.queue_frame(frame) },
            Err(error) => {
                warn!(id = self.id, ?error, "an answer cannot be sent");
                Unwritten { link: None }
            }
        }
    }

    fn queue_frame(&mut self, mut frame: Frame) -> Option<Arc<PeerLink>> {
        let link = self.link.take()?;
        frame.id = self.id;
        let mut charge = self.charge.take();
        if let Some(charge) = charge.as_mut() {
            charge.resize(frame.cost());
        }
        // What is not queued any more was for a peer that is gone: nobody waits.
        link.outlet.queue(Outgoing::charged(frame, charge));
        Some(link)
    }
}

impl<P: Protocol> Drop for Responder<P> {
    fn drop(&mut self) {
        drop(Unwritten { link: self.queue_frame(Frame::bare(Kind::Unanswered, 0)) });
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.outlet.flush();
        }
    }
}

/// Serves a protocol on a listener until `stop` is cancelled; then closes every connection and waits for their ends.
///
/// A peer that cannot be served — stranger, other scope, other version — is logged and refused; the rest go on.
pub async fn serve<P: Protocol, S: Service<P>>(
    listener: TcpListener,
    identity: Identity,
    service: Arc<S>,
    stop: CancellationToken,
) -> Result<(), WireError> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (socket, address, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // As it is now: a certificate may be renewed.
        let (acceptor, service) = (TlsAcceptor::from(identity.server()), Arc::clone(&service));
        let (identity, closing) = (identity.clone(), stop.child_token());
        connections.spawn(async move {
            match welcome::<P>(socket, &address, acceptor, &identity).await {
                Ok(greeted) => {
                    let serial = greeted.serial.clone();
                    let attended = attend::<P, S>(greeted, address, service.as_ref(), closing.clone());
                    let mut attended = std::pin::pin!(attended);
                    tokio::select! {
                        () = &mut attended => {}
                        () = identity.until_revoked(&serial) => {
                            closing.cancel();
                            attended.await;
                        }
                    }
                }
                Err(error) => warn!(%address, error = chain(&error), "refused a connection"),
            }
            drop(place);
        });
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

type Accepted = (TcpStream, Arc<str>, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, address) = listener.accept().await?;
    socket.set_nodelay(true)?;
    Ok((socket, Arc::from(address.to_string()), place))
}

/// A connection after its handshake.
struct Greeted {
    inlet: Inlet<Input>,
    output: Output,
    subject: Subject,
    /// The number of its certificate.
    serial: String,
}

async fn welcome<P: Protocol>(
    socket: TcpStream,
    address: &Arc<str>,
    acceptor: TlsAcceptor,
    identity: &Identity,
) -> Result<Greeted, WireError> {
    let greeted = tokio::time::timeout(HANDSHAKE_MAX, greet::<P>(socket, address, acceptor, identity)).await;
    greeted.unwrap_or_else(|_| {
        let address = address.to_string();
        Err(WireError::TimedOut { address, step: Step::Handshake, limit: HANDSHAKE_MAX })
    })
}

async fn greet<P: Protocol>(
    socket: TcpStream,
    address: &Arc<str>,
    acceptor: TlsAcceptor,
    identity: &Identity,
) -> Result<Greeted, WireError> {
    let name = || address.to_string();
    let mut stream = acceptor.accept(socket).await.map_err(|source| tls_failure(address, source, false))?;
    stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.ok_or(SubjectError::NotCertificate);
    let serial = certificate.clone().and_then(Issued::of_certificate);
    let subject = certificate.and_then(Subject::of_certificate);
    let (input, mut output) = tokio::io::split(stream);
    let mut inlet = Inlet::new(input, Arc::clone(address), Coverage::Whole);
    let Some(frame) = inlet.frame().await? else { return Err(WireError::Ended { address: name() }) };
    if frame.kind != Kind::Hello {
        return Err(WireError::Protocol { address: name(), source: unexpected(frame.kind) });
    }
    let codec = |source| WireError::Codec { address: name(), source };
    let hello: Hello = decode("hello", &frame.body).map_err(codec)?;
    let checked = subject
        .map_err(|_| Refusal::Nameless)
        .and_then(|subject| check_scope(identity.subject(), &subject).map(|()| subject));
    let agreed =
        checked.and_then(|subject| Ok((subject, negotiate(&Hello::ours(P::NAME, identity.boot()), &hello)?)));
    let reply = match &agreed {
        Ok((_, welcome)) => message(Kind::Welcome, "welcome", welcome, Bytes::new()),
        Err(refusal) => message(Kind::Refusal, "refusal", refusal, Bytes::new()),
    };
    let written = write_now(&mut output, &reply.map_err(codec)?, Coverage::Whole).await;
    written.map_err(|source| tls_failure(address, source, true))?;
    let (subject, welcome) = agreed.map_err(|source| WireError::Refused { address: name(), source })?;
    let (inlet, output): (Inlet<Input>, Output) = match welcome.cover {
        Cover::Tls => (inlet.boxed(), Output::Tls(Box::new(output))),
        Cover::Machine => await_plain(inlet.into_io().unsplit(output).into_inner().0, address).await?,
    };
    let serial = serial.map_err(|source| WireError::Nameless { address: name(), source })?.serial;
    Ok(Greeted { inlet, output, subject, serial })
}

/// Tells the service that a peer is gone, also when the service panicked.
struct Attendance<'a, P: Protocol, S: Service<P>> {
    service: &'a S,
    peer: Peer<P>,
}

impl<P: Protocol, S: Service<P>> Drop for Attendance<'_, P, S> {
    fn drop(&mut self) {
        self.peer.close();
        self.service.disconnected(&self.peer);
    }
}

async fn attend<P: Protocol, S: Service<P>>(
    greeted: Greeted,
    address: Arc<str>,
    service: &S,
    closing: CancellationToken,
) {
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
    let Greeted { mut inlet, output, subject, serial: _ } = greeted;
    let (outlet, writer) = outlet::open(output);
    let link = Arc::new(PeerLink {
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        subject,
        address,
        outlet,
        closing: closing.clone(),
        notices: Arc::default(),
    });
    let peer = Peer { link: Arc::clone(&link), protocol: PhantomData };
    info!(peer = %link.subject, address = %link.address, "connected");
    let writer = tokio::spawn({
        let closing = closing.clone();
        async move {
            let written = writer.run(closing.clone()).await;
            closing.cancel();
            written
        }
    });
    service.connected(&peer);
    let attendance = Attendance { service, peer };
    let received = tokio::select! {
        biased;
        () = closing.cancelled() => Ok(()),
        received = receive(&attendance, &mut inlet) => received,
    };
    drop(attendance);
    match received {
        Ok(()) => info!(peer = %link.subject, "disconnected"),
        Err(error) => warn!(peer = %link.subject, error = chain(&error), "connection lost"),
    }
    if let Ok(Err(error)) = writer.await {
        debug!(peer = %link.subject, %error, "could not send what was queued");
    }
}

/// Gives requests to the service until the peer closes or fails.
async fn receive<P: Protocol, S: Service<P>>(
    attendance: &Attendance<'_, P, S>,
    inlet: &mut Inlet<Input>,
) -> Result<(), WireError> {
    let link = &attendance.peer.link;
    let address = || link.address.to_string();
    let budget = Arc::new(Budget::default());
    let mut requests = Requests::default();
    loop {
        let frame = match inlet.arrived()? {
            Some(frame) => frame,
            None => {
                link.outlet.release();
                attendance.service.paused(&attendance.peer);
                let Some(frame) = inlet.frame().await? else { return Ok(()) };
                link.outlet.gather();
                frame
            }
        };
        let demand = requests.received(frame);
        let frame = match demand.map_err(|source| WireError::Protocol { address: address(), source })? {
            Demand::Call(frame) => frame,
            Demand::Nothing => continue,
            Demand::Bye => return Ok(()),
        };
        let request = decode("request", &frame.body)
            .map_err(|source| WireError::Codec { address: address(), source })?;
        let responder = Responder {
            link: Some(Arc::clone(link)),
            id: frame.id,
            charge: Some(budget.charge(frame.cost())),
            protocol: PhantomData,
        };
        attendance.service.call(&attendance.peer, request, frame.bulk, responder);
        if !budget.is_below(SERVER_BYTES_MAX) {
            link.outlet.release();
            attendance.service.paused(&attendance.peer);
            budget.below(SERVER_BYTES_MAX).await;
            inlet.forgive();
        }
    }
}

/// An error with its causes, for a log line.
fn chain(error: &WireError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
