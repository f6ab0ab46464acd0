//! What an app may be called: its name is a cargo package, a program and a folder.

use std::fmt;
use std::str::FromStr;

use crate::dependency;

/// The longest name that a package registry takes.
const LONGEST: usize = 64;

const KEYWORDS: [&str; 53] = [
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "union", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

const OF_THE_LANGUAGE: [&str; 5] = ["alloc", "core", "proc_macro", "std", "test"];

/// Folders that cargo makes beside the programs that it builds.
const OF_CARGO: [&str; 4] = ["build", "deps", "examples", "incremental"];

/// The name of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppName(String);

impl AppName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text cannot name an app. Whoever shows it names the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("a name starts with a letter from a to z")]
    Start,
    #[error("{0:?} cannot be in a name; use letters from a to z, digits, `-` and `_`")]
    Character(char),
    #[error("a name has at most {LONGEST} characters; choose a shorter one")]
    Long,
    #[error("it is {what}; choose another name, such as `{name}-app`")]
    Taken { name: String, what: &'static str },
}

impl FromStr for AppName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(NameError::Start);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if let Some(other) = name.chars().find(|c| !allowed(*c)) {
            return Err(NameError::Character(other));
        }
        if name.len() > LONGEST {
            return Err(NameError::Long);
        }
        match taken_by(&name.replace('-', "_")) {
            Some(what) => Err(NameError::Taken { name: name.to_owned(), what }),
            None => Ok(Self(name.to_owned())),
        }
    }
}

/// What else has the name of this crate.
fn taken_by(krate: &str) -> Option<&'static str> {
    if KEYWORDS.contains(&krate) {
        Some("a word of the language Rust")
    } else if OF_THE_LANGUAGE.contains(&krate) {
        Some("a crate that comes with Rust")
    } else if OF_CARGO.contains(&krate) {
        Some("a folder that cargo makes beside its programs")
    } else if dependency::crates().iter().any(|used| used == krate) {
        Some("a crate that the app uses")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_package_is_a_name() {
        for name in ["shop", "a", "Shop", "web-shop_2", "app", "testing", "hatchery-shop"] {
            assert_eq!(name.parse(), Ok(AppName(name.to_owned())));
        }
    }

    #[test]
    fn a_name_starts_with_a_letter() {
        for name in ["", "1shop", "-shop", "_shop", ".", "..", "/tmp/shop", "éclair"] {
            assert_eq!(name.parse::<AppName>(), Err(NameError::Start), "{name}");
        }
    }

    #[test]
    fn letters_digits_and_two_signs_make_a_name() {
        for (name, sign) in [("web shop", ' '), ("a/b", '/'), ("a.b", '.'), ("café", 'é'), ("a\"", '"')] {
            assert_eq!(name.parse::<AppName>(), Err(NameError::Character(sign)), "{name}");
        }
    }

    #[test]
    fn a_long_name_is_refused() {
        assert!("a".repeat(LONGEST).parse::<AppName>().is_ok());
        assert_eq!("a".repeat(LONGEST + 1).parse::<AppName>(), Err(NameError::Long));
    }

    #[test]
    fn a_taken_name_is_refused_with_advice() {
        let names = [
            "fn",
            "gen",
            "test",
            "core",
            "proc-macro",
            "deps",
            "hatchery",
            "hatchery_agent",
            "serde-json",
            "axum",
        ];
        for name in names {
            let error = name.parse::<AppName>().expect_err(name);
            assert!(error.to_string().contains(&format!("such as `{name}-app`")), "{error}");
        }
    }
}
