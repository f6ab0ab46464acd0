//! Which inherited sockets serve, and which addresses are bound. Pure.

use std::fmt;

/// What an address begins with that means inherited sockets: `systemd:NAME`, or `systemd:` for all the others.
pub(crate) const PREFIX: &str = "systemd:";

/// Who said where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChosenBy {
    /// An option of `start`, which beats inherited sockets.
    CommandLine,
    /// Anything else, which inherited sockets take the place of.
    Configuration,
}

/// Where one listener comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// An address to bind.
    Address(&'a str),
    /// An inherited socket, by its place among them.
    Inherited(usize),
}

/// What is worth a line in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// These inherited sockets take the place of `http.listen`.
    Replacing(String),
    /// These inherited sockets are not used, although they were handed down.
    Unused(String),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replacing(names) => write!(f, "inherited sockets take the place of `http.listen`: {names}"),
            Self::Unused(names) => write!(
                f,
                "inherited sockets are not used, because the addresses to listen on do not ask for them: {names}"
            ),
        }
    }
}

/// An address that asks for a socket that was not handed down.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot listen on {address}: {problem}")]
pub(crate) struct Missing {
    address: String,
    problem: String,
}

/// The sources of all listeners, in the order of `addresses`; `names` are those of the inherited sockets.
pub(crate) fn choose<'a>(
    addresses: &'a [String],
    chosen_by: ChosenBy,
    names: &[String],
) -> Result<(Vec<Source<'a>>, Option<Remark>), Missing> {
    let asked = addresses.iter().any(|address| address.starts_with(PREFIX));
    if !asked && !names.is_empty() && chosen_by == ChosenBy::Configuration {
        let all = (0..names.len()).map(Source::Inherited).collect();
        return Ok((all, Some(Remark::Replacing(list(names)))));
    }
    let mut sources = Vec::new();
    for address in addresses {
        match address.strip_prefix(PREFIX) {
            None => sources.push(Source::Address(address)),
            Some(wanted) => {
                let found = matching(wanted, addresses, names);
                if found.is_empty() {
                    return Err(missing(address, names));
                }
                sources.extend(found.into_iter().map(Source::Inherited));
            }
        }
    }
    let unused = (0..names.len()).filter(|place| !sources.contains(&Source::Inherited(*place)));
    let unused: Vec<String> = unused.map(|place| names[place].clone()).collect();
    let remark = (!unused.is_empty()).then(|| Remark::Unused(list(&unused)));
    Ok((sources, remark))
}

/// The sockets of a name, or those that no address names.
fn matching(wanted: &str, addresses: &[String], names: &[String]) -> Vec<usize> {
    let named = |name: &str| addresses.iter().any(|address| address.strip_prefix(PREFIX) == Some(name));
    let fits = |name: &str| if wanted.is_empty() { name.is_empty() || !named(name) } else { name == wanted };
    (0..names.len()).filter(|place| fits(&names[*place])).collect()
}

fn missing(address: &str, names: &[String]) -> Missing {
    let problem = match names {
        [] => "no sockets were inherited: start it by a socket unit, or write host:port".to_owned(),
        names => format!("no such socket was inherited: there are {}", list(names)),
    };
    Missing { address: address.to_owned(), problem }
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::ChosenBy::{CommandLine, Configuration};
    use super::Source::{Address, Inherited};
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn sockets_are_found_by_name_and_take_the_place_of_what_was_configured() {
        type Row = (&'static [&'static str], ChosenBy, &'static [&'static str], &'static [Source<'static>]);
        let table: &[Row] = &[
            (&["a:1", "unix:b"], Configuration, &[], &[Address("a:1"), Address("unix:b")]),
            (&["a:1", "unix:b"], Configuration, &["web", "api"], &[Inherited(0), Inherited(1)]),
            (&["a:1"], CommandLine, &["web", "api"], &[Address("a:1")]),
            (&["systemd:api"], Configuration, &["web", "api"], &[Inherited(1)]),
            (&["systemd:api"], CommandLine, &["web", "api"], &[Inherited(1)]),
            (&["systemd:web"], Configuration, &["web", "api", "web"], &[Inherited(0), Inherited(2)]),
            (&["systemd:"], Configuration, &["web", "api"], &[Inherited(0), Inherited(1)]),
            (&["systemd:", "systemd:web"], Configuration, &["web", "api"], &[Inherited(1), Inherited(0)]),
            (&["systemd:web", "a:1"], Configuration, &["web"], &[Inherited(0), Address("a:1")]),
        ];
        for (addresses, chosen_by, names, expected) in table {
            let addresses = strings(addresses);
            let (sources, _) = choose(&addresses, *chosen_by, &strings(names)).unwrap();
            assert_eq!(sources, *expected, "{addresses:?} {chosen_by:?} {names:?}");
        }
    }

    #[test]
    fn what_becomes_of_the_sockets_is_said() {
        let names = strings(&["web", "api"]);
        let remark =
            |addresses: &[&str], chosen_by| choose(&strings(addresses), chosen_by, &names).unwrap().1;
        assert_eq!(remark(&["a:1"], Configuration), Some(Remark::Replacing("`web`, `api`".into())));
        assert_eq!(remark(&["a:1"], CommandLine), Some(Remark::Unused("`web`, `api`".into())));
        assert_eq!(remark(&["systemd:web"], Configuration), Some(Remark::Unused("`api`".into())));
        assert_eq!(remark(&["systemd:"], Configuration), None);
    }

    #[test]
    fn a_missing_socket_is_named_with_those_that_are_there() {
        let error = |addresses: &[&str], names: &[&str]| {
            choose(&strings(addresses), Configuration, &strings(names)).unwrap_err().to_string()
        };
        assert_eq!(
            error(&["systemd:web"], &["api", "admin"]),
            "cannot listen on systemd:web: no such socket was inherited: there are `api`, `admin`"
        );
        assert_eq!(
            error(&["systemd:"], &[]),
            "cannot listen on systemd:: no sockets were inherited: start it by a socket unit, or write host:port"
        );
    }
}
