//! Moves frames over a socket: a reader that cuts them out of a stream, and a writer that gathers many into one flush.
//!
//! Decides nothing: what a frame means is `session`'s.
//! Invariant: a queued frame is written whole or not at all, in the order of the queue.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::{CodecError, WireError, tls_failure};
use crate::frame::{Decoder, Frame, Kind};
use crate::limit::{BATCH_MAX, BEAT_EVERY, BULK_COPY_MAX, CLOSE_MAX, SILENCE_MAX, STAGING_MAX};
use crate::machine::Input;

/// A frame on its way to the writer.
pub(crate) struct Outgoing {
    /// What to send.
    pub frame: Frame,
    /// Given back when it has been written.
    pub _charge: Option<Charge>,
}

impl From<Frame> for Outgoing {
    fn from(frame: Frame) -> Self {
        Self { frame, _charge: None }
    }
}

/// Encodes a message as a body.
pub(crate) fn encode<T: Serialize>(what: &'static str, message: &T) -> Result<Bytes, CodecError> {
    let body = postcard::to_stdvec(message).map_err(|source| CodecError::Encode { what, source })?;
    Ok(Bytes::from(body))
}

/// Builds a frame with an encoded message, checking that it may be sent.
pub(crate) fn message<T: Serialize>(
    kind: Kind,
    what: &'static str,
    message: &T,
    bulk: Bytes,
) -> Result<Frame, CodecError> {
    let body = encode(what, message)?;
    Frame::check_length(body.len(), bulk.len()).map_err(|source| CodecError::TooLarge { what, source })?;
    Ok(Frame { kind, id: 0, body, bulk })
}

/// Reads a message that must fill the whole body.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, CodecError> {
    let (message, rest) =
        postcard::take_from_bytes(body).map_err(|source| CodecError::Decode { what, source })?;
    if rest.is_empty() { Ok(message) } else { Err(CodecError::Trailing { what, bytes: rest.len() }) }
}

/// Bytes that one connection makes this process hold.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    used: AtomicUsize,
    freed: Notify,
}

/// A part of a budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Takes bytes; may exceed any limit, [`Budget::below`] is what waits.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        Charge { budget: Arc::clone(self), bytes }
    }

    /// Says whether less than `limit` is taken.
    pub fn is_below(&self, limit: usize) -> bool {
        self.used.load(Ordering::Acquire) < limit
    }

    /// Waits until less than `limit` is taken.
    pub async fn below(&self, limit: usize) {
        loop {
            let freed = self.freed.notified();
            if self.is_below(limit) {
                return;
            }
            freed.await;
        }
    }
}

impl Charge {
    /// Changes what is taken, as a request becomes its answer.
    pub fn resize(&mut self, bytes: usize) {
        self.budget.used.fetch_add(bytes, Ordering::AcqRel);
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.bytes = bytes;
        self.budget.freed.notify_one();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.freed.notify_one();
    }
}

/// The receiving half of a connection.
pub(crate) struct Inlet<R> {
    io: R,
    address: Arc<str>,
    decoder: Decoder,
    silence: Pin<Box<Sleep>>,
    heard: Instant,
}

impl<R: AsyncRead + Unpin> Inlet<R> {
    /// Reads frames from `io`, which belongs to `address`.
    pub fn new(io: R, address: Arc<str>) -> Self {
        let heard = Instant::now();
        let silence = Box::pin(sleep_until(heard + SILENCE_MAX));
        Self { io, address, decoder: Decoder::default(), silence, heard }
    }

    /// Gives the stream back, between two frames.
    pub fn into_io(self) -> R {
        self.io
    }

    /// Hides what kind of stream it is; what was read ahead stays.
    pub fn boxed(self) -> Inlet<Input>
    where
        R: Send + 'static,
    {
        let Self { io, address, decoder, silence, heard } = self;
        Inlet { io: Box::new(io), address, decoder, silence, heard }
    }

    /// Forgives silence up to now: this side did not listen.
    pub fn forgive(&mut self) {
        self.heard = Instant::now();
    }

    /// Returns the next frame, or `None` where the peer ended the stream between two frames.
    pub async fn frame(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            let next = self.decoder.next();
            let next =
                next.map_err(|source| WireError::Damaged { address: self.address.to_string(), source })?;
            if let Some(frame) = next {
                return Ok(Some(frame));
            }
            if self.read().await? == 0 {
                return self.end();
            }
        }
    }

    async fn read(&mut self) -> Result<usize, WireError> {
        loop {
            let room = self.decoder.room();
            tokio::select! {
                biased;
                read = self.io.read_buf(room) => {
                    let read = read.map_err(|source| tls_failure(&self.address, source, true));
                    self.heard = Instant::now();
                    return read;
                }
                () = &mut self.silence => {}
            }
            let until = self.heard + SILENCE_MAX;
            if Instant::now() >= until {
                return Err(WireError::Silent { address: self.address.to_string(), limit: SILENCE_MAX });
            }
            self.silence.as_mut().reset(until);
        }
    }

    fn end(&self) -> Result<Option<Frame>, WireError> {
        if self.decoder.is_between_frames() {
            return Ok(None);
        }
        let source = io::Error::from(io::ErrorKind::UnexpectedEof);
        Err(WireError::Broken { address: self.address.to_string(), source })
    }
}

