//! Who owns which part of the configuration: the framework and the duties their sections, the author the
//! rest.

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
        let names: Vec<&str> = self.checks.iter().map(SectionCheck::name).collect();
        self.schema.encode(merged, &names)
    }
}
