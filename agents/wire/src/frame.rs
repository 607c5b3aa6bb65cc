//! Frames: bytes on the wire in, frames out, and the reverse.
//!
//! No sockets, no meaning of the body. All numbers are little endian:
//! ```text
//!  0       4     6       8          16      20      24      28
//!  | magic | kind | cover | id       | body  | bulk  | crc   | body bytes … | bulk bytes … |
//! ```
//! `crc` is CRC32C over the first 24 bytes, the body and, where `cover` is 0, the bulk. Where both ends are one machine `cover`
//! is 1: bulk then goes from one memory to the other through the kernel, and who keeps it checks it by himself. Which of the
//! two a connection speaks is agreed before; a frame of the other kind is refused.
//! Invariant: a frame that [`Decoder`] gives out is one that some [`Frame::head`] described, bit for bit as far as it is covered;
//! anything else is a [`FrameError`], never a panic and never more memory than [`crate::limit`] allows.

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use thiserror::Error;

use crate::limit::{BODY_MAX, BULK_MAX, READ_LEAST, READ_MIN};

/// Bytes before the body.
pub(crate) const HEAD_LENGTH: usize = 28;

/// The first four bytes of every frame: "lstr".
const MAGIC: [u8; 4] = *b"lstr";

/// Where the checksum begins, and the part of the head that it covers ends.
const CRC_AT: usize = 24;

/// What the checksums of a connection cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Head, body and bulk.
    Whole = 0,
    /// Head and body: bulk does not leave the machine.
    WithoutBulk = 1,
}

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

