//! Typed configuration in layers: defaults in the type, `config/default.toml`, `config/{env}.toml`,
//! environment variables `HATCHERY_…`, `--set key=value`; a later layer wins, tables merge.
//!
//! Answers for one thing above all: an error has its place. Who reads which section, and when the layers
//! are read again, is left to others.

mod assignment;
mod document;
mod error;
mod hush;
mod key_path;
mod layers;
mod lenient;
mod merged;
mod origin;
mod refusal;
mod schema;
mod spots;

pub use error::{ConfigError, Place};
pub(crate) use key_path::path_text;
pub use layers::{Layers, NOT_KEYS, Reading};
pub use merged::Merged;
pub use schema::{Schema, SectionCheck};

#[cfg(test)]
mod tests;
