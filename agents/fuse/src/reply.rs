//! Answers on their way to the kernel: each may be sent later and from any thread.
//!
//! Not the transport; that hands in what does the sending.
//! Invariant: a reply that is dropped unsent answers `EIO`, so that no process waits for ever.

use std::fmt;

use crate::node::{Entry, Errno};

type Send<T> = Box<dyn FnOnce(Result<T, Errno>) + std::marker::Send>;

/// The answer to one request.
pub struct Reply<T>(Option<Send<T>>);

impl<T> Reply<T> {
    /// Wraps what delivers the answer.
    pub fn new(send: impl FnOnce(Result<T, Errno>) + std::marker::Send + 'static) -> Self {
        Self(Some(Box::new(send)))
    }

    /// Sends it.
    pub fn send(mut self, answer: Result<T, Errno>) {
        if let Some(send) = self.0.take() {
            send(answer);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(send) = self.0.take() {
            send(Err(Errno::IO));
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("sent", &self.0.is_none()).finish()
    }
}

/// Whether a directory answer took an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It did.
    Taken,
    /// It did not: send what is there.
    Full,
}

/// One row of a directory answer.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryRow<'a> {
    /// Where the next request goes on.
    pub next: u64,
    /// The name.
    pub name: &'a [u8],
    /// What it names; `.` and `..` are never remembered by the kernel.
    pub entry: Entry,
}

/// Collects rows up to what the kernel asked for.
pub(crate) trait DirectorySink: std::marker::Send {
    /// Whether each row that is taken counts as a lookup.
    fn counts(&self) -> bool;
    fn add(&mut self, row: DirectoryRow<'_>) -> Room;
    fn send(self: Box<Self>, answer: Result<(), Errno>);
}

/// The answer to a request for entries of a directory.
pub struct DirectoryReply(Option<Box<dyn DirectorySink>>);

impl DirectoryReply {
    pub(crate) fn new(sink: impl DirectorySink + 'static) -> Self {
        Self(Some(Box::new(sink)))
    }

    /// Whether a row that was taken counts as a lookup of its inode.
    pub fn counts(&self, row: &DirectoryRow<'_>) -> bool {
        !matches!(row.name, b"." | b"..") && self.0.as_ref().is_some_and(|sink| sink.counts())
    }

    /// Adds a row, if it fits.
    pub fn add(&mut self, row: DirectoryRow<'_>) -> Room {
        self.0.as_mut().map_or(Room::Full, |sink| sink.add(row))
    }

    /// Sends the rows that were taken, or why there are none.
    pub fn send(mut self, answer: Result<(), Errno>) {
        if let Some(sink) = self.0.take() {
            sink.send(answer);
        }
    }
}

impl Drop for DirectoryReply {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take() {
            sink.send(Err(Errno::IO));
        }
    }
}

impl fmt::Debug for DirectoryReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryReply").field("sent", &self.0.is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_forgotten_reply_answers_an_error_once() {
        let (sender, receiver) = mpsc::channel();
        drop(Reply::<u32>::new(move |answer| sender.send(answer).expect("the test listens")));
        assert_eq!(receiver.recv(), Ok(Err(Errno::IO)));
        assert!(receiver.recv().is_err(), "answered twice");
    }

    #[test]
    fn a_sent_reply_answers_once() {
        let (sender, receiver) = mpsc::channel();
        Reply::<u32>::new(move |answer| sender.send(answer).expect("the test listens")).send(Ok(7));
        assert_eq!(receiver.recv(), Ok(Ok(7)));
        assert!(receiver.recv().is_err(), "answered twice");
    }
}
