//! What may be said of a payload that does not fit its type: what was expected and what kind of value was there, and
//! never the value, which may be a secret. Knows the words of MessagePack; those of serde are `secret`'s. Pure.

use rmp_serde::{decode, encode};

use crate::secret::unquoted;

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

fn without_values(words: &str) -> String {
    unquoted(words).unwrap_or_else(|| UNSAID.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use chrono::{DateTime, Utc};
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::super::codec::{decode, encode};
    use super::*;

    fn said<T: DeserializeOwned + std::fmt::Debug>(value: impl Serialize) -> String {
        let bytes = encode("a value", &value).unwrap();
        let error = decode::<T>("a value", &bytes).unwrap_err().to_string();
        error.split_once("`: ").map_or(error.clone(), |(_, problem)| problem.to_owned())
    }

    #[test]
    fn what_does_not_fit_is_told_without_the_value() {
        for (said, wanted) in [
            (said::<u64>("hunter2"), "there is a string, which does not fit"),
            (said::<Vec<u64>>(json!(["hunter2"])), "there is a string, which does not fit"),
            (said::<BTreeMap<u8, u8>>(json!({ "hunter2": 1 })), "there is a string, which does not fit"),
            (said::<String>(4711), "invalid type: integer, expected a string"),
            (said::<DateTime<Utc>>("hunter2"), UNSAID),
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