impl Coverage {
    /// Returns what is covered of a frame's bulk.
    fn of(self, bulk: &[u8]) -> &[u8] {
        match self {
            Self::Whole => bulk,
            Self::WithoutBulk => &[],
        }
    }
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
    /// Its checksum covers more or less than was agreed.
    #[error("a frame's checksum covers something else than this connection's do: {found}")]
    Coverage {
        /// The number that says what.
        found: u16,
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
    pub fn head(&self, coverage: Coverage) -> [u8; HEAD_LENGTH] {
        let mut head = [0_u8; HEAD_LENGTH];
        head[0..4].copy_from_slice(&MAGIC);
        head[4..6].copy_from_slice(&(self.kind as u16).to_le_bytes());
        head[6..8].copy_from_slice(&(coverage as u16).to_le_bytes());
        head[8..16].copy_from_slice(&self.id.to_le_bytes());
        head[16..20].copy_from_slice(&length_field(self.body.len()).to_le_bytes());
        head[20..24].copy_from_slice(&length_field(self.bulk.len()).to_le_bytes());
        let crc = checksum(&head[..CRC_AT], &self.body, coverage.of(&self.bulk));
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
#[derive(Debug)]
pub(crate) struct Decoder {
    coverage: Coverage,
    buffer: BytesMut,
    /// A frame of which only bulk is missing.
    begun: Option<Begun>,
}

/// A head that passed every check but the checksum.
#[derive(Debug)]
struct Head {
    kind: Kind,
    id: u64,
    body: usize,
    bulk: usize,
    crc: u32,
}

/// A frame whose bulk is read into a buffer of its own, of the right size, where it stays.
#[derive(Debug)]
struct Begun {
    head: Head,
    /// Head and body as they came.
    covered: Bytes,
    bulk: BytesMut,
}

impl Decoder {
    /// Reads frames whose checksums cover as much.
    pub fn new(coverage: Coverage) -> Self {
        Self { coverage, buffer: BytesMut::new(), begun: None }
    }

    /// Returns where to put the next bytes; never takes more than fits the frame that has begun and a small read.
    pub fn room(&mut self) -> Limit<&mut BytesMut> {
        if self.begun.is_none() {
            self.reserve();
        }
        match &mut self.begun {
            Some(begun) => {
                let missing = begun.head.bulk - begun.bulk.len();
                (&mut begun.bulk).limit(missing)
            }
            None => {
                let spare = self.buffer.capacity() - self.buffer.len();
                (&mut self.buffer).limit(spare)
            }
        }
    }

    /// Makes room for the rest of head and body, and for what may come behind them.
    fn reserve(&mut self) {
        let missing = match self.head() {
            Ok(Some(head)) => (HEAD_LENGTH + head.body).saturating_sub(self.buffer.len()),
            Ok(None) | Err(_) => 0,
        };
        let least = missing.max(READ_LEAST);
        if self.buffer.capacity() - self.buffer.len() < least {
            self.buffer.reserve(least.max(READ_MIN));
        }
    }

    /// Says whether the stream may end here: no frame has begun.
    pub fn is_between_frames(&self) -> bool {
        self.buffer.is_empty() && self.begun.is_none()
    }

    /// Takes the next whole frame, if it is there.
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(begun) = self.begun.take_if(|begun| begun.bulk.len() == begun.head.bulk) {
            return self.check(&begun.head, begun.covered, begun.bulk.freeze()).map(Some);
        }
        if self.begun.is_some() {
            return Ok(None);
        }
        let Some(head) = self.head()? else { return Ok(None) };
        let covered = HEAD_LENGTH + head.body;
        if self.buffer.len() < covered {
            return Ok(None);
        }
        let there = self.buffer.len() - covered;
        if there < head.bulk {
            let covered = self.buffer.split_to(covered).freeze();
            let mut bulk = BytesMut::with_capacity(head.bulk);
            bulk.extend_from_slice(&self.buffer);
            self.buffer.clear();
            self.begun = Some(Begun { head, covered, bulk });
            return Ok(None);
        }
        let covered = self.buffer.split_to(covered).freeze();
        let bulk = self.buffer.split_to(head.bulk).freeze();
        self.check(&head, covered, bulk).map(Some)
    }

    fn check(&self, head: &Head, mut covered: Bytes, bulk: Bytes) -> Result<Frame, FrameError> {
        let body = covered.split_off(HEAD_LENGTH);
        let found = checksum(&covered[..CRC_AT], &body, self.coverage.of(&bulk));
        if found != head.crc {
            return Err(FrameError::Checksum { expected: head.crc, found });
        }
        Ok(Frame { kind: head.kind, id: head.id, body, bulk })
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
        let found = bytes.get_u16_le();
        if found != self.coverage as u16 {
            return Err(FrameError::Coverage { found });
        }
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

    fn encode_as(coverage: Coverage, frames: &[Frame]) -> Vec<u8> {
        frames
            .iter()
            .flat_map(|frame| [&frame.head(coverage)[..], &frame.body, &frame.bulk].concat())
            .collect()
    }

    fn encode(frames: &[Frame]) -> Vec<u8> {
        encode_as(Coverage::Whole, frames)
    }

    fn decode_as(coverage: Coverage, mut bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::new(coverage);
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let mut room = decoder.room();
            let read = piece.min(bytes.len()).min(room.remaining_mut());
            room.put_slice(&bytes[..read]);
            bytes = &bytes[read..];
            while let Some(frame) = decoder.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, FrameError> {
        decode_as(Coverage::Whole, bytes, piece)
    }

    #[test]
    fn a_frame_that_covers_something_else_than_agreed_is_refused() {
        let frame = [Frame { bulk: Bytes::from_static(b"bulk"), ..Frame::bare(Kind::Answer, 1) }];
        let (whole, part) = (encode(&frame), encode_as(Coverage::WithoutBulk, &frame));
        assert_eq!(decode_as(Coverage::Whole, &part, 99), Err(FrameError::Coverage { found: 1 }));
        assert_eq!(decode_as(Coverage::WithoutBulk, &whole, 99), Err(FrameError::Coverage { found: 0 }));
        assert_eq!(decode_as(Coverage::WithoutBulk, &part, 99), Ok(frame.to_vec()));
    }

    #[test]
    fn frames_over_the_limit_are_refused_before_their_bytes_come() {
        let mut head = Frame::bare(Kind::Request, 1).head(Coverage::Whole);
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
        fn without_bulk_all_the_rest_is_still_checked(
            (frames, at, bit) in frames().prop_filter("some bytes", |frames| !frames.is_empty())
                .prop_flat_map(|frames| {
                    let length = HEAD_LENGTH + frames[0].body.len();
                    (Just(frames), 0..length, 0..8_u32)
                })
        ) {
            let mut bytes = encode_as(Coverage::WithoutBulk, &frames);
            prop_assert_eq!(decode_as(Coverage::WithoutBulk, &bytes, 777), Ok(frames));
            bytes[at] ^= 1 << bit;
            if let Ok(given) = decode_as(Coverage::WithoutBulk, &bytes, 777) {
                prop_assert!(given.is_empty());
            }
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
