//! Settings that are a number or a text, such as `workers = 4` and `workers = "auto"`. What either means is left to
//! those who ask.

use std::fmt;

use serde::{Deserializer, de};

/// Reads a number from 0, or a text; a text that writes such a number counts as the number. `what` says in an error
/// what is wanted; `None` refuses.
pub(crate) fn or_text<'de, D: Deserializer<'de>, V>(
    deserializer: D,
    what: impl fmt::Display,
    number: impl Fn(u64) -> Option<V>,
    text: impl Fn(&str) -> Option<V>,
) -> Result<V, D::Error> {
    deserializer.deserialize_any(NumberOrText { what, number, text })
}

struct NumberOrText<W, N, T> {
    what: W,
    number: N,
    text: T,
}

impl<V, W, N, T> de::Visitor<'_> for NumberOrText<W, N, T>
where
    W: fmt::Display,
    N: Fn(u64) -> Option<V>,
    T: Fn(&str) -> Option<V>,
{
    type Value = V;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<V, E> {
        (self.number)(number).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<V, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<V, E> {
        match text.parse() {
            Ok(number) => self.visit_u64(number),
            Err(_) => (self.text)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}
