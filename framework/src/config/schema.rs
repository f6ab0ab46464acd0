//! Types with their names erased, for those who check and pass on a configuration that they do not know.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ConfigError, Whence};
use super::merged::Merged;

/// The author's type with its name erased: how to check it and to encode it.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    encode: fn(&Merged, &[&str]) -> Result<Vec<u8>, ConfigError>,
    values: fn(&Merged, &[&str]) -> Result<Value, ConfigError>,
}

impl Schema {
    /// The schema of `C`.
    #[must_use]
    pub fn of<C: Serialize + DeserializeOwned + 'static>() -> Self {
        let values = |merged: &Merged, sections: &[&str]| values(&merged.without::<C>(sections)?);
        Self { encode: encode::<C>, values }
    }

    /// Reads the author's type from all keys but the `sections`, and encodes it as MessagePack with named
    /// fields.
    ///
    /// # Errors
    /// When the keys do not fit the type, or the type cannot be encoded.
    pub fn encode(&self, merged: &Merged, sections: &[&str]) -> Result<Vec<u8>, ConfigError> {
        (self.encode)(merged, sections)
    }

    /// The values of all keys of the author's type, also of those that only its defaults say.
    ///
    /// # Errors
    /// When the keys do not fit the type, or the type cannot be written as JSON.
    pub fn values(&self, merged: &Merged, sections: &[&str]) -> Result<Value, ConfigError> {
        (self.values)(merged, sections)
    }
}

fn encode<C: Serialize + DeserializeOwned>(
    merged: &Merged,
    sections: &[&str],
) -> Result<Vec<u8>, ConfigError> {
    let config: C = merged.without(sections)?;
    rmp_serde::to_vec_named(&config).map_err(|error| {
        let message = format!("the configuration cannot be encoded: {error}: check how its type serializes");
        ConfigError::new(Whence::Nowhere, &message)
    })
}

fn values<T: Serialize>(config: &T) -> Result<Value, ConfigError> {
    serde_json::to_value(config).map_err(|error| {
        let message = format!("the configuration cannot be shown: {error}: check how its type serializes");
        ConfigError::new(Whence::Nowhere, &message)
    })
}

/// A section's type erased, so that it can be checked by who does not know it.
#[derive(Debug, Clone)]
pub struct SectionCheck {
    name: &'static str,
    tables: Vec<&'static str>,
    check: fn(&Merged, &str, &[&'static str]) -> Result<(), ConfigError>,
    values: fn(&Merged, &str, &[&'static str]) -> Result<Value, ConfigError>,
}

impl SectionCheck {
    /// The check that the section `name` is a `T`.
    #[must_use]
    pub fn of<T: Serialize + DeserializeOwned>(name: &'static str) -> Self {
        Self {
            name,
            tables: Vec::new(),
            check: |merged, name, _| merged.section::<T>(name).map(drop),
            values: |merged, name, _| values(&merged.section::<T>(name)?),
        }
    }

    /// The check that the section `name` holds tables, each a `T`, under no other names than `tables`.
    #[must_use]
    pub fn of_tables<T: Serialize + DeserializeOwned>(name: &'static str, tables: Vec<&'static str>) -> Self {
        Self {
            name,
            tables,
            check: |merged, name, tables| merged.tables::<T>(name, tables).map(drop),
            values: |merged, name, tables| values(&merged.tables::<T>(name, tables)?),
        }
    }

    /// The section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the section in `merged`.
    ///
    /// # Errors
    /// When the section does not fit its type.
    pub fn check(&self, merged: &Merged) -> Result<(), ConfigError> {
        (self.check)(merged, self.name, &self.tables)
    }

    /// The values of all keys of the section, also of those that only the type's defaults say.
    ///
    /// # Errors
    /// When the section does not fit its type, or the type cannot be written as JSON.
    pub fn values(&self, merged: &Merged) -> Result<Value, ConfigError> {
        (self.values)(merged, self.name, &self.tables)
    }
}
