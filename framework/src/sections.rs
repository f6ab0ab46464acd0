//! Who owns which part of the configuration: the framework and the duties their sections, the author the
//! rest.

use serde_json::{Map, Value};

use crate::config::{ConfigError, Merged, Schema, SectionCheck};

/// Everything that is validated before a configuration is taken.
#[derive(Debug, Clone)]
pub(crate) struct Sections {
    /// The author's type.
    schema: Schema,
    checks: Vec<SectionCheck>,
}

impl Sections {
    pub(crate) fn new(schema: Schema, checks: Vec<SectionCheck>) -> Self {
        Self { schema, checks }
    }

    /// Validates everything and encodes the author's part.
    pub(crate) fn encode(&self, merged: &Merged) -> Result<Vec<u8>, ConfigError> {
        for check in &self.checks {
            check.check(merged)?;
        }
        self.schema.encode(merged, &self.names())
    }

    /// The values of all keys, the author's beside the sections, also of those that only defaults say.
    pub(crate) fn values(&self, merged: &Merged) -> Result<Map<String, Value>, ConfigError> {
        let mut values = match self.schema.values(merged, &self.names())? {
            Value::Object(keys) => keys,
            // The author has no configuration.
            _ => Map::new(),
        };
        for section in &self.checks {
            values.insert(section.name().to_owned(), section.values(merged)?);
        }
        Ok(values)
    }

    fn names(&self) -> Vec<&'static str> {
        self.checks.iter().map(SectionCheck::name).collect()
    }
}
