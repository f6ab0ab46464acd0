//! Where a value was set: a file with its text, an environment variable, or `--set`.

use std::fmt;
use std::ops::Range;

use super::error::{ConfigError, Excerpt, Place, Whence};

/// A layer as errors know it.
pub(super) enum Origin {
    /// A file; its text gives line and column.
    File {
        /// Relative to the directory of the app.
        name: String,
        /// What it holds.
        text: String,
    },
    /// The environment variable of this name.
    Variable(String),
    /// The `--set` of this key.
    Override(String),
}

impl Origin {
    /// The error about the bytes of `span`.
    pub(super) fn refuse(&self, span: Range<usize>, message: &str) -> ConfigError {
        let whence = match self {
            Self::File { name, text } => Whence::File(Box::new(Excerpt::cut(name, text, span))),
            Self::Variable(name) => Whence::Named(format!("environment variable {name}")),
            Self::Override(key) => Whence::Named(format!("--set {key}=…")),
        };
        ConfigError::new(whence, message)
    }

    /// Where `span` is, in one word.
    pub(super) fn describe(&self, span: Range<usize>) -> String {
        match self {
            Self::File { name, text } => {
                let Place { file, line, .. } = Excerpt::cut(name, text, span).place().clone();
                format!("{file}:{line}")
            }
            Self::Variable(name) => name.clone(),
            Self::Override(_) => "--set".to_owned(),
        }
    }
}

/// Names the layer; its text may hold secrets.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::File { name, .. } | Self::Variable(name) | Self::Override(name)) = self;
        f.debug_tuple("Origin").field(name).finish()
    }
}
