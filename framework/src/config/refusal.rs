//! Why a type does not take a value, and which key was probably meant.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de;

/// Why a type does not take a value.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A key that the type does not have.
    Unknown {
        /// The key.
        key: String,
        /// The keys that it has.
        known: &'static [&'static str],
    },
    /// A key that the type needs.
    Missing(&'static str),
    /// Everything else, in words.
    Unfit(String),
}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Unfit(message.to_string())
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown { key: key.to_owned(), known }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { key, .. } => write!(f, "unknown key `{key}`"),
            Self::Missing(key) => write!(f, "missing key `{key}`"),
            Self::Unfit(message) => f.write_str(message),
        }
    }
}

/// Keys that a struct met and does not have, with those that it has. Only good for a suggestion: a type may
/// accept more keys than it names.
#[derive(Debug, Default)]
pub(super) struct Strangers(RefCell<BTreeMap<String, &'static [&'static str]>>);

impl Strangers {
    /// Notes each of the `keys` that is none of the `known` ones.
    pub(super) fn note<'a>(&self, keys: impl Iterator<Item = &'a String>, known: &'static [&'static str]) {
        let mut strangers = self.0.borrow_mut();
        for key in keys.filter(|key| !known.contains(&key.as_str())) {
            strangers.entry(key.clone()).or_insert(known);
        }
    }

    /// The keys of the struct that met `key`.
    pub(super) fn known_to(&self, key: &str) -> &'static [&'static str] {
        self.0.borrow().get(key).copied().unwrap_or_default()
    }
}

/// The candidate that `key` is most likely a misspelling of.
pub(super) fn nearest<'a>(key: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let tolerated = (key.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::osa_distance(key, candidate), candidate))
        .filter(|(edits, _)| *edits <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = ["greeting", "port", "http"];
        for (key, suggestion) in [
            ("greting", Some("greeting")),
            ("prot", Some("port")),
            ("ports", Some("port")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, known.into_iter()), suggestion, "{key}");
        }
    }
}
