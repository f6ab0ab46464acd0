//! The mode of a Unix socket's file, as the configuration writes it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The rights to the file of a Unix socket: who may write to it may connect. As text octal, such as `0660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketMode(u32);

/// What rights there are for owner, group and others.
const MOST: u32 = 0o777;

impl SocketMode {
    /// The mode as the kernel takes it.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for SocketMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Octal)
    }
}

struct Octal;

impl de::Visitor<'_> for Octal {
    type Value = SocketMode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mode in quotes such as \"0660\", at most \"0777\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SocketMode, E> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= MOST);
        mode.map(SocketMode).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<SocketMode, String> {
        let table: Result<std::collections::BTreeMap<String, SocketMode>, _> =
            toml::from_str(&format!("mode = {value}"));
        table.map(|table| table["mode"]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_mode_is_octal_and_stays_what_it_is() {
        for (text, bits) in [("'0660'", 0o660), ("'666'", 0o666), ("'0'", 0)] {
            assert_eq!(read(text).unwrap().bits(), bits);
        }
        assert_eq!(read("'660'").unwrap().to_string(), "0660");
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        // A plain number would be read as decimal by some and as octal by others.
        for wrong in ["660", "'0888'", "'01777'", "''", "'+660'", "'rw'"] {
            assert!(read(wrong).unwrap_err().contains("a mode in quotes"), "{wrong}");
        }
    }
}
