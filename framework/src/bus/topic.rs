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
    /// The topic's name: 1 to 255 bytes, none of them NUL, unique in the app, not `config` and not beginning with
    /// `hatchery.`.
    const NAME: &'static str;
}

/// A name under which nothing may travel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTopic {
    /// The name's length is outside 1 to 255 bytes.
    #[error("the topic name `{0}` has {len} bytes: use 1 to 255", len = .0.len())]
    Length(String),
    /// The name belongs to the framework.
    #[error("the topic name `{0}` belongs to the framework: choose another")]
    Reserved(String),
    /// The name or the key has a NUL in it, which is what stands between the two.
    #[error("`{0}` has a NUL in it: use any other character in names and keys")]
    Nul(String),
    /// The key's length is wrong: with its name it must fit 254 bytes, and be 1 at least.
    #[error("the key `{key}` of the state `{name}` has {len} bytes: use 1 to {most}", len = .key.len())]
    Key {
        /// The topic's name.
        name: String,
        /// The key.
        key: String,
        /// The most bytes that a key of this name may have.
        most: usize,
    },
}

/// What stands between the name and the key of a keyed state.
const BETWEEN: char = '\0';

/// The topic of a keyed state.
pub(crate) fn keyed(name: &str, key: &str) -> Result<String, BadTopic> {
    check(name)?;
    let most = usize::from(u8::MAX).saturating_sub(name.len() + 1);
    if key.is_empty() || key.len() > most {
        return Err(BadTopic::Key { name: name.to_owned(), key: key.to_owned(), most });
    }
    if key.contains(BETWEEN) {
        return Err(BadTopic::Nul(key.to_owned()));
    }
    Ok(format!("{name}{BETWEEN}{key}"))
}

/// The name and the key, if this is the topic of a keyed state.
pub(crate) fn split(topic: &str) -> Option<(&str, &str)> {
    topic.split_once(BETWEEN).filter(|(name, key)| !name.is_empty() && !key.is_empty())
}

/// What stands for the topics that are too many to be told apart.
pub(crate) const OTHERS: &str = "…";

/// As people read it: `name`, or `name[key]`.
pub(crate) fn display(topic: &str) -> String {
    split(topic).map_or_else(|| topic.to_owned(), |(name, key)| format!("{name}[{key}]"))
}

/// Checks a name that an author chose. A good one of a type costs nothing, because the compiler carries this out; it would
/// not, if the library searched for the NUL.
#[inline]
pub(crate) fn check(name: &str) -> Result<(), BadTopic> {
    let problem = if name.is_empty() || name.len() > usize::from(u8::MAX) {
        BadTopic::Length
    } else if name.bytes().any(|byte| byte == BETWEEN as u8) {
        BadTopic::Nul
    } else if name == CONFIG || name.starts_with(RESERVED_PREFIX) {
        BadTopic::Reserved
    } else {
        return Ok(());
    };
    Err(problem(name.to_owned()))
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
        for name in ["config", "hatchery.ready", "", "a\0b", &"x".repeat(256)] {
            assert!(check(name).is_err(), "{name}");
        }
        for name in ["flags", "configs", "prices.eu"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_key_is_found_again_in_its_topic() {
        for (name, key) in [("prices", "eu"), ("p", "ä b"), ("n", &"k".repeat(253))] {
            let topic = keyed(name, key).unwrap();
            assert_eq!(split(&topic), Some((name, key)));
        }
        for (name, key) in [("prices", ""), ("prices", "a\0b"), ("config", "k"), ("n", &"k".repeat(254))] {
            assert!(keyed(name, key).is_err(), "{name} {key}");
        }
        assert_eq!(split("prices"), None);
        assert_eq!(
            (display("prices"), display("prices\0eu")),
            ("prices".to_owned(), "prices[eu]".to_owned())
        );
    }
}
