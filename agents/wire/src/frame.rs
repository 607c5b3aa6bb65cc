//! Frames: bytes on the wire in, frames out, and the reverse.
//!
//! No sockets, no meaning of the body. All numbers are little endian:
//! ```text
//!  0       4     6     8          16      20      24      28
//!  | magic | kind | 0  | id       | body  | bulk  | crc   | body bytes … | bulk bytes … |
//! ```
//! `crc` is CRC32C over the first 24 bytes, the body and the bulk.
//! Invariant: a frame that [`Decoder`] gives out is one that some [`Frame::head`] described, bit for bit; anything else is a
//! [`FrameError`], never a panic and never more memory than [`crate::limit`] allows.

use bytes::{Buf, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use thiserror::Error;

use crate::limit::{BODY_MAX, BULK_MAX, READ_MIN};

/// Bytes before the body.
pub(crate) const HEAD_LENGTH: usize = 28;

/// The first four bytes of every frame: "lstr".
const MAGIC: [u8; 4] = *b"lstr";

/// Where the checksum begins, and the part of the head that it covers ends.
const CRC_AT: usize = 24;

/// What a frame is. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Client, first: protocol and versions.
    Hello = 1,
    /// Server, first: the version that is spoken.
    Welcome = 2,
    /// Server, first and last: why not.
    Refusal = 3,
    /// Client: a request.
    Request = 4,
    /// Server: the answer to the request of the same id.
    Answer = 5,
    /// Server: the request of the same id gets no answer.
    Unanswered = 6,
    /// Server: a notice.
    Notice = 7,
    /// Both: I live.
    Beat = 8,
    /// Both: I close, nothing follows.
    Bye = 9,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Hello,
        Self::Welcome,
        Self::Refusal,
        Self::Request,
        Self::Answer,
        Self::Unanswered,
        Self::Notice,
        Self::Beat,
        Self::Bye,
    ];

    fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u16 == number)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The request that it belongs to, or 0.
    pub id: u64,
    /// Encoded message.
    pub body: Bytes,
    /// Raw bytes beside it.
    pub bulk: Bytes,
}

/// The bytes are not a frame of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// It does not begin as a frame does.
    #[error("the peer does not speak this protocol: bytes {found:02x?} where a frame must begin")]
    Magic {
        /// The first bytes.
        found: [u8; 4],
    },
    /// No such kind.
    #[error("a frame of kind {number} is not known")]
    Kind {
        /// Its number.
        number: u16,
    },
    /// Larger than anything that is sent.
    #[error("a frame of {body} and {bulk} bytes is larger than any that may be sent")]
    Length {
        /// Bytes of the body.
        body: usize,
        /// Bytes of bulk.
        bulk: usize,
    },
    /// Bytes changed on the way.
    #[error("a frame is damaged: its checksum is {found:08x}, its head says {expected:08x}")]
    Checksum {
        /// What the head says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
}

impl Frame {
    /// A frame without body and bulk.
    pub fn bare(kind: Kind, id: u64) -> Self {
        Self { kind, id, body: Bytes::new(), bulk: Bytes::new() }
    }

    /// Checks that body and bulk may be sent.
    pub fn check_length(body: usize, bulk: usize) -> Result<(), FrameError> {
        if body > BODY_MAX || bulk > BULK_MAX { Err(FrameError::Length { body, bulk }) } else { Ok(()) }
    }

