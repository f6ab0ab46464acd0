//! What may be said of a payload that does not fit its type: what was expected and what kind of value was there, and
//! never the value, which may be a secret. What is not known to be without values is not repeated. Pure.

use rmp_serde::{decode, encode};

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

/// In place of words that may quote the value.
const UNSAID: &str = "its type refuses the value, in words that are not repeated because they may quote it";

/// Why a value was not decoded.
pub(super) fn of_decoding(error: &decode::Error) -> String {
    match error {
        decode::Error::Syntax(words) => without_values(words),
        decode::Error::TypeMismatch(_) => {
            format!("there is {}, which does not fit", marked(&error.to_string()))
        }
        other => other.to_string(),
    }
}

/// What a marker stands for, by its name at the end of `words`. The name itself can have a short integer in it.
fn marked(words: &str) -> &'static str {
    let name = words.rsplit(' ').next().unwrap_or_default();
    let kinds = [
        ("Null", "nothing"),
        ("True", "a boolean"),
        ("False", "a boolean"),
        ("FixPos", "an integer"),
        ("FixNeg", "an integer"),
        ("FixStr", "a string"),
        ("Str", "a string"),
        ("FixMap", "a map"),
        ("Map", "a map"),
        ("FixArray", "a sequence"),
        ("Array", "a sequence"),
        ("Bin", "a byte array"),
        ("F", "a floating point number"),
        ("U", "an integer"),
        ("I", "an integer"),
    ];
    // `FixExt1` begins like a floating point number.
    let is_it = |(start, _): &&(&str, _)| name.starts_with(start) && !name.contains("Ext");
    kinds.iter().find(is_it).map_or("a value of another type", |(_, kind)| kind)
}

/// Why a value was not encoded.
pub(super) fn of_encoding(error: &encode::Error) -> String {
    match error {
        encode::Error::Syntax(words) => without_values(words),
        other => other.to_string(),
    }
}

/// Serde's own words without the value in them. They come as text only; authors' words look like anything.
fn without_values(words: &str) -> String {
    let known = unfit(words).or_else(|| unknown(words)).or_else(|| harmless(words));
    known.unwrap_or_else(|| UNSAID.to_owned())
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

/// What is made of the type's own words and of numbers of elements.
fn harmless(words: &str) -> Option<String> {
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    let field = words.strip_prefix("missing field `").or_else(|| words.strip_prefix("duplicate field `"));
    let of_field = field.and_then(|rest| rest.strip_suffix('`')).is_some_and(is_name);
    let of_length = words
        .strip_prefix("invalid length ")
        .and_then(|rest| rest.split_once(", expected "))
        .is_some_and(|(length, _)| length.parse::<usize>().is_ok());
    let of_enum = words.strip_prefix("data did not match any variant of untagged enum ").is_some_and(is_name);
    (of_field || of_length || of_enum).then(|| words.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use serde::de::{DeserializeOwned, Error as _, Unexpected};
    use serde::{Deserialize, Deserializer, Serialize};
    use serde_json::json;

    use super::super::codec::{decode, encode};
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

    fn said<T: DeserializeOwned + std::fmt::Debug>(value: impl Serialize) -> String {
        let bytes = encode("a value", &value).unwrap();
        let error = decode::<T>("a value", &bytes).unwrap_err().to_string();
        error.split_once("`: ").map_or(error.clone(), |(_, problem)| problem.to_owned())
    }

    #[test]
    fn what_does_not_fit_is_told_without_the_value() {
        let secret = r#"hunter2", expected `hunter2`, expected hunter2"#;
        for (said, wanted) in [
            (said::<u64>(secret), "there is a string, which does not fit"),
            (said::<Vec<u64>>(json!([secret])), "there is a string, which does not fit"),
            (said::<String>(4711), "invalid type: integer, expected a string"),
            (said::<u8>(4711), "invalid value: integer, expected u8"),
            (said::<bool>(3.25), "invalid type: floating point, expected a boolean"),
            (said::<String>(json!({ "hunter2": 1 })), "invalid type: map, expected a string"),
            (said::<Login>(json!({ "user": "me" })), "missing field `tries`"),
            (said::<Login>(json!({ "hunter2": 1 })), "unknown field, expected `user` or `tries`"),
            (said::<Colour>(secret), "unknown variant, expected `Red` or `Green`"),
            (said::<Either>(secret), "data did not match any variant of untagged enum Either"),
            (said::<(u8, u8, u8)>(json!([1, 2])), "invalid length 2, expected a tuple of size 3"),
            (said::<Address>(secret), UNSAID),
            (said::<Address>("invalid"), "invalid value: something else, expected an address"),
            (said::<BTreeMap<u8, u8>>(json!({ "hunter2": 1 })), "there is a string, which does not fit"),
            (said::<BTreeMap<String, Login>>(4711), "invalid type: integer, expected a map"),
        ] {
            assert!(said.starts_with(wanted), "`{said}`, where `{wanted}` was wanted");
            assert!(!said.contains("hunter2") && !said.contains("4711"), "{said}");
        }
        assert!(!said::<IpAddr>(json!([["hunter2"]])).contains("hunter2"));
    }

    #[test]
    fn it_is_told_where() {
        let said = said::<Vec<u64>>(json!([1, 2, 3, "no", 5]));
        assert_eq!(said, "there is a string, which does not fit, before byte 5");
    }

    #[test]
    fn a_value_that_refuses_to_be_encoded_is_not_quoted() {
        struct Refusing;
        impl Serialize for Refusing {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("hunter2 cannot be written"))
            }
        }
        let error = encode("a value", &Refusing).unwrap_err().to_string();
        assert!(error.contains(UNSAID) && !error.contains("hunter2"), "{error}");
    }
}
