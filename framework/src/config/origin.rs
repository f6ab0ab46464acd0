//! Where a value was set: a file with its text, an environment variable, or `--set`.

use std::fmt;
use std::ops::Range;

use super::error::{ConfigError, Excerpt, Whence};

/// A layer as errors know it.
pub(super) enum Origin {
    /// A file; its text gives line and column.
    File {
        /// Relative to the directory of the app.
        name: String,
        /// What it holds.
        text: String,
    },
    /// A single assignment, by the name that errors show.
    Assignment(String),
}

impl Origin {
    /// The error about the bytes of `span`.
    pub(super) fn refuse(&self, span: Range<usize>, message: &str) -> ConfigError {
        let whence = match self {
            Self::File { name, text } => Whence::File(Box::new(Excerpt::cut(name, text, span))),
            Self::Assignment(name) => Whence::Named(name.clone()),
        };
        ConfigError::new(whence, message)
    }

    /// The place of `span`, for people.
    pub(super) fn describe(&self, span: Range<usize>) -> String {
        match self {
            Self::File { name, text } => Excerpt::cut(name, text, span).place().to_string(),
            Self::Assignment(name) => name.clone(),
        }
    }
}

/// Names the layer; its text may hold secrets.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::File { name, .. } | Self::Assignment(name)) = self;
        f.debug_tuple("Origin").field(name).finish()
    }
}