    /// Returns the bytes that go before body and bulk.
    pub fn head(&self) -> [u8; HEAD_LENGTH] {
        let mut head = [0_u8; HEAD_LENGTH];
        head[0..4].copy_from_slice(&MAGIC);
        head[4..6].copy_from_slice(&(self.kind as u16).to_le_bytes());
        head[8..16].copy_from_slice(&self.id.to_le_bytes());
        head[16..20].copy_from_slice(&length_field(self.body.len()).to_le_bytes());
        head[20..24].copy_from_slice(&length_field(self.bulk.len()).to_le_bytes());
        let crc = checksum(&head[..CRC_AT], &self.body, &self.bulk);
        head[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// What the frame costs in memory, for budgets.
    pub fn cost(&self) -> usize {
        HEAD_LENGTH + self.body.len() + self.bulk.len()
    }
}

/// Lengths are checked against the limits before; what is too long is written as a length that every decoder refuses.
fn length_field(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn checksum(head: &[u8], body: &[u8], bulk: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(head);
    digest.update(body);
    digest.update(bulk);
    u32::try_from(digest.finalize()).unwrap_or(0)
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
}

/// A head that passed every check but the checksum.
struct Head {
    kind: Kind,
    id: u64,
    body: usize,
    bulk: usize,
    crc: u32,
}

impl Decoder {
    /// Returns where to put the next bytes, with room for the rest of the frame that has begun.
    pub fn room(&mut self) -> &mut BytesMut {
        let wanted = match self.head() {
            Ok(Some(head)) => (HEAD_LENGTH + head.body + head.bulk).saturating_sub(self.buffer.len()),
            Ok(None) | Err(_) => 0,
        };
        if self.buffer.capacity() - self.buffer.len() < wanted.max(1) {
            self.buffer.reserve(wanted.max(READ_MIN));
        }
        &mut self.buffer
    }

    /// Says whether the stream may end here: no frame has begun.
    pub fn is_between_frames(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes the next whole frame, if it is there.
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.head()? else { return Ok(None) };
        let length = HEAD_LENGTH + head.body + head.bulk;
        if self.buffer.len() < length {
            return Ok(None);
        }
        let mut bytes = self.buffer.split_to(length).freeze();
        let fixed = bytes.split_to(HEAD_LENGTH);
        let body = bytes.split_to(head.body);
        let found = checksum(&fixed[..CRC_AT], &body, &bytes);
        if found != head.crc {
            return Err(FrameError::Checksum { expected: head.crc, found });
        }
        Ok(Some(Frame { kind: head.kind, id: head.id, body, bulk: bytes }))
    }

    fn head(&self) -> Result<Option<Head>, FrameError> {
        let Some(mut bytes) = self.buffer.get(..HEAD_LENGTH) else { return Ok(None) };
        let mut magic = [0_u8; 4];
        bytes.copy_to_slice(&mut magic);
        if magic != MAGIC {
            return Err(FrameError::Magic { found: magic });
        }
        let number = bytes.get_u16_le();
        let kind = Kind::from_number(number).ok_or(FrameError::Kind { number })?;
        let _zero = bytes.get_u16_le();
        let id = bytes.get_u64_le();
        let body = usize::try_from(bytes.get_u32_le()).unwrap_or(usize::MAX);
        let bulk = usize::try_from(bytes.get_u32_le()).unwrap_or(usize::MAX);
        Frame::check_length(body, bulk)?;
        Ok(Some(Head { kind, id, body, bulk, crc: bytes.get_u32_le() }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
    use proptest::sample::select;

    use super::*;

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let frame =
            (select(Kind::ALL.to_vec()), any::<u64>(), vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..2000));
        let frame =
            frame.prop_map(|(kind, id, body, bulk)| Frame { kind, id, body: body.into(), bulk: bulk.into() });
        vec(frame, 0..8)
    }

    fn encode(frames: &[Frame]) -> Vec<u8> {
        frames.iter().flat_map(|frame| [&frame.head()[..], &frame.body, &frame.bulk].concat()).collect()
    }

    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for part in bytes.chunks(piece) {
            decoder.room().extend_from_slice(part);
            while let Some(frame) = decoder.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    #[test]
    fn frames_over_the_limit_are_refused_before_their_bytes_come() {
        let mut head = Frame::bare(Kind::Request, 1).head();
        head[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(decode(&head, 99), Err(FrameError::Length { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn frames_round_trip_however_the_stream_is_cut(frames in frames(), piece in 1..5000_usize) {
            prop_assert_eq!(decode(&encode(&frames), piece), Ok(frames));
        }

        #[test]
        fn garbage_is_refused_or_waited_for(bytes in vec(any::<u8>(), 0..400), piece in 1..100_usize) {
            let framed = [&MAGIC[..], &bytes].concat();
            let _ = decode(&bytes, piece);
            let _ = decode(&framed, piece);
        }

        #[test]
        fn a_flipped_bit_is_never_given_out(
            (frames, at, bit) in frames().prop_filter("some bytes", |frames| !frames.is_empty())
                .prop_flat_map(|frames| {
                    let length = encode(&frames).len();
                    (Just(frames), 0..length, 0..8_u32)
                })
        ) {
            let mut bytes = encode(&frames);
            bytes[at] ^= 1 << bit;
            // A changed length may leave the last frame waiting for more; it must not come out as something else.
            if let Ok(given) = decode(&bytes, 777) {
                prop_assert!(given.len() < frames.len());
                prop_assert_eq!(&given[..], &frames[..given.len()]);
            }
        }

        #[test]
        fn a_truncated_frame_is_never_given_out(frames in frames(), cut in 1..100_usize) {
            let mut bytes = encode(&frames);
            bytes.truncate(bytes.len().saturating_sub(cut));
            let given = decode(&bytes, 777).expect("whole frames are undamaged");
            prop_assert!(given.len() < frames.len() || frames.is_empty());
        }
    }
}
