//! From TOML text to values that know their place.

use std::ops::Range;
use std::sync::Arc;

use ::config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeTable, DeValue};

use super::error::ConfigError;
use super::key_path::{KeyPath, Step};
use super::origin::Origin;
use super::spots::Spot;
use crate::secret::MASK;

/// One layer: its values, and where each of them stands.
pub(super) struct Layer {
    /// The top-level keys.
    pub(super) table: Map<String, Value>,
    /// The spots, a value before those inside it.
    pub(super) spots: Vec<(KeyPath, Spot)>,
}

/// Reads the text of a file.
pub(super) fn parse(name: &str, text: &str) -> Result<Layer, ConfigError> {
    let origin = Origin::File { name: name.to_owned(), text: text.to_owned() };
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(text.len()..text.len());
        origin.refuse(span, &format!("not valid TOML: {}", error.message()))
    })?;
    let mut reader = Reader::new(Arc::new(origin));
    let table = reader.table(&KeyPath::default(), document.get_ref())?;
    Ok(Layer { table, spots: reader.spots })
}

/// Turns parsed TOML into values and notes their spots.
pub(super) struct Reader {
    origin: Arc<Origin>,
    /// What was noted so far.
    pub(super) spots: Vec<(KeyPath, Spot)>,
}

impl Reader {
    pub(super) fn new(origin: Arc<Origin>) -> Self {
        Self { origin, spots: Vec::new() }
    }

    /// Notes that the value at `path` stands here.
    pub(super) fn note(&mut self, path: KeyPath, key: Range<usize>, value: Range<usize>, is_table: bool) {
        let origin = Arc::clone(&self.origin);
        self.spots.push((path, Spot { origin, key, value, is_table }));
    }

    fn table(&mut self, at: &KeyPath, table: &DeTable<'_>) -> Result<Map<String, Value>, ConfigError> {
        let entry = |(key, value): (&Spanned<_>, &Spanned<_>)| {
            let name = String::from(AsRef::<str>::as_ref(key.get_ref()));
            let path = at.child(Step::Key(name.clone()));
            Ok((name, self.value(path, key.span(), value)?))
        };
        table.iter().map(entry).collect()
    }

    /// Reads one value and notes its spot.
    pub(super) fn value(
        &mut self,
        at: KeyPath,
        key: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Value, ConfigError> {
        let span = value.span();
        self.note(at.clone(), key, span.clone(), value.get_ref().is_table());
        let kind = match value.get_ref() {
            DeValue::String(text) => ValueKind::String(text.clone().into_owned()),
            DeValue::Integer(number) => {
                integer(number).ok_or_else(|| self.too_big(&at, span, number.as_str()))?
            }
            DeValue::Float(number) => {
                float(number).ok_or_else(|| self.too_big(&at, span, number.as_str()))?
            }
            DeValue::Boolean(switch) => ValueKind::Boolean(*switch),
            DeValue::Datetime(time) => ValueKind::String(time.to_string()),
            DeValue::Array(items) => ValueKind::Array(self.array(&at, items)?),
            DeValue::Table(table) => ValueKind::Table(self.table(&at, table)?),
        };
        Ok(Value::new(None, kind))
    }

    fn array<'a>(
        &mut self,
        at: &KeyPath,
        items: impl IntoIterator<Item = &'a Spanned<DeValue<'a>>>,
    ) -> Result<Vec<Value>, ConfigError> {
        let item = |(index, value): (usize, &Spanned<_>)| {
            self.value(at.child(Step::Index(index)), value.span(), value)
        };
        items.into_iter().enumerate().map(item).collect()
    }

    fn too_big(&self, at: &KeyPath, span: Range<usize>, number: &str) -> ConfigError {
        let number = if at.is_secret() { MASK } else { number };
        self.origin.refuse(span, &format!("the number {number} is out of range: write a smaller one"))
    }
}

/// The smallest kind that holds the number.
fn integer(number: &DeInteger<'_>) -> Option<ValueKind> {
    let (text, radix) = (number.as_str(), number.radix());
    i64::from_str_radix(text, radix)
        .map(ValueKind::I64)
        .or_else(|_| u64::from_str_radix(text, radix).map(ValueKind::U64))
        .or_else(|_| i128::from_str_radix(text, radix).map(ValueKind::I128))
        .or_else(|_| u128::from_str_radix(text, radix).map(ValueKind::U128))
        .ok()
}

/// The number, unless only rounding to infinity would hold it.
fn float(number: &DeFloat<'_>) -> Option<ValueKind> {
    let value: f64 = number.as_str().parse().ok()?;
    let meant = value.is_finite() || number.as_str().contains(['i', 'n']);
    meant.then_some(ValueKind::Float(value))
}
