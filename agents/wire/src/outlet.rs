//! The sending half of a connection: whoever has a frame to send writes it himself, as far as the socket takes it at once.
//!
//! Waking a task costs more than a small write. So where TLS has been left, a thread that brings a frame takes the pen, writes
//! all that is queued and lays the pen down; what the socket does not take it hands to the writer, a task that waits for the
//! socket. With TLS the writer keeps the pen, since a TLS stream cannot be written from many threads.
//! ```text
//! nobody ──send──▶ thread ──all is written──▶ nobody
//!                    └──the socket is full, too much is queued, or it closes──▶ handed ──▶ writer ──▶ nobody
//! ```
//! No frame is forgotten: it is queued under the lock under which the pen is laid down, and only beside an empty queue.
//! Invariant: a queued frame is written whole or not at all, in the order of the queue: there is one pen, and a frame that was
//! begun goes with it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::frame::{Coverage, Frame, HEAD_LENGTH, Kind};
use crate::limit::{
    BATCH_MAX, BEAT_EVERY, BULK_COPY_MAX, CLOSE_MAX, INLINE_BATCHES_MAX, INLINE_BYTES_MAX, SLICES_MAX,
    STAGING_MAX,
};
use crate::link::Charge;

/// What a connection writes to.
pub(crate) enum Output {
    /// The socket itself, where TLS has been left.
    Plain(OwnedWriteHalf),
    /// Anything else; only the writer touches it.
    Tls(Box<dyn AsyncWrite + Send + Unpin>),
}

/// A frame on its way to the socket.
pub(crate) struct Outgoing {
    frame: Frame,
    /// Given back when it has been written.
    _charge: Option<Charge>,
    /// Made by who writes it.
    head: [u8; HEAD_LENGTH],
}

impl Outgoing {
    /// A frame that gives back a charge when it has been written or dropped.
    pub fn charged(frame: Frame, charge: Option<Charge>) -> Self {
        Self { frame, _charge: charge, head: [0; HEAD_LENGTH] }
    }
}

impl From<Frame> for Outgoing {
    fn from(frame: Frame) -> Self {
        Self::charged(frame, None)
    }
}

/// Where the frames of a connection are queued, from any thread.
pub(crate) struct Outlet {
    state: Mutex<State>,
    /// Wakes the writer: the pen is handed to it, or something is queued while it has the pen.
    called: Notify,
}

struct State {
    queue: VecDeque<Outgoing>,
    holder: Holder,
    /// The connection's reader is handing out what arrived at once, and what answers it shall leave at once.
    gathering: bool,
    /// No longer once the connection closes: nothing more is queued.
    open: bool,
}

/// Who may write.
enum Holder {
    Nobody(Pen),
    /// A thread that looks into the queue once more before it lays the pen down.
    Thread,
    /// The writer, which has not taken it yet.
    Handed(Pen),
    /// The writer.
    Writer,
    /// Nobody ever again.
    Gone,
}

/// The right to write to the plain socket, with what has been taken from the queue and is not written yet.
struct Pen {
    socket: OwnedWriteHalf,
    batch: VecDeque<Outgoing>,
    /// Bytes of the first frame that are written.
    written: usize,
    /// Whether the batch has its heads.
    headed: bool,
}

/// How far a write came.
#[derive(PartialEq, Eq)]
enum Progress {
    All,
    Part,
}

/// The task's part: writes what threads could not, keeps the peer informed that this side lives, says goodbye.
pub(crate) struct Writer {
    outlet: Arc<Outlet>,
    tls: Option<Tls>,
}

/// A TLS stream with what is collected for it.
struct Tls {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    staging: BytesMut,
    batch: VecDeque<Outgoing>,
}

/// Splits the sending half into what threads use and what a task must run.
pub(crate) fn open(output: Output) -> (Arc<Outlet>, Writer) {
    let (holder, tls) = match output {
        Output::Plain(socket) => (Holder::Nobody(Pen::new(socket)), None),
        Output::Tls(stream) => {
            let staging = BytesMut::with_capacity(STAGING_MAX * 2);
            (Holder::Writer, Some(Tls { stream, staging, batch: VecDeque::new() }))
        }
    };
    let state = Mutex::new(State { queue: VecDeque::new(), holder, gathering: false, open: true });
    let outlet = Arc::new(Outlet { state, called: Notify::new() });
    (Arc::clone(&outlet), Writer { outlet, tls })
}

impl Outlet {
    /// Queues a frame and writes what the socket takes. Never blocks; a frame for a connection that is closing is dropped.
    pub fn send(&self, outgoing: Outgoing) {
        self.queue(outgoing);
        self.flush();
    }

    /// Queues a frame that the next [`Outlet::flush`] writes.
    pub fn queue(&self, outgoing: Outgoing) {
        let mut state = self.state();
        if state.open {
            // Large bulk gains nothing from company.
            state.gathering &= outgoing.frame.bulk.len() <= BULK_COPY_MAX;
            state.queue.push_back(outgoing);
        }
    }

