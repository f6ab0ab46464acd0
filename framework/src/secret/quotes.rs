//! Serde's words about a value that does not fit, without the value, which may be a secret: they come as text only, and the
//! author's types add words of their own. What is not known to be without values is not repeated. Pure.

/// What a value can be called, as serde does it.
const KINDS: [&str; 16] = [
    "boolean",
    "integer",
    "floating point",
    "character",
    "string",
    "byte array",
    "unit value",
    "Option value",
    "newtype struct",
    "sequence",
    "map",
    "enum",
    "unit variant",
    "newtype variant",
    "tuple variant",
    "struct variant",
];

/// What words that quote a value begin with, as serde makes them.
const QUOTING: [&str; 3] = ["invalid type: ", "invalid value: ", "unknown variant "];

/// Whether words were made by serde about a value, which they quote.
pub(crate) fn quotes_value(words: &str) -> bool {
    QUOTING.iter().any(|begin| words.starts_with(begin))
}

/// Serde's words without the value in them; `None` for words that may quote it in any way, such as the author's.
pub(crate) fn unquoted(words: &str) -> Option<String> {
    unfit(words).or_else(|| unknown(words)).or_else(|| of_length(words)).or_else(|| harmless(words))
}

/// `invalid type: string "…", expected u64`: what is behind the last comma of that kind is not the value.
fn unfit(words: &str) -> Option<String> {
    let (problem, rest) = words.split_once(": ")?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    if !["invalid type", "invalid value"].contains(&problem) {
        return None;
    }
    let is_it = |kind: &&&str| {
        found.strip_prefix(**kind).is_some_and(|value| value.is_empty() || value.starts_with([' ']))
    };
    let kind = KINDS.iter().find(is_it).map_or("something else", |kind| *kind);
    Some(format!("{problem}: {kind}, expected {expected}"))
}

/// ``unknown variant `…`, expected one of …``
fn unknown(words: &str) -> Option<String> {
    let problem = ["unknown variant", "unknown field"]
        .into_iter()
        .find(|problem| words.strip_prefix(problem).is_some_and(|rest| rest.starts_with(" `")))?;
    if words.ends_with("`, there are no variants") || words.ends_with("`, there are no fields") {
        return Some(format!("{problem}, where there are none"));
    }
    let (_, expected) = words.rsplit_once("`, expected ")?;
    Some(format!("{problem}, expected {expected}"))
}

/// `invalid length 7, expected …`: how long a secret is helps to guess it.
fn of_length(words: &str) -> Option<String> {
    let (length, expected) = words.strip_prefix("invalid length ")?.split_once(", expected ")?;
    length.parse::<usize>().ok()?;
    Some(format!("invalid length, expected {expected}"))
}

/// What is made of the type's own words.
fn harmless(words: &str) -> Option<String> {
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    let field = words.strip_prefix("missing field `").or_else(|| words.strip_prefix("duplicate field `"));
    let of_field = field.and_then(|rest| rest.strip_suffix('`')).is_some_and(is_name);
    let of_enum = words.strip_prefix("data did not match any variant of untagged enum ").is_some_and(is_name);
    (of_field || of_enum).then(|| words.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::de::{DeserializeOwned, Error as _, Unexpected};
    use serde::{Deserialize, Deserializer};
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "it is decoded and never read")]
    struct Login {
        user: String,
        tries: u32,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "it is decoded and never read")]
    enum Colour {
        Red,
        Green(u8),
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code, reason = "it is decoded and never read")]
    enum Either {
        Number(u8),
        Flag(bool),
    }

    #[derive(Debug, Deserialize)]
    enum Nothing {}

    #[derive(Debug)]
    struct Address;

    impl<'de> Deserialize<'de> for Address {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            Err(match text.as_str() {
                "invalid" => D::Error::invalid_value(Unexpected::Other("hunter2"), &"an address"),
                _ => D::Error::custom(format!("`{text}` is no address")),
            })
        }
    }

    /// What serde says, and what is left of it.
    fn said<T: DeserializeOwned + std::fmt::Debug>(value: impl Into<Value>) -> (String, Option<String>) {
        let words = serde_json::from_value::<T>(value.into()).unwrap_err().to_string();
        (words.clone(), unquoted(&words))
    }

    #[test]
    fn what_serde_says_is_left_and_the_value_is_not() {
        let secret = r#"hunter2", expected `hunter2`, expected hunter2"#;
        for ((words, left), wanted) in [
            (said::<u64>(secret), Some("invalid type: string, expected u64")),
            (said::<String>(4711), Some("invalid type: integer, expected a string")),
            (said::<u8>(4711), Some("invalid value: integer, expected u8")),
            (said::<bool>(47.11), Some("invalid type: floating point, expected a boolean")),
            (said::<String>(json!({ "hunter2": 1 })), Some("invalid type: map, expected a string")),
            (said::<BTreeMap<String, Login>>(4711), Some("invalid type: integer, expected a map")),
            (said::<Login>(json!({ "user": "me" })), Some("missing field `tries`")),
            (said::<Login>(json!({ "hunter2": 1 })), Some("unknown field, expected `user` or `tries`")),
            (said::<Colour>(secret), Some("unknown variant, expected `Red` or `Green`")),
            (said::<Nothing>(secret), Some("unknown variant, where there are none")),
            (said::<Either>(secret), Some("data did not match any variant of untagged enum Either")),
            (said::<(u8, u8, u8)>(json!([1, 2])), Some("invalid length, expected a tuple of size 3")),
            (said::<Address>("invalid"), Some("invalid value: something else, expected an address")),
            (said::<Address>(secret), None),
        ] {
            assert_eq!(left.as_deref(), wanted, "{words}");
        }
    }

    #[test]
    fn words_that_quote_a_value_are_known_by_their_begin() {
        let quoting = [said::<u64>("x").0, said::<u8>(4711).0, said::<Colour>("x").0];
        assert!(quoting.iter().all(|words| quotes_value(words)), "{quoting:?}");
        assert!(!quotes_value(&said::<Login>(json!({ "user": "me" })).0));
    }
}
