//! Addresses as people write and read them. Pure.

use super::peer::{Address, Form, Roll};

impl Roll {
    /// The address that is meant by `all`, `agent`, `web.0`, `web` for all of the group, `any:web`, `next:web`, or a
    /// process id, also as `pid:4711`. All but the sender are `others`, unless a group has that name.
    pub(crate) fn read(&self, words: &str) -> Result<Address, String> {
        let group = |name, form| {
            let group = self.group(name).map_err(|unknown| unknown.to_string())?;
            Ok(Address { group, ..Address::to(form) })
        };
        if let Ok(pid) = words.strip_prefix("pid:").unwrap_or(words).parse() {
            return Ok(Address::process(pid));
        }
        match (words, words.split_once(':'), words.rsplit_once('.')) {
            ("all", ..) => Ok(Address::to(Form::Everyone)),
            ("agent", ..) => Ok(Address::AGENT),
            ("others", ..) if self.group(words).is_err() => Ok(Address::to(Form::Others)),
            (_, Some(("pid", id)), _) => Err(format!("`{id}` is no process id: write `pid:4711`")),
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
    fn what_is_not_understood_says_why() {
        let roll = Roll::new(["web".to_owned()]);
        for (words, problem) in [
            ("wob", "there is no group `wob`: this cluster has web"),
            ("any:wob", "there is no group `wob`"),
            ("web.x", "`x` is no index"),
            ("web.70000", "`70000` is no index"),
            ("pid:x", "`x` is no process id"),
            ("", "there is no group ``"),
        ] {
            let error = roll.read(words).unwrap_err();
            assert!(error.contains(problem), "{words}: {error}");
        }
    }
}