    /// Holds frames back until [`Outlet::release`], which the caller owes before it waits for anything but its turn.
    pub fn gather(&self) {
        self.state().gathering = true;
    }

    /// Writes what was gathered.
    pub fn release(&self) {
        self.state().gathering = false;
        self.flush();
    }

    /// Writes what is queued, unless another is at it or it is to be gathered.
    pub fn flush(&self) {
        let Some(mut pen) = self.take() else { return };
        for _ in 0..INLINE_BATCHES_MAX {
            // A failure is the writer's to find again and to report.
            if !matches!(pen.write(), Ok(Progress::All)) {
                break;
            }
            match self.lay_down(pen) {
                Some(again) => pen = again,
                None => return,
            }
        }
        self.hand_over(pen);
    }

    /// The state stays whole even if a thread died holding it: what is changed under it cannot fail half way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the pen where there is something to write and nobody writes.
    fn take(&self) -> Option<Pen> {
        let mut state = self.state();
        if state.queue.is_empty() || state.gathering {
            return None;
        }
        match mem::replace(&mut state.holder, Holder::Thread) {
            Holder::Nobody(mut pen) => {
                pen.load(&mut state.queue);
                return Some(pen);
            }
            Holder::Writer => {
                state.holder = Holder::Writer;
                self.called.notify_one();
            }
            other @ (Holder::Thread | Holder::Handed(_) | Holder::Gone) => state.holder = other,
        }
        None
    }

    /// Lays the pen down, or gives it back where more has been queued.
    fn lay_down(&self, mut pen: Pen) -> Option<Pen> {
        let mut state = self.state();
        if !state.queue.is_empty() {
            pen.load(&mut state.queue);
            return Some(pen);
        }
        if matches!(state.holder, Holder::Gone) {
            return None;
        }
        if state.open {
            state.holder = Holder::Nobody(pen);
        } else {
            // The writer waits for the pen to say goodbye.
            state.holder = Holder::Handed(pen);
            self.called.notify_one();
        }
        None
    }

    fn hand_over(&self, pen: Pen) {
        let mut state = self.state();
        if !matches!(state.holder, Holder::Gone) {
            state.holder = Holder::Handed(pen);
            self.called.notify_one();
        }
    }

    /// Takes the pen that was handed to the writer or, at the end, that nobody holds.
    fn handed(&self) -> Option<Pen> {
        let mut state = self.state();
        let mut pen = match mem::replace(&mut state.holder, Holder::Writer) {
            Holder::Handed(pen) => pen,
            Holder::Nobody(pen) if !state.open => pen,
            other @ (Holder::Nobody(_) | Holder::Thread | Holder::Writer | Holder::Gone) => {
                state.holder = other;
                return None;
            }
        };
        if pen.batch.is_empty() {
            pen.load(&mut state.queue);
        }
        Some(pen)
    }

    /// Lets nothing more be queued, behind a goodbye.
    fn close(&self) {
        let mut state = self.state();
        if mem::replace(&mut state.open, false) {
            state.queue.push_back(Frame::bare(Kind::Bye, 0).into());
        }
    }

    /// Drops what is queued and the pen; the charges of what was queued are given back.
    fn end(&self) {
        let mut state = self.state();
        state.open = false;
        let queued = mem::take(&mut state.queue);
        let holder = mem::replace(&mut state.holder, Holder::Gone);
        drop(state);
        drop((queued, holder));
    }
}

impl Pen {
    fn new(socket: OwnedWriteHalf) -> Self {
        Self { socket, batch: VecDeque::new(), written: 0, headed: false }
    }

    /// Takes a batch from the queue.
    fn load(&mut self, queue: &mut VecDeque<Outgoing>) {
        take_batch(queue, &mut self.batch);
        self.headed = false;
    }

    /// Writes as much as the socket takes, up to [`INLINE_BYTES_MAX`].
    fn write(&mut self) -> io::Result<Progress> {
        if !mem::replace(&mut self.headed, true) {
            for outgoing in &mut self.batch {
                outgoing.head = outgoing.frame.head(Coverage::WithoutBulk);
            }
        }
        let mut left = INLINE_BYTES_MAX;
        while !self.batch.is_empty() {
            if left == 0 {
                return Ok(Progress::Part);
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.gather(&mut slices);
            match self.socket.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.advance(bytes);
                    left = left.saturating_sub(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Part),
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::All)
    }

    /// Lists what is to be written next; returns how many slices it is.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let parts = self
            .batch
            .iter()
            .flat_map(|outgoing| [&outgoing.head[..], &outgoing.frame.body[..], &outgoing.frame.bulk[..]]);
        let rest = parts.filter_map(|part| {
            let begun = skip.min(part.len());
            skip -= begun;
            (begun < part.len()).then(|| IoSlice::new(&part[begun..]))
        });
        let mut count = 0;
        for (slot, part) in slices.iter_mut().zip(rest) {
            *slot = part;
            count += 1;
        }
        count
    }

