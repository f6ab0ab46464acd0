//! Sizes as people write them in configuration: `512KiB`, `2MiB`, or a plain number of bytes.

use std::fmt;

pub use bytesize::ByteSize;
use serde::{Deserializer, Serialize, Serializer, de};

/// For `#[serde(with = "hatchery::size")]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(size: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
    size.as_u64().serialize(serializer)
}

/// For `#[serde(with = "hatchery::size")]`.
///
/// # Errors
/// When the value is neither a number of bytes nor a number with a unit.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    deserializer.deserialize_any(SizeVisitor)
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as 512KiB, 2MiB or a number of bytes")
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
        Ok(ByteSize::b(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
        match u64::try_from(bytes) {
            Ok(bytes) => self.visit_u64(bytes),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(bytes), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// For `#[serde(default, with = "hatchery::size::optional")]`: a size that may be left out.
pub mod optional {
    use bytesize::ByteSize;
    use serde::{Deserializer, Serializer};

    /// For `#[serde(with = "hatchery::size::optional")]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(size: &Option<ByteSize>, serializer: S) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => super::serialize(size, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// For `#[serde(default, with = "hatchery::size::optional")]`.
    ///
    /// # Errors
    /// When the value is neither a number of bytes nor a number with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}
