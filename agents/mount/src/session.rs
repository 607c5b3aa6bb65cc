//! The session with the metadata target: connected, renewed, resumed; each request answered once.
//!
//! Knows nothing of what requests mean, but whether asking twice could do something twice (it cannot: they are numbered).
//! Leases may be used until `lease_ms` after the last renewal that was answered had been *sent*, by the monotonic clock.
//! Invariant: when a connection is lost, the incarnation grows before anything is asked on the next one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lustre_model::fault::Fault;
use lustre_model::fid::Fid;
use lustre_model::id::{ClientId, FsName, TargetId, TargetKind};
use lustre_model::metadata::{Call, Notice, OpenId, OpenMode, Reply, Request, SessionId, TargetEntry, Xid};
use lustre_wire::client::{Connection, Notices};
use lustre_wire::{Identity, Metadata, Subject, WireError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::lease::{Stamp, Standing, Ticket};

/// How long an operation waits for a metadata target that does not answer, before it fails with `EIO`.
pub const OPERATION_WAIT_MAX: Duration = Duration::from_secs(120);

/// How long one attempt to connect may take.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// First and longest pause between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Renewals within one lease.
const RENEWALS: u32 = 5;

/// Part of a lease, in percent, that is not used: clocks run at different rates.
const MARGIN_PERCENT: u64 = 10;

/// What the client must react to.
#[derive(Debug)]
pub(crate) enum Event {
    /// The metadata target says so, on the connection of this incarnation.
    Notice(u64, Notice),
    /// The connection was lost.
    Lost,
    /// There is a new one.
    Resumed(Vec<TargetEntry>, u64),
}

/// What the metadata target said when the session began.
#[derive(Debug, Clone)]
pub(crate) struct Welcome {
    pub(crate) fs_name: FsName,
    pub(crate) targets: Vec<TargetEntry>,
    pub(crate) epoch: u64,
}

/// The connection of now.
#[derive(Debug, Clone)]
struct Live {
    connection: Connection<Metadata>,
    session: SessionId,
    incarnation: u64,
    lease: Duration,
}

/// A session that reconnects by itself.
pub(crate) struct Session {
    address: String,
    identity: Identity,
    client: ClientId,
    live: watch::Sender<Option<Live>>,
    /// Whether the metadata target refused our certificate the last time: then nobody waits for it.
    refused: watch::Sender<bool>,
    /// The session that the metadata target knew us by last; 0 when there was none.
    known_as: AtomicU64,
    numbers: Mutex<Numbers>,
    born: Instant,
    incarnation: AtomicU64,
    /// In nanoseconds after `born`.
    live_until: AtomicU64,
    stamps: AtomicU64,
    /// What is open without the metadata target knowing; asked for with each connection.
    unasked: OnceLock<Unasked>,
}

/// Lists files that are open, each with the number that shall stand for it.
type Unasked = Box<dyn Fn() -> Vec<(Fid, OpenId)> + Send + Sync>;

/// Numbers of requests.
#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    waiting: BTreeSet<u64>,
}

