//! The envelope of everything that travels on a link, as it stands on the wire: 40 bytes. Pure.
//!
//! ```text
//! 0        4      5            6             7       8        16   24     32     40
//! | length | kind | topic len. | descriptors | flags | number | to | from | time | topic … payload …
//! ```
//!
//! Numbers are little-endian; `length` counts the topic and the payload. `to`, `from` and `time` (microseconds of the
//! Unix epoch) are the sender's, so that what goes from child to child is relayed as it is.

use std::ops::Range;

use super::kind::Kind;
use super::peer::Address;

/// The bytes of an envelope.
pub(crate) const HEAD: usize = 40;

/// The sender wants to know who got it.
pub(crate) const RECEIPT: u8 = 1;

/// The payload is the contents of the frame's one descriptor.
pub(crate) const MEMFD: u8 = 2;

/// The frame had descriptors, for which there was no place on the way.
pub(crate) const LOST: u8 = 4;

/// What the flags can be, together.
const FLAGS: u8 = RECEIPT | MEMFD | LOST;

/// Where an envelope says what its frame is: kind, length of the topic, descriptors, flags.
pub(super) const SORT: Range<usize> = 4..8;

/// Where it says to whom the frame goes, and from whom.
pub(super) const WAY: Range<usize> = 16..32;

/// What differs among messages that go the same way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glimpse {
    /// The bytes of the whole frame.
    pub(super) length: usize,
    pub(super) number: u64,
    pub(super) time: u64,
}

impl Glimpse {
    /// Of an envelope, unchecked; `None` if it is not whole.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD>()?;
        let (length, rest) = head.split_first_chunk()?;
        let (number, _) = rest[4..].split_first_chunk()?;
        let (time, _) = rest[28..].split_first_chunk()?;
        Some(Self {
            length: HEAD + u32::from_le_bytes(*length) as usize,
            number: u64::from_le_bytes(*number),
            time: u64::from_le_bytes(*time),
        })
    }
}

/// Where a frame comes from, where it goes, and when it was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: Address,
    pub(crate) from: Address,
    /// Microseconds of the Unix epoch, by the sender's clock.
    pub(crate) time: u64,
}

/// An envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The bytes of topic and payload.
    pub(crate) length: u32,
    pub(crate) kind: Kind,
    pub(crate) topic_length: u8,
    pub(crate) descriptors: u8,
    pub(crate) flags: u8,
    pub(crate) number: u64,
    pub(crate) route: Route,
}

impl Head {
    pub(crate) fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&[self.kind as u8, self.topic_length, self.descriptors, self.flags]);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.route.to.to_bytes());
        bytes[24..32].copy_from_slice(&self.route.from.to_bytes());
        bytes[32..].copy_from_slice(&self.route.time.to_le_bytes());
        bytes
    }

    /// The envelope at the beginning of `bytes`, with at most `limit` bytes in it; `None` if it is not whole yet.
    pub(crate) fn read(bytes: &[u8], limit: usize) -> Result<Option<Self>, FrameError> {
        let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let eight = |at: usize| std::array::from_fn::<u8, 8, _>(|place| head[at + place]);
        let [code, topic_length, descriptors, flags] = [head[4], head[5], head[6], head[7]];
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let kind = Kind::from_code(code).ok_or(FrameError::UnknownKind(code))?;
        if length as usize > limit {
            return Err(FrameError::TooLong { length: length as usize, limit });
        }
        if u32::from(topic_length) > length {
            return Err(FrameError::TopicTooLong { topic: topic_length.into(), length: length as usize });
        }
        if flags & !FLAGS != 0 {
            return Err(FrameError::Flags(flags));
        }
        let address = |at| Address::from_bytes(eight(at)).ok_or(FrameError::Address(head[at]));
        let route = Route { to: address(16)?, from: address(24)?, time: u64::from_le_bytes(eight(32)) };
        let number = u64::from_le_bytes(eight(8));
        Ok(Some(Self { length, kind, topic_length, descriptors, flags, number, route }))
    }

    /// Whether it announces at most so many descriptors: who may have none is found out before any are kept for it.
    pub(super) fn check_load(&self, most: usize) -> Result<(), FrameError> {
        let (kind, announced) = (self.kind, usize::from(self.descriptors));
        if announced > most { Err(FrameError::TooManyDescriptors { kind, announced, most }) } else { Ok(()) }
    }

    /// The bytes of the whole frame.
    pub(crate) fn wire_length(&self) -> usize {
        HEAD + self.length as usize
    }
}

/// What no frame can be; the link that carried it is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the frame kind {0} is unknown")]
    UnknownKind(u8),
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("a topic of {topic} bytes does not fit a frame of {length}")]
    TopicTooLong { topic: usize, length: usize },
    #[error("a topic is not UTF-8")]
    TopicNotText,
    #[error("a frame announces {announced} descriptors and came with {came}")]
    MissingDescriptors { announced: usize, came: usize },
    #[error("a frame of the kind {kind:?} announces {announced} descriptors, where {most} are the most")]
    TooManyDescriptors { kind: Kind, announced: usize, most: usize },
    #[error("{0} descriptors came that no frame announces")]
    StrayDescriptors(usize),
    #[error(
        "the descriptors of a frame of the kind {0:?} found no place here: the limit of open files is reached"
    )]
    DescriptorsLost(Kind),
    #[error("a frame has the flags {0:#x}, of which some are unknown")]
    Flags(u8),
    #[error("a frame has an address of the unknown form {0}")]
    Address(u8),
    #[error(
        "a frame of many messages says that they are {claimed}, and has {found} whole ones and {left} bytes beside them"
    )]
    Miscounted { claimed: u64, found: u64, left: usize },
}
