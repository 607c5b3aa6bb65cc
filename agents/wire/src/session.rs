//! What may follow what on an open connection: numbers of calls, who waits for which answer, which frames are legal.
//!
//! No sockets and no clock; frames come in, decisions come out.
//! Invariant: whoever waits is handed out exactly once: with its answer, or with the end of the connection.

use std::collections::HashMap;

use thiserror::Error;

use crate::frame::{Frame, Kind};
use crate::limit::CALLS_MAX;

/// A frame that has no business here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionError {
    /// A frame that this side never receives, or not now.
    #[error("the peer sent a {kind} where none may come")]
    Unexpected {
        /// Which.
        kind: &'static str,
    },
    /// An answer to a request that was never made.
    #[error("the peer answered request {id}, which was never made")]
    NeverAsked {
        /// The answer's number.
        id: u64,
    },
    /// Numbers of requests must rise.
    #[error("the peer sent request {id} after request {last}")]
    NotRising {
        /// The request's number.
        id: u64,
        /// The highest before.
        last: u64,
    },
}

/// Refuses a frame by its kind.
pub(crate) fn unexpected(kind: Kind) -> SessionError {
    let kind = match kind {
        Kind::Hello => "hello",
        Kind::Welcome => "welcome",
        Kind::Refusal => "refusal",
        Kind::Request => "request",
        Kind::Answer => "answer",
        Kind::Unanswered => "non-answer",
        Kind::Notice => "notice",
        Kind::Beat => "beat",
        Kind::Bye => "goodbye",
    };
    SessionError::Unexpected { kind }
}

/// A call cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCall {
    /// [`CALLS_MAX`] wait already.
    TooMany,
    /// The connection has ended.
    Ended,
}

/// The client's side: calls that wait, each with its `W` to wake.
#[derive(Debug)]
pub(crate) struct Calls<W> {
    last: u64,
    /// `None` once the connection has ended.
    waiting: Option<HashMap<u64, W>>,
}

/// What a frame means to a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival<W> {
    /// An answer for `W`.
    Answer(W, Frame),
    /// The server will not answer `W`.
    Unanswered(W),
    /// A notice.
    Notice(Frame),
    /// Nothing to do: a beat, or the answer to a call that was given up.
    Nothing,
    /// The server closes.
    Bye,
}

impl<W> Calls<W> {
    /// No call waits yet.
    pub fn new() -> Self {
        Self { last: 0, waiting: Some(HashMap::new()) }
    }

    /// Numbers a call; `waiter` is handed out again when it ends.
    pub fn begin(&mut self, waiter: W) -> Result<u64, NoCall> {
        let waiting = self.waiting.as_mut().ok_or(NoCall::Ended)?;
        if waiting.len() >= CALLS_MAX {
            return Err(NoCall::TooMany);
        }
        self.last += 1;
        waiting.insert(self.last, waiter);
        Ok(self.last)
    }

    /// Gives a call up; its answer will be dropped.
    pub fn abandon(&mut self, id: u64) {
        if let Some(waiting) = self.waiting.as_mut() {
            waiting.remove(&id);
        }
    }

    /// Takes a frame.
    pub fn received(&mut self, frame: Frame) -> Result<Arrival<W>, SessionError> {
        match frame.kind {
            Kind::Answer => {
                let waiter = self.take(frame.id)?;
                Ok(waiter.map_or(Arrival::Nothing, |waiter| Arrival::Answer(waiter, frame)))
            }
            Kind::Unanswered => Ok(self.take(frame.id)?.map_or(Arrival::Nothing, Arrival::Unanswered)),
            Kind::Notice => Ok(Arrival::Notice(frame)),
            Kind::Beat => Ok(Arrival::Nothing),
            Kind::Bye => Ok(Arrival::Bye),
            Kind::Hello | Kind::Welcome | Kind::Refusal | Kind::Request => Err(unexpected(frame.kind)),
        }
    }

    /// Ends it: hands out all who wait, and lets no call begin again.
    pub fn end(&mut self) -> Vec<W> {
        self.waiting.take().map(|waiting| waiting.into_values().collect()).unwrap_or_default()
    }

    fn take(&mut self, id: u64) -> Result<Option<W>, SessionError> {
        if id == 0 || id > self.last {
            return Err(SessionError::NeverAsked { id });
        }
        Ok(self.waiting.as_mut().and_then(|waiting| waiting.remove(&id)))
    }
}

/// The server's side: the numbers of requests rise.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    last: u64,
}

/// What a frame means to a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// A request.
    Call(Frame),
    /// Nothing to do.
    Nothing,
    /// The client closes.
    Bye,
}

impl Requests {
    /// Takes a frame.
    pub fn received(&mut self, frame: Frame) -> Result<Demand, SessionError> {
        match frame.kind {
            Kind::Request if frame.id <= self.last => {
                Err(SessionError::NotRising { id: frame.id, last: self.last })
            }
            Kind::Request => {
                self.last = frame.id;
                Ok(Demand::Call(frame))
            }
            Kind::Beat => Ok(Demand::Nothing),
            Kind::Bye => Ok(Demand::Bye),
            Kind::Hello | Kind::Welcome | Kind::Refusal | Kind::Answer | Kind::Unanswered | Kind::Notice => {
                Err(unexpected(frame.kind))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn every_waiter_is_handed_out_once(steps in vec((0..4_u8, any::<u64>()), 0..200)) {
            let mut calls = Calls::new();
            let mut begun = 0;
            let mut waiting = BTreeSet::new();
            for (step, number) in steps {
                let id = number % 20;
                match step {
                    0 | 1 => {
                        begun += 1;
                        prop_assert_eq!(calls.begin(begun), Ok(begun));
                        waiting.insert(begun);
                    }
                    2 => {
                        let arrival = calls.received(Frame::bare(Kind::Answer, id));
                        if id == 0 || id > begun {
                            prop_assert_eq!(arrival, Err(SessionError::NeverAsked { id }));
                        } else if waiting.remove(&id) {
                            prop_assert_eq!(arrival, Ok(Arrival::Answer(id, Frame::bare(Kind::Answer, id))));
                        } else {
                            prop_assert_eq!(arrival, Ok(Arrival::Nothing));
                        }
                    }
                    _ => {
                        calls.abandon(id);
                        waiting.remove(&id);
                    }
                }
            }
            prop_assert_eq!(calls.end().into_iter().collect::<BTreeSet<_>>(), waiting);
            prop_assert!(calls.end().is_empty());
            prop_assert_eq!(calls.begin(0), Err(NoCall::Ended));
        }
    }

    #[test]
    fn more_calls_than_the_limit_are_refused() {
        let mut calls = Calls::new();
        for _ in 0..CALLS_MAX {
            calls.begin(()).expect("within the limit");
        }
        assert_eq!(calls.begin(()), Err(NoCall::TooMany));
        calls.abandon(1);
        assert!(calls.begin(()).is_ok());
    }

    #[test]
    fn requests_out_of_order_and_frames_of_the_other_side_are_refused() {
        let mut requests = Requests::default();
        assert!(matches!(requests.received(Frame::bare(Kind::Request, 7)), Ok(Demand::Call(_))));
        for id in [0, 6, 7] {
            let again = requests.received(Frame::bare(Kind::Request, id));
            assert_eq!(again, Err(SessionError::NotRising { id, last: 7 }));
        }
        for kind in [Kind::Hello, Kind::Answer, Kind::Notice] {
            assert_eq!(requests.received(Frame::bare(kind, 8)), Err(unexpected(kind)));
        }
    }
}
