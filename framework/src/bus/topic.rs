//! Topics: the names under which types travel.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The state that carries the author's configuration.
pub(crate) const CONFIG: &str = "config";

/// The layers that the configuration in force was made of.
pub(crate) const READING: &str = "hatchery.reading";

/// Names that begin so belong to the framework: what one agent leaves for the next.
pub(crate) const RESERVED_PREFIX: &str = "hatchery.";

/// Of these, what begins so and goes on with a group's name is for the workers of that group, too.
const SECRETS_PREFIX: &str = "hatchery.secrets.";

/// The state that carries what the workers of a group need to speak TLS.
pub(crate) fn secrets_of(group: &str) -> String {
    format!("{SECRETS_PREFIX}{group}")
}

/// Whether workers of this group may have the state of this name.
pub(crate) fn is_for(group: &str, name: &str) -> bool {
    !name.starts_with(RESERVED_PREFIX) || name.strip_prefix(SECRETS_PREFIX) == Some(group)
}

/// A type that travels on the bus, under a name.
///
/// ```
/// # use serde::{Serialize, Deserialize};
/// #[derive(Default, Serialize, Deserialize)]
/// struct Flags { dark_mode: bool }
///
/// impl hatchery::Topic for Flags {
///     const NAME: &'static str = "flags";
/// }
/// ```
pub trait Topic: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The topic's name: 1 to 255 bytes, unique in the app, not `config` and not beginning with `hatchery.`.
    const NAME: &'static str;
}

/// A name under which nothing may travel.
#[derive(Debug, thiserror::Error)]
pub enum BadTopic {
    /// The name's length is outside 1 to 255 bytes.
    #[error("the topic name `{0}` has {len} bytes: use 1 to 255", len = .0.len())]
    Length(String),
    /// The name belongs to the framework.
    #[error("the topic name `{0}` belongs to the framework: choose another")]
    Reserved(String),
}

/// Checks a name that an author chose.
pub(crate) fn check(name: &str) -> Result<(), BadTopic> {
    if name.is_empty() || name.len() > usize::from(u8::MAX) {
        return Err(BadTopic::Length(name.to_owned()));
    }
    if name == CONFIG || name.starts_with(RESERVED_PREFIX) {
        return Err(BadTopic::Reserved(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_for_one_group_and_what_agents_leave_for_none() {
        for (group, name, allowed) in [
            ("web", "flags", true),
            ("web", CONFIG, true),
            ("web", READING, false),
            ("web", &secrets_of("web"), true),
            ("we", &secrets_of("web"), false),
            ("jobs", &secrets_of("web"), false),
        ] {
            assert_eq!(is_for(group, name), allowed, "{group} {name}");
        }
    }

    #[test]
    fn names_of_the_framework_are_refused() {
        for name in ["config", "hatchery.ready", "", &"x".repeat(256)] {
            assert!(check(name).is_err(), "{name}");
        }
        for name in ["flags", "configs", "prices.eu"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }
}
