//! Hands a merged value to serde. A text becomes a number or a switch where the type asks for one, because
//! environment variables and `--set` know nothing but texts; nothing else is converted, and nothing rounded.

use ::config::{Map, Value, ValueKind};
use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::refusal::{Refusal, Strangers};

/// A value, and where to note the keys that its type does not name.
#[derive(Debug)]
pub(super) struct Lenient<'s> {
    value: ValueKind,
    strangers: &'s Strangers,
}

type Entry<'s> = (Lenient<'s>, Lenient<'s>);

impl<'s> Lenient<'s> {
    pub(super) fn new(value: ValueKind, strangers: &'s Strangers) -> Self {
        Self { value, strangers }
    }

    /// The entries in the order of their keys, so that the same mistakes give the same error.
    fn entries(self, table: Map<String, Value>) -> std::vec::IntoIter<Entry<'s>> {
        let mut sorted: Vec<(String, Value)> = table.into_iter().collect();
        sorted.sort_by(|(left, _), (right, _)| left.cmp(right));
        let wrap = |(key, value): (String, Value)| {
            (Self::new(ValueKind::String(key), self.strangers), Self::new(value.kind, self.strangers))
        };
        sorted.into_iter().map(wrap).collect::<Vec<_>>().into_iter()
    }

    fn integer<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        if let ValueKind::String(text) = &self.value {
            self.value = integer(text).unwrap_or(self.value);
        }
        self.deserialize_any(visitor)
    }

    fn float<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        if let ValueKind::String(text) = &self.value {
            self.value = text.parse().map_or(self.value, ValueKind::Float);
        }
        self.deserialize_any(visitor)
    }

    /// A table stands for nothing when it is empty: the author has no configuration.
    fn nothing<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.value {
            ValueKind::Table(table) => match table.keys().min() {
                Some(key) => Err(Refusal::unknown_field(key, &[])),
                None => visitor.visit_unit(),
            },
            _ => self.deserialize_any(visitor),
        }
    }
}

impl<'de> IntoDeserializer<'de, Refusal> for Lenient<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! deserialize_by {
    ($by:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            self.$by(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Lenient<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        let strangers = self.strangers;
        match std::mem::take(&mut self.value) {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(switch) => visitor.visit_bool(switch),
            ValueKind::I64(number) => visitor.visit_i64(number),
            ValueKind::U64(number) => visitor.visit_u64(number),
            ValueKind::I128(number) => visitor.visit_i128(number),
            ValueKind::U128(number) => visitor.visit_u128(number),
            ValueKind::Float(number) => visitor.visit_f64(number),
            ValueKind::String(text) => visitor.visit_string(text),
            ValueKind::Array(items) => {
                let items = items.into_iter().map(|item| Lenient::new(item.kind, strangers));
                SeqDeserializer::new(items).deserialize_any(visitor)
            }
            ValueKind::Table(table) => MapDeserializer::new(self.entries(table)).deserialize_any(visitor),
        }
    }

    deserialize_by! { integer:
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    deserialize_by! { float: deserialize_f32 deserialize_f64 }

    deserialize_by! { nothing: deserialize_unit }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.nothing(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let ValueKind::String(text) = &self.value else {
            return self.deserialize_any(visitor);
        };
        match Value::from(text.as_str()).into_bool() {
            Ok(switch) => visitor.visit_bool(switch),
            Err(_) => Err(Refusal::invalid_type(Unexpected::Str(text), &"true or false")),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.value {
            ValueKind::String(text) => {
                Err(Refusal::invalid_type(Unexpected::Str(text), &r#"a list such as ["a", "b"]"#))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.value {
            ValueKind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if let ValueKind::Table(table) = &self.value {
            self.strangers.note(table.keys(), fields);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match std::mem::take(&mut self.value) {
            ValueKind::String(text) => {
                StringDeserializer::new(text).deserialize_enum(name, variants, visitor)
            }
            ValueKind::Table(table) if table.len() == 1 => {
                let entries = MapDeserializer::new(self.entries(table));
                MapAccessDeserializer::new(entries).deserialize_enum(name, variants, visitor)
            }
            other => Lenient::new(other, self.strangers).deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf tuple tuple_struct map identifier ignored_any
    }
}

/// The number that a text writes, in the smallest kind that holds it.
fn integer(text: &str) -> Option<ValueKind> {
    text.parse()
        .map(ValueKind::I64)
        .or_else(|_| text.parse().map(ValueKind::U64))
        .or_else(|_| text.parse().map(ValueKind::I128))
        .or_else(|_| text.parse().map(ValueKind::U128))
        .ok()
}
