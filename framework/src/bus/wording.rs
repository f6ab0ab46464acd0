//! Addresses as people write and read them. Pure.

use std::str::FromStr;

use super::peer::{Address, Form, Peer, Roll};

/// Words that are no [`Peer`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BadPeer {
    problem: String,
}

/// As on the command line and as [`Peer`] is displayed: `agent`, `web.0`, `any:web`, `next:web`, or a process id, also as
/// `pid:4711`. Whether the cluster has such a group shows when something is sent there.
impl FromStr for Peer {
    type Err = BadPeer;

    fn from_str(words: &str) -> Result<Self, BadPeer> {
        let several = || {
            let others = "write agent, web.0, any:web, next:web or a process id";
            format!("`{}` are several: {others}; broadcasts go to several", words.escape_debug())
        };
        match Named::read(words, |_| false).map_err(|problem| BadPeer { problem })? {
            Named::Agent => Ok(Self::Agent),
            Named::Process(pid) => Ok(Self::Process(pid)),
            Named::Worker(group, index) => Ok(Self::worker(group, index.into())),
            Named::OneOf(Form::Any, group) => Ok(Self::any_of(group)),
            Named::OneOf(_, group) => Ok(Self::next_of(group)),
            Named::All | Named::Others | Named::Group(_) => Err(BadPeer { problem: several() }),
        }
    }
}

