//! Durations as people write them in configuration and on the command line: `250ms`, `30s`, `5m`.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, Serializer, de};

/// The longest duration; whoever means for ever means this.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads a duration such as `250ms` or `1m 30s`, of at most 365 days.
///
/// # Errors
/// When the text is not numbers with units, or means more.
pub fn parse(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        Ok(_) => Err(format!("`{text}` is longer than 365 days")),
        Err(_) => Err(format!("`{text}` is not a duration: write one such as 250ms, 30s or 5m")),
    }
}

/// For `#[serde(with = "hatchery::duration")]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// For `#[serde(with = "hatchery::duration")]`.
///
/// # Errors
/// When the value is not a text that [`parse`] accepts.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(DurationVisitor)
}

struct DurationVisitor;

impl de::Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 250ms, 30s or 5m")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }
}

/// For `#[serde(with = "hatchery::duration::positive")]`: like this module, but 0 is refused.
pub mod positive {
    use std::time::Duration;

    use serde::{Deserializer, de};

    pub use super::serialize;

    /// For `#[serde(with = "hatchery::duration::positive")]`.
    ///
    /// # Errors
    /// When the value is not a text that [`parse`](super::parse) accepts, or is 0.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let duration = super::deserialize(deserializer)?;
        if duration.is_zero() {
            return Err(de::Error::custom("0 is too short: write a duration such as 250ms, 30s or 5m"));
        }
        Ok(duration)
    }
}

/// The duration that is read, unless it is shorter than `least`, in words that say so.
pub(crate) fn at_least<'de, D: Deserializer<'de>>(
    least: Duration,
    deserializer: D,
) -> Result<Duration, D::Error> {
    let duration = deserialize(deserializer)?;
    if duration < least {
        let [short, least] = [duration, least].map(humantime::format_duration);
        return Err(de::Error::custom(format!("{short} is too short: write {least} or more")));
    }
    Ok(duration)
}

/// For `#[serde(default, with = "hatchery::duration::optional")]`: a duration that may be left out.
pub mod optional {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    /// For `#[serde(with = "hatchery::duration::optional")]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// For `#[serde(default, with = "hatchery::duration::optional")]`.
    ///
    /// # Errors
    /// When the value is not a text that [`parse`](super::parse) accepts.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_and_an_end() {
        assert_eq!(parse("1m 30s").unwrap(), Duration::from_secs(90));
        for wrong in ["", "5", "soon", "366d", "300000000000years"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
