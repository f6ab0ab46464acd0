//! Patterns of topics: which topics are meant. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::topic::{self, BadTopic, RESERVED_PREFIX};

/// How many patterns there may be.
const MOST: usize = 32;

/// Topics: by their names, by how they begin (`prices.*`), or all (`*`). None is meant by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct Patterns(Vec<String>);

impl Patterns {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they were written.
    pub(crate) fn words(&self) -> &[String] {
        &self.0
    }

    /// Checks that each means topics that messages may have.
    pub(crate) fn check(&self) -> Result<(), BadTopic> {
        self.0.iter().try_for_each(|pattern| match pattern.strip_suffix('*') {
            // However it begins, it can go on so that it is a good name, unless it belongs to the framework.
            Some(beginning) if beginning.starts_with(RESERVED_PREFIX) => {
                Err(BadTopic::Reserved(pattern.clone()))
            }
            Some(_) => Ok(()),
            None => topic::check(pattern),
        })
    }

    /// Whether a topic is meant.
    pub(crate) fn mean(&self, topic: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => topic.starts_with(beginning),
            None => topic == pattern,
        })
    }
}

/// As people write them.
impl TryFrom<Vec<String>> for Patterns {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        if words.len() > MOST {
            return Err(format!("{} patterns are too many: at most {MOST}", words.len()));
        }
        let is_wrong = |word: &&String| {
            let name = word.strip_suffix('*').unwrap_or(word);
            word.is_empty() || word.len() > 256 || name.contains('*')
        };
        match words.iter().find(is_wrong) {
            Some(word) => Err(format!(
                "`{}` is no pattern: write a topic's name, or how names begin and a * at the end",
                word.escape_debug()
            )),
            None => Ok(Self(words)),
        }
    }
}

/// For answers: `orders, prices.*`.
impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(words: &[&str]) -> Result<Patterns, String> {
        Patterns::try_from(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_pattern_is_a_name_or_a_beginning() {
        let both = patterns(&["orders", "prices.*"]).unwrap();
        for (topic, meant) in [
            ("orders", true),
            ("orders.eu", false),
            ("prices.eu", true),
            ("prices.", true),
            ("prices", false),
        ] {
            assert_eq!(both.mean(topic), meant, "{topic}");
        }
        assert!(patterns(&["*"]).unwrap().mean("whatever"));
        assert!(!Patterns::default().mean("orders"));
    }

    #[test]
    fn what_no_message_can_have_is_not_waited_for() {
        for good in ["orders", "*", "config*", "configs", "hatchery*"] {
            assert!(patterns(&[good]).unwrap().check().is_ok(), "{good}");
        }
        for wrong in ["config", "hatchery.*", "hatchery.exited", "hatchery.reading*"] {
            assert!(patterns(&["orders", wrong]).unwrap().check().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in ["", "a*b", "**", "*.eu"] {
            assert!(patterns(&[wrong]).unwrap_err().contains(wrong), "{wrong}");
        }
        assert!(patterns(&["a"; MOST + 1]).is_err());
    }
}