/// A receiver, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    All,
    /// All but the sender.
    Others,
    Agent,
    Process(u32),
    Worker(&'a str, u16),
    /// All of a group.
    Group(&'a str),
    /// One of a group.
    OneOf(Form, &'a str),
}

impl<'a> Named<'a> {
    /// Reads `all`, `agent`, `web.0`, `web` for all of the group, `any:web`, `next:web`, or a process id, also as `pid:4711`.
    /// All but the sender are `others`. A name with a dot may be a group's, and so may `others`.
    pub(crate) fn read(words: &'a str, is_group: impl Fn(&str) -> bool) -> Result<Self, String> {
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let quoted = || words.escape_debug();
        let named = match (words, words.split_once(':'), words.rsplit_once('.')) {
            ("", ..) | (_, Some(("any" | "next", "")), _) => {
                return Err(format!(
                    "`{words}` names nobody: write all, agent, web.0, web, any:web, next:web or a process id"
                ));
            }
            ("all", ..) => Self::All,
            ("agent", ..) => Self::Agent,
            ("others", ..) if !is_group(words) => Self::Others,
            _ if is_number(words) => {
                let problem = |_| format!("`{words}` is no process id: the highest is {}", u32::MAX);
                Self::Process(words.parse().map_err(problem)?)
            }
            (_, Some(("pid", id)), _) => {
                let problem = |_| format!("`{}` is no process id: write `pid:4711`", id.escape_debug());
                Self::Process(id.parse().map_err(problem)?)
            }
            (_, Some(("any", name)), _) => Self::OneOf(Form::Any, name),
            (_, Some(("next", name)), _) => Self::OneOf(Form::Next, name),
            (_, _, Some(("agent", _))) if !is_group(words) && !is_group("agent") => {
                return Err(format!("`{}` is nobody: there is one agent, write `agent`", quoted()));
            }
            (_, _, Some((name, index))) if !is_group(words) => {
                let found = Some(index).filter(|index| is_number(index) && !name.is_empty());
                let found = found.and_then(|index| index.parse().ok());
                let problem = || {
                    let most = u16::MAX;
                    format!(
                        "`{}` is no worker: write its index from 0 to {most} behind the dot, such as `{}.0`",
                        quoted(),
                        if name.is_empty() { "web".into() } else { name.escape_debug().to_string() }
                    )
                };
                Self::Worker(name, found.ok_or_else(problem)?)
            }
            _ => Self::Group(words),
        };
        Ok(named)
    }
}

impl Roll {
    /// The address that is meant by what [`Named`] reads.
    pub(crate) fn read(&self, words: &str) -> Result<Address, String> {
        let group = |name, form| {
            let group = self.group(name).map_err(|unknown| unknown.to_string())?;
            Ok(Address { group, ..Address::to(form) })
        };
        match Named::read(words, |name| self.group(name).is_ok())? {
            Named::All => Ok(Address::to(Form::Everyone)),
            Named::Agent => Ok(Address::AGENT),
            Named::Others => Ok(Address::to(Form::Others)),
            Named::Process(pid) => Ok(Address::process(pid)),
            Named::Worker(name, index) => {
                group(name, Form::Worker).map(|address| Address { index, ..address })
            }
            Named::Group(name) => group(name, Form::Group),
            Named::OneOf(form, name) => group(name, form),
        }
    }

    /// An address as it stands in logs: as [`read`](Self::read) takes it, but for who is outside.
    pub(crate) fn describe(&self, address: Address) -> String {
        let unknown = || format!("group {}", address.group);
        let group = || self.name(address.group).map_or_else(unknown, str::to_owned);
        match address.form {
            Form::Nobody => "the command line".to_owned(),
            Form::Agent => "agent".to_owned(),
            Form::Worker => format!("{}.{}", group(), address.index),
            Form::Process => format!("pid:{}", address.pid),
            Form::Everyone => "all".to_owned(),
            Form::Others => "others".to_owned(),
            Form::Group => group(),
            Form::Any => format!("any:{}", group()),
            Form::Next => format!("next:{}", group()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::Peer;
    use super::*;

    #[test]
    fn what_is_written_is_understood_and_written_again() {
        let roll = Roll::new(["web".to_owned(), "jobs".to_owned(), "a.b".to_owned()]);
        let named = ["all", "others", "agent", "web.0", "jobs.12", "web", "a.b", "a.b.3"];
        for words in named.into_iter().chain(["any:jobs", "next:web", "pid:4711"]) {
            assert_eq!(roll.describe(roll.read(words).unwrap()), words);
        }
        assert_eq!(roll.read("4711"), Ok(Address::process(4711)));
        let roll = Roll::new(["others".to_owned()]);
        assert_eq!(roll.read("others").unwrap().form, Form::Group);
    }

    #[test]
    fn a_peer_is_written_as_it_is_read() {
        let roll = Roll::new(["web".to_owned()]);
        let all = [
            Peer::Agent,
            Peer::worker("web", 3),
            Peer::any_of("web"),
            Peer::next_of("web"),
            Peer::Process(7),
        ];
        for peer in all {
            assert_eq!(roll.read(&peer.to_string()).unwrap(), roll.address(&peer).unwrap(), "{peer}");
        }
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
        for (words, problem) in [
            ("", "names nobody"),
            ("web", "`web` are several: write agent"),
            ("all", "`all` are several"),
            ("web.x", "`web.x` is no worker"),
            ("web.70000", "`web.70000` is no worker"),
            (".1", "`.1` is no worker"),
            ("any:", "names nobody"),
        ] {
            let error = words.parse::<Peer>().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn what_is_not_understood_says_why() {
        let roll = Roll::new(["web".to_owned()]);
        for (words, problem) in [
            ("wob", "there is no group `wob`: this cluster has web"),
            ("any:wob", "there is no group `wob`"),
            (
                "web.x",
                "`web.x` is no worker: write its index from 0 to 65535 behind the dot, such as `web.0`",
            ),
            ("web.65536", "`web.65536` is no worker"),
            ("web.-1", "`web.-1` is no worker"),
            ("web.+1", "`web.+1` is no worker"),
            ("web.", "`web.` is no worker"),
            ("web.0 ", "`web.0 ` is no worker"),
            (".", "such as `web.0`"),
            ("agent.0", "`agent.0` is nobody: there is one agent, write `agent`"),
            ("4294967296", "`4294967296` is no process id"),
            ("pid:x", "`x` is no process id"),
            ("", "`` names nobody: write all, agent"),
            ("any:", "`any:` names nobody"),
        ] {
            let error = roll.read(words).unwrap_err();
            assert!(error.contains(problem), "{words}: {error}");
        }
    }
}
