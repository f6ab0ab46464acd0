//! Sizes as people write them in configuration: `512KiB`, `2MiB`, or a plain number of bytes.

pub use bytesize::ByteSize;
use serde::{Deserializer, Serialize, Serializer};

use crate::number;

/// The units in which a size may be a whole number, by their binary digits.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// For `#[serde(with = "hatchery::size")]`. In a format for people `1MiB`, or a number of bytes where no unit fits.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(size: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
    let bytes = size.as_u64();
    let fits = |(_, digits): &(&str, u32)| bytes > 0 && bytes.trailing_zeros() >= *digits;
    match UNITS.into_iter().find(fits).filter(|_| serializer.is_human_readable()) {
        Some((unit, digits)) => serializer.collect_str(&format_args!("{}{unit}", bytes >> digits)),
        None => bytes.serialize(serializer),
    }
}

/// For `#[serde(with = "hatchery::size")]`.
///
/// # Errors
/// When the value is neither a number of bytes nor a number with a unit.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let wanted = "a size such as 512KiB, 2MiB or a number of bytes";
    number::or_text(deserializer, wanted, |bytes| Some(ByteSize::b(bytes)), |text| text.parse().ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_as_people_write_it() {
        for (bytes, text) in [
            (0, "0"),
            (1000, "1000"),
            (1024, "\"1KiB\""),
            (64 << 10, "\"64KiB\""),
            (3 << 20, "\"3MiB\""),
            (1 << 43, "\"8TiB\""),
        ] {
            let mut written = Vec::new();
            serialize(&ByteSize::b(bytes), &mut serde_json::Serializer::new(&mut written)).unwrap();
            assert_eq!(String::from_utf8(written.clone()).unwrap(), text);
            let read = deserialize(&mut serde_json::Deserializer::from_slice(&written)).unwrap();
            assert_eq!(read, ByteSize::b(bytes));
        }
    }
}
