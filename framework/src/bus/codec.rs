//! Payloads: MessagePack with named fields, so that an older or newer program can read what it knows.

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserializer, Serialize};

use super::{discretion, shared};

/// How deeply a payload may be nested. Each level takes stack, also of what is passed over as unknown.
const DEPTH: usize = 128;

/// A payload that cannot be encoded or decoded as the type that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be {action} as `{type_name}`: {problem}")]
pub struct CodecError {
    what: String,
    action: &'static str,
    type_name: &'static str,
    problem: String,
}

/// Encodes `value`; `what` names it in the error.
pub(crate) fn encode<T: Serialize>(what: &str, value: &T) -> Result<Vec<u8>, CodecError> {
    rmp_serde::to_vec_named(value).map_err(|error| unencoded::<T>(what, &error))
}

/// Encodes `value` behind the name of its topic, which also names it in the error. What takes `room` bytes altogether is
/// written without moving what was written before.
pub(crate) fn encode_behind<T: Serialize>(
    topic: &str,
    value: &T,
    room: usize,
) -> Result<Vec<u8>, CodecError> {
    let mut content = Vec::with_capacity(room.max(topic.len()));
    content.extend_from_slice(topic.as_bytes());
    rmp_serde::encode::write_named(&mut content, value).map_err(|error| unencoded::<T>(topic, &error))?;
    Ok(content)
}

/// Encodes `value` into `sink`, piece by piece.
pub(crate) fn encode_into<T: Serialize>(what: &str, value: &T, sink: impl Write) -> Result<(), CodecError> {
    let mut serializer = rmp_serde::Serializer::new(sink).with_struct_map();
    value.serialize(&mut serializer).map_err(|error| unencoded::<T>(what, &error))
}

/// What was encoded and cannot be kept.
pub(crate) fn unwritable<T>(what: &str, error: &io::Error) -> CodecError {
    failed::<T>(what, "encoded", error.to_string())
}

/// What cannot be had to be decoded.
pub(crate) fn unreadable<T>(what: &str, error: &io::Error) -> CodecError {
    failed::<T>(what, "decoded", error.to_string())
}

/// Decodes all of `source`, of which the value may keep slices.
pub(crate) fn decode_shared<T: DeserializeOwned>(what: &str, source: &Bytes) -> Result<T, CodecError> {
    decode_within(what, source, source)
}

/// Decodes all of `bytes`, which are a part of `source`. The value may keep slices of that.
pub(crate) fn decode_within<T: DeserializeOwned>(
    what: &str,
    bytes: &[u8],
    source: &Bytes,
) -> Result<T, CodecError> {
    shared::within(source, bytes.len(), || decode(what, bytes))
}

/// Decodes all of `bytes`; what is left over is an error, which the decoder itself would pass over.
///
/// The value goes straight from where it is made to the caller: whatever holds it in between is copied as a whole just
/// after it was written in parts, for which the processor waits longer than for all the rest.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, CodecError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(DEPTH);
    // The error is of no use, and told apart here it does not keep the value in memory.
    match T::deserialize(&mut deserializer).ok() {
        Some(value) if ends(&mut deserializer) => Ok(value),
        _ => explain(what, bytes),
    }
}

/// Whether not even a marker can be read any more.
fn ends<'de>(deserializer: impl Deserializer<'de, Error = rmp_serde::decode::Error>) -> bool {
    matches!(deserializer.deserialize_option(OneMarker), Err(rmp_serde::decode::Error::InvalidMarkerRead(_)))
}

/// Reads one marker and nothing behind it.
struct OneMarker;

impl<'de> Visitor<'de> for OneMarker {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a marker")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Ok(())
    }
}

/// Decodes once more to say how far it came, which only a reader knows.
#[cold]
#[inline(never)]
fn explain<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, CodecError> {
    let mut rest = bytes;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(DEPTH);
    let value = T::deserialize(&mut deserializer).map_err(|error| discretion::of_decoding(&error));
    drop(deserializer);
    let at = bytes.len() - rest.len();
    let wrong = |problem: String| failed::<T>(what, "decoded", problem);
    match value {
        Ok(value) if rest.is_empty() => Ok(value),
        Ok(_) => Err(wrong(format!("bytes are left over from byte {at} on"))),
        Err(problem) => Err(wrong(format!("{problem}, before byte {at}"))),
    }
}

fn unencoded<T>(what: &str, error: &rmp_serde::encode::Error) -> CodecError {
    failed::<T>(what, "encoded", discretion::of_encoding(error))
}

fn failed<T>(what: &str, action: &'static str, problem: String) -> CodecError {
    CodecError { what: what.to_owned(), action, type_name: std::any::type_name::<T>(), problem }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn left_over_bytes_are_an_error() {
        let mut bytes = encode("a pair", &(1u8, "x")).unwrap();
        assert_eq!(decode::<(u8, String)>("a pair", &bytes).unwrap(), (1, "x".to_owned()));
        bytes.push(0);
        let error = decode::<(u8, String)>("a pair", &bytes).unwrap_err().to_string();
        assert!(error.contains("left over from byte 4 on"), "{error}");
    }

    #[test]
    fn nesting_without_end_and_lengths_without_bytes_are_errors() {
        #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        struct Known {
            known: u8,
        }
        // Within a field that is not known, which is passed over.
        let field = [&[0x81, 0xa1, b'x'][..]].concat();
        let arrays = [field.clone(), vec![0x91; 60 << 20]].concat();
        let maps = [field, [0x81, 0x00].repeat(1 << 20)].concat();
        for (bytes, problem) in [
            (&arrays[..], "depth limit exceeded"),
            (&maps[..], "depth limit exceeded"),
            (&[0xdd, 0xff, 0xff, 0xff, 0xff][..], ""),
            (&[0x81, 0xa1, b'x', 0xdd, 0xff, 0xff, 0xff, 0xff][..], ""),
            (&[0x81, 0xa1, b'x', 0xc6, 0xff, 0xff, 0xff, 0xff][..], ""),
            (&[0x81, 0xdb, 0xff, 0xff, 0xff, 0xff][..], ""),
        ] {
            // By either decoder.
            let error = decode::<Known>("a bomb", bytes).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
            let error = explain::<Known>("a bomb", bytes).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
            assert!(decode::<crate::bus::control::Pulse>("a bomb", bytes).is_err());
            assert!(decode::<Vec<crate::status::DutyStatus>>("a bomb", bytes).is_err());
            assert!(decode::<crate::bus::control::Request>("a bomb", bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn whatever_is_left_over_is_an_error(
            value in any::<(u64, Option<String>, Vec<Option<bool>>)>(),
            rest in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            type Value = (u64, Option<String>, Vec<Option<bool>>);
            let whole = encode("a value", &value).unwrap();
            prop_assert_eq!(&decode::<Value>("a value", &whole).unwrap(), &value);
            prop_assert_eq!(&explain::<Value>("a value", &whole).unwrap(), &value);
            // Each byte is another marker, also of what is longer than the rest.
            for marker in 0..=u8::MAX {
                let bytes = [&whole[..], &[marker], &rest].concat();
                let error = decode::<Value>("a value", &bytes).map_err(|error| error.to_string());
                let other = explain::<Value>("a value", &bytes).map_err(|error| error.to_string());
                prop_assert!(error.is_err(), "{marker:#x} is passed over");
                prop_assert_eq!(error, other);
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode::<crate::bus::control::Hello>("garbage", &bytes);
        }
    }
}
