//! The payload of a state, in the frame or in sealed memory: how it is made, read and sent is the same for both.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, CodecError};
use super::frame::{Frame, Kind, MAX_LENGTH};
use super::memory::{LARGE, Sink, Taken};
use super::sealed::{MemoryError, Sealed};

/// The most bytes of all retained states together, and so of one.
pub(crate) const RETAINED: usize = 256 << 20;

/// What a refusal begins with, and no value: MessagePack never has this byte.
pub(crate) const REFUSAL: u8 = 0xc1;

/// The most bytes of the words in a refusal.
const WORDS: usize = 4000;

/// An encoded value. Clones share it.
#[derive(Clone)]
pub(crate) enum Payload {
    Bytes(Bytes),
    Sealed(Sealed),
}

/// A value that cannot become a payload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("{length} bytes, where {limit} are the most")]
    TooLarge { length: u64, limit: u64 },
}

/// Tells how large it is, never what it is: it is the author's.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Sealed(sealed) => sealed.fmt(f),
        }
    }
}

impl Payload {
    /// Encodes `value`; what is large goes into sealed memory as it is made.
    pub(crate) fn encode<T: Serialize>(what: &str, value: &T) -> Result<Self, Unfit> {
        let made = Self::encode_into(Sink::new(RETAINED as u64), what, value);
        match made {
            // Memory may have run out on the way: what is wrong with the value itself is wrong again.
            Err(Unfit::Codec(error)) => {
                tracing::debug!("{what} is encoded again, without sealed memory: {error}");
                Self::encode_into(Sink::held_only(MAX_LENGTH as u64), what, value)
            }
            made => made,
        }
    }

    fn encode_into<T: Serialize>(mut sink: Sink, what: &str, value: &T) -> Result<Self, Unfit> {
        codec::encode_into(what, value, &mut sink)?;
        let limit = sink.limit();
        match sink.finish().map_err(|error| codec::unwritable::<T>(what, &error))? {
            Taken::Bytes(bytes) => Ok(Self::Bytes(bytes.into())),
            Taken::Sealed(sealed) => Ok(Self::Sealed(sealed)),
            Taken::TooMuch(length) => Err(Unfit::TooLarge { length, limit }),
        }
    }

    /// What says, in the place of a value, why there is none.
    pub(crate) fn refusing(reason: &str) -> Self {
        let end = reason.floor_char_boundary(WORDS);
        Self::Bytes([&[REFUSAL], &reason.as_bytes()[..end]].concat().into())
    }

    /// Why there is no value, if that is what it says.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self {
            Self::Bytes(bytes) => {
                bytes.strip_prefix(&[REFUSAL]).map(|words| String::from_utf8_lossy(words).into_owned())
            }
            Self::Sealed(_) => None,
        }
    }

    /// Takes bytes that are encoded already.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        use std::io::Write as _;
        let mut sink = Sink::new(RETAINED as u64);
        if bytes.len() >= LARGE
            && sink.write_all(&bytes).is_ok()
            && let Ok(Taken::Sealed(sealed)) = sink.finish()
        {
            return Self::Sealed(sealed);
        }
        Self::Bytes(bytes.into())
    }

    /// What a frame carries. What is more than all states may be is not even looked into.
    pub(crate) fn of_frame(frame: &Frame) -> Result<Self, MemoryError> {
        if !frame.is_in_memory() {
            return Ok(Self::Bytes(frame.shared_payload()));
        }
        let sealed = Sealed::carried_by(frame)?;
        match (sealed.length(), RETAINED as u64) {
            (length, limit) if length > limit => Err(MemoryError::TooLarge { length, limit }),
            _ => Ok(Self::Sealed(sealed)),
        }
    }

    /// A frame that carries it.
    pub(crate) fn to_frame(&self, kind: Kind, topic: &str, number: u64) -> Frame {
        match self {
            Self::Bytes(bytes) => Frame::about(kind, topic, number, bytes),
            Self::Sealed(sealed) => {
                Frame::about(kind, topic, number, &[]).with_memory(sealed.memory().clone(), sealed.length())
            }
        }
    }

    /// Decodes it. What is large in it stays where it is, if its type can share it.
    pub(crate) fn decode<T: DeserializeOwned>(&self, what: &str) -> Result<T, CodecError> {
        match self {
            Self::Bytes(bytes) => codec::decode_shared(what, bytes),
            Self::Sealed(sealed) => {
                let bytes = sealed.bytes().map_err(|error| codec::unreadable::<T>(what, &error))?;
                codec::decode_shared(what, &bytes)
            }
        }
    }

    /// Whether these are its bytes; what cannot be read does not have them.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(own) => own == bytes,
            Self::Sealed(sealed) => {
                sealed.length() == bytes.len() as u64 && sealed.bytes().is_ok_and(|own| own == bytes)
            }
        }
    }

    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Sealed(sealed) => sealed.length(),
        }
    }

    /// The most bytes that it may have, the way that it travels.
    pub(crate) fn limit(&self) -> u64 {
        match self {
            Self::Bytes(_) => MAX_LENGTH as u64 - u64::from(u8::MAX),
            Self::Sealed(_) => RETAINED as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};

    use super::super::sealed::SEALS;
    use super::*;

    #[test]
    fn a_value_is_the_same_again_wherever_it_was_kept() {
        for length in [10, LARGE - 5, LARGE, 3 * LARGE, 5 * LARGE] {
            let text = "ä".repeat(length / 2);
            let payload = Payload::encode("a text", &text).unwrap();
            assert_eq!(matches!(payload, Payload::Sealed(_)), length >= LARGE, "{length}");
            let frame = payload.to_frame(Kind::State, "s", 1);
            let arrived = Payload::of_frame(&frame).unwrap();
            assert_eq!(arrived.decode::<String>("a text").unwrap(), text);
            let bytes = codec::encode("a text", &text).unwrap();
            assert!(arrived.is(&bytes) && !arrived.is(&bytes[1..]), "{length}");
            assert_eq!(arrived.length(), bytes.len() as u64);
            assert!(Payload::of_bytes(bytes.clone()).is(&bytes));
        }
    }

    #[test]
    fn memory_of_more_than_all_states_may_be_is_refused_by_its_size_alone() {
        let sealed = |length: u64| {
            let memory = memfd_create("vast", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
            ftruncate(&memory, length).unwrap();
            fcntl_add_seals(&memory, SEALS).unwrap();
            Payload::of_frame(&Frame::about(Kind::State, "s", 1, &[]).with_memory(Arc::new(memory), 0))
        };
        let (most, vast) = (RETAINED as u64, 200 << 30);
        assert_eq!(sealed(most).unwrap().length(), most);
        let refused = sealed(vast);
        assert!(
            matches!(refused, Err(MemoryError::TooLarge { length, limit }) if (length, limit) == (vast, most))
        );
    }

    #[test]
    fn left_over_bytes_are_an_error_in_sealed_memory_too() {
        let mut bytes = codec::encode("a text", &"x".repeat(2 * LARGE)).unwrap();
        bytes.push(0);
        let payload = Payload::of_bytes(bytes);
        let error = payload.decode::<String>("a text").unwrap_err().to_string();
        assert!(error.contains("left over"), "{error}");
    }
}