/// Writes one frame at once, for handshakes.
pub(crate) async fn write_now<W: AsyncWrite + Unpin>(io: &mut W, frame: Frame) -> io::Result<()> {
    let mut staging = BytesMut::new();
    write_batch(io, &mut staging, &mut vec![frame.into()]).await
}

/// Writes queued frames until `closing` is cancelled, then what is queued by then, and ends the stream.
pub(crate) async fn write_frames<W: AsyncWrite + Unpin>(
    io: &mut W,
    mut queue: UnboundedReceiver<Outgoing>,
    closing: CancellationToken,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut staging = BytesMut::with_capacity(STAGING_MAX * 2);
    let mut beat = interval_at(Instant::now() + BEAT_EVERY, BEAT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled() => break,
            count = queue.recv_many(&mut batch, BATCH_MAX) => if count == 0 { break },
            _ = beat.tick() => batch.push(Frame::bare(Kind::Beat, 0).into()),
        }
        tokio::select! {
            biased;
            written = write_batch(io, &mut staging, &mut batch) => written?,
            () = cancelled_for(&closing, CLOSE_MAX) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    queue.close();
    let farewell = async {
        while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            write_batch(io, &mut staging, &mut batch).await?;
        }
        batch.push(Frame::bare(Kind::Bye, 0).into());
        write_batch(io, &mut staging, &mut batch).await?;
        io.shutdown().await
    };
    timeout(CLOSE_MAX, farewell).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn cancelled_for(token: &CancellationToken, time: Duration) {
    token.cancelled().await;
    tokio::time::sleep(time).await;
}

/// Writes all of `batch` with one flush. Small parts are gathered; large bulk goes to TLS from where it lies.
async fn write_batch<W: AsyncWrite + Unpin>(
    io: &mut W,
    staging: &mut BytesMut,
    batch: &mut Vec<Outgoing>,
) -> io::Result<()> {
    for Outgoing { frame, .. } in batch.iter() {
        staging.put_slice(&frame.head());
        staging.put_slice(&frame.body);
        if frame.bulk.len() <= BULK_COPY_MAX {
            staging.put_slice(&frame.bulk);
        } else {
            io.write_all(staging).await?;
            staging.clear();
            io.write_all(&frame.bulk).await?;
        }
        if staging.len() >= STAGING_MAX {
            io.write_all(staging).await?;
            staging.clear();
        }
    }
    io.write_all(staging).await?;
    staging.clear();
    batch.clear();
    io.flush().await
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// Time is tokio's paused clock: it jumps when everything waits.
    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_noticed_within_the_limit() {
        let (ours, _theirs) = duplex(64);
        let begun = Instant::now();
        let error = Inlet::new(ours, Arc::from("there:1")).frame().await.unwrap_err();
        assert!(matches!(error, WireError::Silent { .. }), "{error:?}");
        assert_eq!(begun.elapsed().as_secs(), SILENCE_MAX.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_peer_that_lives_is_not_given_up() {
        let (ours, mut theirs) = duplex(1024);
        let (queue, queued) = unbounded_channel();
        let closing = CancellationToken::new();
        let stop = closing.clone();
        let writer = tokio::spawn(async move { write_frames(&mut theirs, queued, stop).await });
        let mut inlet = Inlet::new(ours, Arc::from("there:1"));
        for _ in 0..100 {
            assert_eq!(inlet.frame().await.unwrap().unwrap().kind, Kind::Beat);
        }
        queue.send(Frame::bare(Kind::Notice, 0).into()).unwrap_or_else(|_| unreachable!());
        closing.cancel();
        assert_eq!(inlet.frame().await.unwrap().unwrap().kind, Kind::Notice);
        assert_eq!(inlet.frame().await.unwrap().unwrap().kind, Kind::Bye);
        assert!(inlet.frame().await.unwrap().is_none());
        writer.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_stream_cut_inside_a_frame_is_broken_not_ended() {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(&Frame::bare(Kind::Beat, 0).head()[..20]).await.unwrap();
        drop(theirs);
        let error = Inlet::new(ours, Arc::from("there:1")).frame().await.unwrap_err();
        assert!(matches!(error, WireError::Broken { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_budget_holds_back_until_enough_is_given_back() {
        let budget = Arc::new(Budget::default());
        let mut charge = budget.charge(10);
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.below(5).await }
        });
        charge.resize(7);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(charge);
        waiting.await.unwrap();
    }
}
