//! Addresses as people write and read them. Pure.

use std::str::FromStr;

use super::peer::{Address, Form, Peer, Roll};

/// Words that are no [`Peer`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{words}` is no receiver: write `agent`, `web.0`, `any:web`, `next:web` or a process id; `broadcast_to` sends to all of \
     a group"
)]
pub struct BadPeer {
    words: String,
}

/// As on the command line: `agent`, `web.0`, `any:web`, `next:web`, or a process id. What [`Peer`] is displayed as is
/// understood, too. Whether the cluster has such a group shows when something is sent there.
impl FromStr for Peer {
    type Err = BadPeer;

    fn from_str(words: &str) -> Result<Self, BadPeer> {
        let bad = || BadPeer { words: words.to_owned() };
        let named = |name: &str| if name.is_empty() { Err(bad()) } else { Ok(name.to_owned()) };
        if let Ok(pid) = words.strip_prefix("process ").unwrap_or(words).parse() {
            return Ok(Self::Process(pid));
        }
        let after = |one, other| words.strip_prefix(one).or_else(|| words.strip_prefix(other));
        if words == "agent" {
            return Ok(Self::Agent);
        }
        if let Some(group) = after("any:", "any of ") {
            return named(group).map(Self::AnyOf);
        }
        if let Some(group) = after("next:", "the next of ") {
            return named(group).map(Self::NextOf);
        }
        let (group, index) = words.rsplit_once('.').ok_or_else(bad)?;
        let index = index.parse::<u16>().map_err(|_| bad())?.into();
        Ok(Self::Worker { group: named(group)?, index })
    }
}

impl Roll {
    /// The address that is meant by `all`, `agent`, `web.0`, `web` for all of the group, `any:web`, `next:web`, or a
    /// process id.
    pub(crate) fn read(&self, words: &str) -> Result<Address, String> {
        let group = |name, form| {
            let group = self.group(name).map_err(|unknown| unknown.to_string())?;
            Ok(Address { group, ..Address::to(form) })
        };
        if let Ok(pid) = words.parse() {
            return Ok(Address::process(pid));
        }
        match (words, words.split_once(':'), words.rsplit_once('.')) {
            ("all", ..) => Ok(Address::to(Form::Everyone)),
            ("agent", ..) => Ok(Address::AGENT),
            (_, Some(("any", name)), _) => group(name, Form::Any),
            (_, Some(("next", name)), _) => group(name, Form::Next),
            (_, _, Some((name, index))) if self.group(words).is_err() => {
                let problem = |_| format!("`{index}` is no index of a worker: write `{name}.0`");
                let index = index.parse().map_err(problem)?;
                group(name, Form::Worker).map(|address| Address { index, ..address })
            }
            _ => group(words, Form::Group),
        }
    }

    /// An address as it stands in logs.
    pub(crate) fn describe(&self, address: Address) -> String {
        let unknown = || format!("group {}", address.group);
        let group = || self.name(address.group).map_or_else(unknown, str::to_owned);
        match address.form {
            Form::Nobody => "the command line".to_owned(),
            Form::Agent => "agent".to_owned(),
            Form::Worker => format!("{}.{}", group(), address.index),
            Form::Process => format!("process {}", address.pid),
            Form::Everyone => "all".to_owned(),
            Form::Others => "all others".to_owned(),
            Form::Group => group(),
            Form::Any => format!("any:{}", group()),
            Form::Next => format!("next:{}", group()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_understood_and_written_again() {
        let roll = Roll::new(["web".to_owned(), "jobs".to_owned(), "a.b".to_owned()]);
        for words in ["all", "agent", "web.0", "jobs.12", "web", "a.b", "a.b.3", "any:jobs", "next:web"] {
            assert_eq!(roll.describe(roll.read(words).unwrap()), words);
        }
        assert_eq!(roll.read("4711"), Ok(Address::process(4711)));
    }

    #[test]
    fn a_peer_is_read_as_on_the_command_line_and_as_it_is_displayed() {
        for (words, peer) in [
            ("agent", Peer::Agent),
            ("4711", Peer::Process(4711)),
            ("web.0", Peer::worker("web", 0)),
            ("a.b.3", Peer::worker("a.b", 3)),
            ("any:web", Peer::any_of("web")),
            ("next:web", Peer::next_of("web")),
        ] {
            assert_eq!(words.parse(), Ok(peer.clone()), "{words}");
            assert_eq!(peer.to_string().parse(), Ok(peer), "{words}");
        }
        for words in ["", "web", "all", "web.x", "web.70000", ".1", "any:", "any of "] {
            let error = words.parse::<Peer>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{words}` is no receiver: write `agent`")), "{error}");
        }
    }

    #[test]
    fn what_is_not_understood_says_why() {
        let roll = Roll::new(["web".to_owned()]);
        for (words, problem) in [
            ("wob", "there is no group `wob`: this cluster has web"),
            ("any:wob", "there is no group `wob`"),
            ("web.x", "`x` is no index"),
            ("web.70000", "`70000` is no index"),
            ("", "there is no group ``"),
        ] {
            let error = roll.read(words).unwrap_err();
            assert!(error.contains(problem), "{words}: {error}");
        }
    }
}