/// Keeps a number among those that wait.
struct Number<'a> {
    session: &'a Session,
    xid: u64,
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        self.session.numbers().waiting.remove(&self.xid);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects for the first time; the rest is [`Session::keep`]'s.
    pub(crate) async fn open(
        address: &str,
        identity: Identity,
        client: ClientId,
    ) -> Result<(Arc<Self>, Welcome, Notices<Metadata>), ConnectError> {
        let session = Arc::new(Self {
            address: address.to_owned(),
            identity,
            client,
            live: watch::Sender::new(None),
            refused: watch::Sender::new(false),
            known_as: AtomicU64::new(0),
            numbers: Mutex::new(Numbers::default()),
            born: Instant::now(),
            incarnation: AtomicU64::new(1),
            live_until: AtomicU64::new(0),
            stamps: AtomicU64::new(0),
            unasked: OnceLock::new(),
        });
        let (welcome, notices) = session.connect().await?;
        Ok((session, welcome, notices))
    }

    /// Renews and reconnects until `stop`, and says what happens.
    pub(crate) async fn keep(
        self: Arc<Self>,
        mut notices: Notices<Metadata>,
        events: mpsc::UnboundedSender<Event>,
        stop: CancellationToken,
    ) {
        let renewing = tokio::spawn(Arc::clone(&self).renew(stop.clone()));
        loop {
            let incarnation = self.incarnation.load(Ordering::Acquire);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.listen(&mut notices, incarnation, &events) => {}
            }
            self.lose();
            // The receiver lives as long as the client; without it there is nobody to tell.
            drop(events.send(Event::Lost));
            let resumed = tokio::select! {
                () = stop.cancelled() => break,
                resumed = self.reconnect() => resumed,
            };
            notices = resumed.1;
            drop(events.send(Event::Resumed(resumed.0.targets, resumed.0.epoch)));
        }
        renewing.abort();
    }

    /// Asks, and asks again over new connections, until there is an answer or too much time has passed.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply, Fault> {
        self.ask(request).await.map(|(reply, _)| reply)
    }

    /// The same, with the session that answered.
    pub(crate) async fn ask(&self, request: &Request) -> Result<(Reply, SessionId), Fault> {
        let answered = self.ask_anew(|_| Some(request.clone())).await?;
        answered.ok_or(Fault::Io)
    }

    /// The same with a request that is made for each connection anew, as what was true on one need not be on the next. Nothing
    /// is asked, or asked again, where there is none.
    pub(crate) async fn ask_anew(
        &self,
        request: impl Fn(u64) -> Option<Request>,
    ) -> Result<Option<(Reply, SessionId)>, Fault> {
        let number = self.number();
        let deadline = Instant::now() + OPERATION_WAIT_MAX;
        let mut asked_in: Option<SessionId> = None;
        loop {
            let live = self.connected(deadline).await?;
            let Some(request) = request(live.incarnation) else { return Ok(None) };
            // Another session does not remember whether the request was carried out.
            if asked_in.is_some_and(|session| session != live.session) && !is_repeatable(&request) {
                return Err(Fault::Evicted);
            }
            asked_in = Some(live.session);
            let call = self.numbered(&number, live.session, request);
            match live.connection.call(&call, Bytes::new()).await {
                Ok((Err(Fault::Evicted), _)) if self.is_current(&live) => live.connection.close(),
                Ok((Err(Fault::Evicted), _)) => {}
                Ok((answer, _)) => return answer.map(|reply| Some((reply, live.session))),
                Err(error) => {
                    tracing::debug!(%error, "asking the metadata target again");
                    if live.connection.is_closed() {
                        self.wait_for_other(&live, deadline).await?;
                    } else {
                        return Err(Fault::Io);
                    }
                }
            }
            if live.connection.is_closed() {
                self.wait_for_other(&live, deadline).await?;
            }
        }
    }

    /// The session's number. While there is no connection it is that of the last, which mostly goes on with the next: what it
    /// has open is still open.
    pub(crate) fn id(&self) -> SessionId {
        SessionId(self.known_as.load(Ordering::Acquire))
    }

    /// Counts connections.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// A number like those of requests, for an open that no request asked for.
    pub(crate) fn draw(&self) -> OpenId {
        let mut numbers = self.numbers();
        numbers.last += 1;
        OpenId(numbers.last)
    }

    /// Has `list` asked, with each new connection, for what is open that was not asked for. Set once.
    pub(crate) fn tell_unasked(&self, list: Unasked) {
        drop(self.unasked.set(list));
    }

    /// The moment before a request.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket {
            stamp: Stamp(self.stamps.load(Ordering::Acquire)),
            incarnation: self.incarnation.load(Ordering::Acquire),
        }
    }

    /// A new moment, later than every ticket given out before.
    pub(crate) fn now(&self) -> Stamp {
        Stamp(self.stamps.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Nanoseconds since this client began.
    pub(crate) fn uptime(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The session as it is.
    pub(crate) fn standing(&self) -> Standing {
        let until = Duration::from_nanos(self.live_until.load(Ordering::Acquire));
        Standing {
            incarnation: self.incarnation.load(Ordering::Acquire),
            remaining: until.saturating_sub(self.born.elapsed()),
        }
    }

    /// Gives the connection up for another one, and with it every lease.
    pub(crate) fn begin_anew(&self) {
        if let Some(live) = self.live.borrow().as_ref() {
            live.connection.close();
        }
    }

    /// Ends the session at the metadata target, which then need not wait for it.
    pub(crate) async fn close(&self) {
        const GOODBYE_MAX: Duration = Duration::from_secs(2);
        let Some(live) = self.live.borrow().clone() else { return };
        let number = self.number();
        let call = self.numbered(&number, live.session, Request::Disconnect);
        if tokio::time::timeout(GOODBYE_MAX, live.connection.call(&call, Bytes::new())).await.is_err() {
            tracing::warn!("the metadata target did not hear that we leave; it will notice");
        }
        self.lose();
    }

    async fn listen(
        &self,
        notices: &mut Notices<Metadata>,
        incarnation: u64,
        events: &mpsc::UnboundedSender<Event>,
    ) {
        while let Some(notice) = notices.next().await {
            let evicted = notice == Notice::Evicted;
            drop(events.send(Event::Notice(incarnation, notice)));
            if evicted {
                return;
            }
        }
    }

    /// Nothing that was cached counts any more.
    fn lose(&self) {
        self.live_until.store(0, Ordering::Release);
        self.incarnation.fetch_add(1, Ordering::AcqRel);
        if let Some(live) = self.live.send_replace(None) {
            live.connection.close();
        }
    }

    async fn reconnect(&self) -> (Welcome, Notices<Metadata>) {
        let mut pause = PAUSE.0;
        loop {
            match self.connect().await {
                Ok(connected) => {
                    self.refused.send_replace(false);
                    return connected;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no metadata target");
                    let refused =
                        matches!(&error, ConnectError::Wire(source) if source.is_refused_certificate());
                    self.refused.send_replace(refused);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn connect(&self) -> Result<(Welcome, Notices<Metadata>), ConnectError> {
        let scope = &self.identity.subject().scope;
        let fs_name = scope.parse().map_err(|_| ConnectError::Scope { scope: scope.clone() })?;
        let peer = Subject::target(&TargetId { fs_name, kind: TargetKind::Mdt, index: 0 });
        let (connection, notices) =
            Connection::<Metadata>::connect_to(&self.address, &peer, &self.identity, CONNECT_WAIT_MAX)
                .await?;
        let sent = Instant::now();
        let number = self.number();
        // The incarnation of the last connection has ended: nothing is opened unasked from here until the next lease.
        let opens = self.unasked.get().map(|list| list()).unwrap_or_default();
        let request = Request::Connect { client: self.client, opens };
        let call = self.numbered(&number, SessionId(0), request);
        let (answer, _) = connection.call(&call, Bytes::new()).await?;
        let Reply::Connected { session, fs_name, lease_ms, epoch, targets } = answer? else {
            return Err(ConnectError::Answer);
        };
        let lease = Duration::from_millis(u64::from(lease_ms));
        self.renewed(sent, lease);
        let incarnation = self.incarnation.load(Ordering::Acquire);
        self.known_as.store(session.0, Ordering::Release);
        self.live.send_replace(Some(Live { connection, session, incarnation, lease }));
        Ok((Welcome { fs_name, targets, epoch }, notices))
    }

    async fn renew(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let live = self.live.borrow().clone();
            let pause = live.as_ref().map_or(PAUSE.1, |live| live.lease / RENEWALS);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let Some(live) = self.live.borrow().clone() else { continue };
            let sent = Instant::now();
            let number = self.number();
            let call = self.numbered(&number, live.session, Request::Renew);
            match live.connection.call(&call, Bytes::new()).await {
                Ok((Ok(_), _)) if self.is_current(&live) => self.renewed(sent, live.lease),
                Ok((Ok(_), _)) => {}
                Ok((Err(fault), _)) => {
                    tracing::warn!(%fault, "the session was not renewed");
                    live.connection.close();
                }
                Err(error) => tracing::debug!(%error, "the session was not renewed"),
            }
        }
    }

    fn renewed(&self, sent: Instant, lease: Duration) {
        let usable = lease * u32::try_from(100 - MARGIN_PERCENT).unwrap_or(0) / 100;
        let until = sent.duration_since(self.born) + usable;
        self.live_until.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn is_current(&self, live: &Live) -> bool {
        self.incarnation.load(Ordering::Acquire) == live.incarnation
    }

    async fn connected(&self, deadline: Instant) -> Result<Live, Fault> {
        self.wait_for(deadline, |_| true).await
    }

    async fn wait_for_other(&self, lost: &Live, deadline: Instant) -> Result<Live, Fault> {
        self.wait_for(deadline, |live| live.incarnation != lost.incarnation).await
    }

    async fn wait_for(&self, deadline: Instant, fits: impl Fn(&Live) -> bool) -> Result<Live, Fault> {
        if let Some(live) = self.live.borrow().as_ref().filter(|live| fits(live)) {
            return Ok(live.clone());
        }
        let (mut watched, mut refused) = (self.live.subscribe(), self.refused.subscribe());
        let found = watched.wait_for(|live| live.as_ref().is_some_and(&fits));
        let found = tokio::select! {
            biased;
            found = tokio::time::timeout_at(deadline.into(), found) => found.map_err(|_| Fault::Unreachable)?,
            // Revoked, or ended: that does not pass while somebody waits.
            _ = refused.wait_for(|refused| *refused) => return Err(Fault::AccessDenied),
        };
        let live = found.map_err(|_| Fault::Unreachable)?;
        live.clone().ok_or(Fault::Unreachable)
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> Number<'_> {
        let mut numbers = self.numbers();
        numbers.last += 1;
        let xid = numbers.last;
        numbers.waiting.insert(xid);
        Number { session: self, xid }
    }

    fn numbered(&self, number: &Number<'_>, session: SessionId, request: Request) -> Call {
        let acknowledged = self.numbers().waiting.first().map_or(0, |first| first - 1);
        Call { session, xid: Xid(number.xid), acknowledged: Xid(acknowledged), request }
    }
}

/// Whether a request may be carried out twice by two sessions that do not know of each other.
fn is_repeatable(request: &Request) -> bool {
    match request {
        Request::Lookup { .. } | Request::ReadDirectory { .. } | Request::LookAhead { .. } => true,
        Request::ReadLink { .. } => true,
        Request::GetAttr { .. } | Request::GetXattr { .. } | Request::ListXattr { .. } => true,
        Request::Lease { .. } | Request::Instantiate { .. } | Request::Hydrate { .. } => true,
        Request::GetLayout { .. } | Request::FidToPath { .. } | Request::Statistics => true,
        Request::Targets | Request::Sync | Request::Renew | Request::Connect { .. } => true,
        Request::Open { mode, .. } => *mode != OpenMode::Truncate,
        Request::Disconnect | Request::Create { .. } | Request::Remove { .. } | Request::Rename { .. } => {
            false
        }
        Request::Link { .. } | Request::SetAttr { .. } | Request::SetXattr { .. } => false,
        Request::RemoveXattr { .. } | Request::Close { .. } | Request::Flush { .. } => false,
        Request::Downgrade { .. } | Request::SetLayout { .. } | Request::RegisterTarget { .. } => false,
        Request::RemoveTarget { .. } => false,
        Request::SetDefaultLayout { .. } | Request::PutLink { .. } | Request::RemoveLink { .. } => false,
        Request::Links | Request::HsmReceive { .. } | Request::HsmProgress { .. } => false,
        Request::HsmEnd { .. } | Request::Import { .. } => false,
    }
}

/// No session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection.
    #[error("the metadata target cannot be reached")]
    Wire(#[from] WireError),
    /// It does not want us.
    #[error("the metadata target refuses a session")]
    Refused(#[from] Fault),
    /// Our certificate is no client's.
    #[error("the certificate is for \"{scope}\", which is no file system's name")]
    Scope {
        /// Its scope.
        scope: String,
    },
    /// It answered something else.
    #[error("the metadata target did not answer as one does")]
    Answer,
}
