//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::hush::hidden_from;
use crate::secret::MASK;

/// A position in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the directory of the app.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why the layers do not make a configuration. Displayed as one line that starts with the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{whence}{message}")]
pub struct ConfigError {
    whence: Whence,
    message: String,
}

impl ConfigError {
    pub(super) fn new(whence: Whence, message: &str) -> Self {
        // Keys, and messages of the author's types, are quoted and can hold a line break.
        Self { whence, message: one_line(message) }
    }

    /// The same without what stands behind the mistake, which is the name of a key.
    pub(super) fn hushed_behind(self) -> Self {
        self.cut(|excerpt| excerpt.span.end)
    }

    /// The same without what is wrong, which is a value, and what stands behind it.
    pub(super) fn hushed(self) -> Self {
        self.cut(|excerpt| excerpt.span.start)
    }

    fn cut(self, from: impl Fn(&Excerpt) -> usize) -> Self {
        let whence = match self.whence {
            Whence::File(excerpt) => {
                let from = from(&excerpt);
                Whence::File(Box::new(if from < excerpt.line.len() {
                    excerpt.without(from)
                } else {
                    *excerpt
                }))
            }
            other => other,
        };
        Self { whence, ..self }
    }

    /// The position in a file, where there is one: not for a missing key, an environment variable or `--set`.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match &self.whence {
            Whence::File(excerpt) => Some(&excerpt.place),
            Whence::Nowhere | Whence::Named(_) => None,
        }
    }

    /// The source line with a caret below the mistake, without the secrets in it, on several lines without colour, to be shown below
    /// the one line. Empty without a position.
    #[must_use]
    pub fn detail(&self) -> String {
        match &self.whence {
            Whence::File(excerpt) => excerpt.render(),
            Whence::Nowhere | Whence::Named(_) => String::new(),
        }
    }
}

/// What an error starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whence {
    /// It concerns all layers.
    Nowhere,
    /// A layer without lines, or a whole file.
    Named(String),
    /// A position in a file.
    File(Box<Excerpt>),
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => Ok(()),
            Self::Named(name) => write!(f, "{}: ", one_line(name)),
            Self::File(excerpt) => write!(f, "{}: ", excerpt.place),
        }
    }
}

/// The line of a file that an error is about; of a longer span the part on its first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    place: Place,
    line: String,
    span: Range<usize>,
}

impl Excerpt {
    /// Cuts the line out of `text` in which the bytes of `span` start. Secrets are cut off.
    pub(super) fn cut(file: &str, text: &str, span: Range<usize>) -> Self {
        let start = floor_boundary(text, span.start);
        let (before, after) = text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = after.find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let from = (start - line_start).min(line.len());
        let to = floor_boundary(line, span.end.saturating_sub(line_start)).max(from);
        let place = Place {
            file: file.to_owned(),
            line: count(before.matches('\n').count()),
            column: count(line[..from].chars().count()),
        };
        let whole = Self { place, line: line.to_owned(), span: from..to };
        match hidden_from(&text[..line_start], line) {
            Some(hidden) => whole.without(hidden),
            None => whole,
        }
    }

    /// The same without what the line says from this byte on.
    fn without(mut self, hidden: usize) -> Self {
        self.line.truncate(hidden);
        self.line.push_str(MASK);
        let start = self.span.start.min(hidden);
        self.span = start..self.span.end.clamp(start, self.line.len());
        self
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    fn render(&self) -> String {
        let caret = AnnotationKind::Primary.span(self.span.clone());
        let snippet = Snippet::source(&self.line)
            .line_start(self.place.line as usize)
            .path(&self.place.file)
            .annotation(caret);
        let report = [Group::with_level(Level::ERROR).element(snippet)];
        Renderer::plain().render(&report)
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// One-based, and never wrapping round.
fn count(before: usize) -> u32 {
    u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
}

/// The nearest character boundary at or before `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&byte| text.is_char_boundary(byte)).unwrap_or(0)
}
