//! Durations as people write them in configuration and on the command line: `250ms`, `30s`, `5m`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// Reads a duration such as `250ms` or `1m 30s`.
///
/// # Errors
/// When the text is not a number with a unit; the message says which part is wrong.
pub fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write a duration such as 250ms, 30s or 5m"))
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
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(de::Error::custom)
}