    /// Drops what has been written.
    fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        while let Some(first) = self.batch.front() {
            let length = first.frame.cost();
            if self.written < length {
                return;
            }
            self.written -= length;
            self.batch.pop_front();
        }
    }
}

/// Moves at most [`BATCH_MAX`] frames into an empty batch.
fn take_batch(queue: &mut VecDeque<Outgoing>, batch: &mut VecDeque<Outgoing>) {
    if queue.len() <= BATCH_MAX {
        mem::swap(queue, batch);
    } else {
        batch.extend(queue.drain(..BATCH_MAX));
    }
}

impl Writer {
    /// Writes until `closing` is cancelled, then what is queued by then, and ends the stream.
    pub async fn run(mut self, closing: CancellationToken) -> io::Result<()> {
        // Whatever ends this task, nothing stays queued behind it.
        let _end = End(Arc::clone(&self.outlet));
        let mut beat = interval_at(Instant::now() + BEAT_EVERY, BEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                () = self.outlet.called.notified() => {}
                _ = beat.tick() => self.outlet.send(Frame::bare(Kind::Beat, 0).into()),
            }
            tokio::select! {
                biased;
                written = self.write() => written?,
                () = cancelled_for(&closing, CLOSE_MAX) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        timeout(CLOSE_MAX, self.farewell()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes all that is the writer's to write.
    async fn write(&mut self) -> io::Result<()> {
        let Some(tls) = self.tls.as_mut() else {
            let Some(pen) = self.outlet.handed() else { return Ok(()) };
            return drain(&self.outlet, pen).await;
        };
        loop {
            take_batch(&mut self.outlet.state().queue, &mut tls.batch);
            if tls.batch.is_empty() {
                return Ok(());
            }
            tls.write().await?;
        }
    }

    /// Writes what is queued and a goodbye, and ends the stream.
    async fn farewell(&mut self) -> io::Result<()> {
        self.outlet.close();
        if self.tls.is_some() {
            self.write().await?;
        }
        if let Some(tls) = self.tls.as_mut() {
            return tls.stream.shutdown().await;
        }
        loop {
            // A thread that is writing hands the pen over when it is through.
            if let Some(pen) = self.outlet.handed() {
                return finish(pen, &self.outlet).await;
            }
            self.outlet.called.notified().await;
        }
    }
}

/// Writes what is queued, waiting for the socket, and lays the pen down.
async fn drain(outlet: &Outlet, mut pen: Pen) -> io::Result<()> {
    loop {
        match pen.write()? {
            Progress::Part => pen.socket.writable().await?,
            Progress::All => match outlet.lay_down(pen) {
                Some(again) => pen = again,
                None => return Ok(()),
            },
        }
    }
}

/// Writes what is queued to its end and ends the stream.
async fn finish(mut pen: Pen, outlet: &Outlet) -> io::Result<()> {
    loop {
        match pen.write()? {
            Progress::Part => pen.socket.writable().await?,
            Progress::All => {
                pen.load(&mut outlet.state().queue);
                if pen.batch.is_empty() {
                    return pen.socket.shutdown().await;
                }
            }
        }
    }
}

async fn cancelled_for(token: &CancellationToken, time: Duration) {
    token.cancelled().await;
    tokio::time::sleep(time).await;
}

/// Ends an outlet when its writer ends.
struct End(Arc<Outlet>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Tls {
    /// Writes a batch with one flush. Small parts are gathered; large bulk goes to TLS from where it lies.
    async fn write(&mut self) -> io::Result<()> {
        let Self { stream, staging, batch } = self;
        for Outgoing { frame, .. } in batch.iter() {
            staging.put_slice(&frame.head(Coverage::Whole));
            staging.put_slice(&frame.body);
            if frame.bulk.len() <= BULK_COPY_MAX {
                staging.put_slice(&frame.bulk);
            } else {
                stream.write_all(staging).await?;
                staging.clear();
                stream.write_all(&frame.bulk).await?;
            }
            if staging.len() >= STAGING_MAX {
                stream.write_all(staging).await?;
                staging.clear();
            }
        }
        stream.write_all(staging).await?;
        staging.clear();
        batch.clear();
        stream.flush().await
    }
}

/// Writes one frame at once, for handshakes.
pub(crate) async fn write_now<W: AsyncWrite + Unpin>(
    io: &mut W,
    frame: &Frame,
    coverage: Coverage,
) -> io::Result<()> {
    let mut bytes = BytesMut::with_capacity(frame.cost());
    bytes.put_slice(&frame.head(coverage));
    bytes.put_slice(&frame.body);
    bytes.put_slice(&frame.bulk);
    io.write_all(&bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests;
