//! The receiving half of a connection, and what both halves share: messages as bodies, and budgets of memory.
//!
//! Decides nothing: what a frame means is `session`'s; sending is `outlet`'s.
//! Invariant: what a connection makes this process hold is charged until the last of it is written or dropped.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::{CodecError, WireError, tls_failure};
use crate::frame::{Coverage, Decoder, Frame, Kind};
use crate::limit::SILENCE_MAX;
use crate::machine::Input;

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
    /// Reads frames that are covered so far from `io`, which belongs to `address`.
    pub fn new(io: R, address: Arc<str>, coverage: Coverage) -> Self {
        let heard = Instant::now();
        let silence = Box::pin(sleep_until(heard + SILENCE_MAX));
        Self { io, address, decoder: Decoder::new(coverage), silence, heard }
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
            if let Some(frame) = self.arrived()? {
                return Ok(Some(frame));
            }
            if self.read().await? == 0 {
                return self.end();
            }
        }
    }

    /// Returns the next frame where it has been read already.
    pub fn arrived(&mut self) -> Result<Option<Frame>, WireError> {
        let next = self.decoder.next();
        next.map_err(|source| WireError::Damaged { address: self.address.to_string(), source })
    }

    async fn read(&mut self) -> Result<usize, WireError> {
        loop {
            let mut room = self.decoder.room();
            tokio::select! {
                biased;
                read = self.io.read_buf(&mut room) => {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::outlet::{self, Output};

    fn inlet<R: AsyncRead + Unpin>(io: R) -> Inlet<R> {
        Inlet::new(io, Arc::from("there:1"), Coverage::Whole)
    }

    /// Time is tokio's paused clock: it jumps when everything waits.
    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_noticed_within_the_limit() {
        let (ours, _theirs) = duplex(64);
        let begun = Instant::now();
        let error = inlet(ours).frame().await.unwrap_err();
        assert!(matches!(error, WireError::Silent { .. }), "{error:?}");
        assert_eq!(begun.elapsed().as_secs(), SILENCE_MAX.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_peer_that_lives_is_not_given_up() {
        let (ours, theirs) = duplex(1024);
        let closing = CancellationToken::new();
        let (outlet, writer) = outlet::open(Output::Tls(Box::new(theirs)));
        let writer = tokio::spawn(writer.run(closing.clone()));
        let mut inlet = inlet(ours);
        for _ in 0..100 {
            assert_eq!(inlet.frame().await.unwrap().unwrap().kind, Kind::Beat);
        }
        outlet.send(Frame::bare(Kind::Notice, 0).into());
        closing.cancel();
        assert_eq!(inlet.frame().await.unwrap().unwrap().kind, Kind::Notice);
        assert_eq!(inlet.frame().await.unwrap().unwrap().kind, Kind::Bye);
        assert!(inlet.frame().await.unwrap().is_none());
        writer.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_stream_cut_inside_a_frame_is_broken_not_ended() {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(&Frame::bare(Kind::Beat, 0).head(Coverage::Whole)[..20]).await.unwrap();
        drop(theirs);
        let error = inlet(ours).frame().await.unwrap_err();
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
