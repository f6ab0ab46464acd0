//! All sockets by which clients come: the master binds them once, or was handed them, and keeps them; the workers
//! inherit them.

use std::path::Path;

use super::bind::{self, BindError, Queue};
use super::listener::Listener;
use super::plan::Doors;
use super::unix;
use crate::bus::frame::MAX_DESCRIPTORS;
use crate::http::{Listen, UDP, UNIX};
use crate::role::WEB;
use crate::systemd::{ChosenBy, InheritError, Inherited, Missing, PREFIX, Remark, Source, choose};

/// How many sockets there may be in all: a welcome carries those of a group, a bell, and the way of what is handed over.
pub(super) const MAX_SOCKETS: usize = MAX_DESCRIPTORS - 2;

/// Why there are no listeners.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Unfit(#[from] InheritError),
}

/// Binds the addresses of every group, or takes inherited sockets in their place. The other groups take only those
/// that they ask for, before `web` gets what it asks for or all that are left.
pub(crate) fn open_all<'a>(
    doors: impl Iterator<Item = Doors<'a>>,
    chosen_by: ChosenBy,
    inherited: Vec<Inherited>,
) -> Result<Vec<Listener>, ListenError> {
    let (web, others): (Vec<_>, Vec<_>) = doors.partition(|doors| doors.group == WEB);
    // What is not used is closed at the end of this.
    let mut inherited = inherited;
    let mut listeners = Vec::new();
    for doors in others {
        open(&doors, ChosenBy::CommandLine, &mut inherited, &mut listeners)?;
    }
    for doors in web {
        match open(&doors, chosen_by, &mut inherited, &mut listeners)? {
            Some(remark @ Remark::Replacing(_)) => tracing::info!("{remark}"),
            Some(remark @ Remark::Unused(_)) => tracing::warn!("{remark}"),
            None => {}
        }
    }
    listeners.sort_by_key(|listener| listener.group != WEB);
    Ok(listeners)
}

/// Whether inherited sockets take the place of all that `web` names: those that are left to it.
pub(crate) fn is_replaced<'a>(
    doors: impl Iterator<Item = Doors<'a>>,
    chosen_by: ChosenBy,
    inherited: &[Inherited],
) -> bool {
    replaces(doors, chosen_by, inherited.iter().map(|socket| socket.name.clone()).collect())
}

fn replaces<'a>(doors: impl Iterator<Item = Doors<'a>>, chosen_by: ChosenBy, mut names: Vec<String>) -> bool {
    let (web, others): (Vec<_>, Vec<_>) = doors.partition(|doors| doors.group == WEB);
    for doors in others {
        // What is missing is told by those who open.
        let addresses = addresses(&doors);
        let Ok((sources, _)) = choose(&addresses, ChosenBy::CommandLine, &names) else { return false };
        let taken = |place: &usize| sources.contains(&Source::Inherited(*place));
        let left = (0..names.len()).filter(|place| !taken(place)).map(|place| names[place].clone());
        names = left.collect();
    }
    web.iter().any(|doors| {
        let outcome = choose(&addresses(doors), chosen_by, &names).map(|(_, remark)| remark);
        matches!(outcome, Ok(Some(Remark::Replacing(_))))
    })
}

fn addresses(doors: &Doors<'_>) -> Vec<String> {
    doors.places.iter().map(|place| place.address.clone()).collect()
}

fn open(
    doors: &Doors<'_>,
    chosen_by: ChosenBy,
    inherited: &mut Vec<Inherited>,
    listeners: &mut Vec<Listener>,
) -> Result<Option<Remark>, ListenError> {
    let names: Vec<String> = inherited.iter().map(|socket| socket.name.clone()).collect();
    let addresses = addresses(doors);
    let (sources, remark) = choose(&addresses, chosen_by, &names)?;
    if let (Some(Remark::Replacing(_)), Some(secured)) =
        (&remark, doors.places.iter().find(|place| !place.certificates.is_empty()))
    {
        return Err(without_certificates(secured, &names).into());
    }
    let mut places = doors.places.iter();
    let mut left: Vec<Option<Inherited>> = inherited.drain(..).map(Some).collect();
    for source in sources {
        let found = match source {
            // In the order of the places, so that two that read the same, as with port 0, are told apart.
            Source::Address(address) => match places.find(|place| place.address == address) {
                Some(place) => bind_all(doors, place)?,
                None => continue,
            },
            Source::Inherited(place) => match left.get_mut(place).and_then(Option::take) {
                Some(socket) => vec![take_over(doors, socket)?],
                None => continue,
            },
        };
        for mut listener in found {
            if listeners.len() == MAX_SOCKETS {
                return Err(BindError::too_many(&listener.status.address, MAX_SOCKETS).into());
            }
            listener.status.name = unique(&listener.status.name, listeners);
            listeners.push(listener);
        }
    }
    inherited.extend(left.into_iter().flatten());
    Ok(remark)
}

/// Why inherited sockets do not take the place of one that speaks TLS: they would speak plain HTTP.
fn without_certificates(place: &Listen, names: &[String]) -> BindError {
    let name = names.first().map_or("", String::as_str);
    let problem = format!(
        "the inherited socket `{name}` would serve in its place, and without its certificates: write the address \
         {PREFIX}{name} beside them, or remove them"
    );
    BindError::new(&place.address, problem)
}

/// Where to find us, for people.
pub(crate) fn urls(listeners: &[Listener]) -> String {
    let url = |listener: &Listener| match listener.status.address.as_str() {
        address if [UNIX, UDP].iter().any(|prefix| address.starts_with(prefix)) => address.to_owned(),
        address if listener.status.tls => format!("https://{address}"),
        address => format!("http://{address}"),
    };
    listeners.iter().map(url).collect::<Vec<_>>().join(", ")
}

/// The name, with a number behind it if it is taken.
fn unique(name: &str, taken: &[Listener]) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| taken.iter().all(|listener| listener.status.name != *name)).unwrap_or_default()
}

fn take_over(doors: &Doors<'_>, inherited: Inherited) -> Result<Listener, ListenError> {
    let name = inherited.name.clone();
    let (socket, address) = inherited.into_listener()?;
    let asked = |name: &str| {
        let by = |place: &&Listen| place.address.strip_prefix(PREFIX) == Some(name);
        doors.places.iter().find(by)
    };
    let place = asked(&name).or_else(|| asked(""));
    if place.and_then(|place| place.policy).unwrap_or(doors.policy).has_slots() {
        return Err(BindError::new(&format!("{PREFIX}{name}"), NO_SLOTS).into());
    }
    Ok(Listener::new(doors, place, name, address, socket, None))
}

/// Why a place cannot have a policy that wants a socket for each slot.
const NO_SLOTS: &str =
    "the policy reuseport is for TCP addresses that are bound here: give this place another one";

/// A name may have several addresses; all of them are bound.
fn bind_all(doors: &Doors<'_>, place: &Listen) -> Result<Vec<Listener>, BindError> {
    let listener = |address, socket, file| {
        Listener::new(doors, Some(place), doors.name.to_owned(), address, socket, file)
    };
    let has_slots = place.policy.unwrap_or(doors.policy).has_slots();
    if let Some(path) = place.address.strip_prefix(UNIX) {
        if has_slots {
            return Err(BindError::new(&place.address, NO_SLOTS));
        }
        let (socket, file) = unix::bind(place, &unix::within(doors.app_dir, Path::new(path)))?;
        return Ok(vec![listener(place.address.clone(), socket, Some(file))]);
    }
    if let Some(text) = place.address.strip_prefix(UDP) {
        let bound = bind::udp(text)?.into_iter();
        return Ok(bound
            .map(|(socket, address)| listener(format!("{UDP}{address}"), socket, None))
            .collect());
    }
    let bound = bind::tcp(&place.address, if has_slots { Queue::OfEachSlot } else { Queue::One })?;
    Ok(bound.into_iter().map(|(socket, address)| listener(address.to_string(), socket, None)).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use super::*;
    use crate::balance::Policy;

    fn bound(address: &str) -> Result<Listener, String> {
        opened(&[address]).map(|mut all| all.remove(0)).map_err(|error| error.to_string())
    }

    fn opened(addresses: &[&str]) -> Result<Vec<Listener>, ListenError> {
        opened_in(Path::new("."), addresses)
    }

    fn opened_in(app_dir: &Path, addresses: &[&str]) -> Result<Vec<Listener>, ListenError> {
        let places: Vec<Listen> = addresses.iter().map(|address| (*address).into()).collect();
        open_all([doors(WEB, &places, app_dir)].into_iter(), ChosenBy::Configuration, Vec::new())
    }

    fn doors<'a>(group: &'a str, places: &'a [Listen], app_dir: &'a Path) -> Doors<'a> {
        let peek_timeout = Duration::ZERO;
        Doors { group, name: "http", places, app_dir, policy: Policy::Shared, peek_timeout }
    }

    #[test]
    fn what_other_groups_take_takes_no_place_of_web() {
        let web: [Listen; 1] = ["127.0.0.1:0".into()];
        for (jobs, expected) in [("systemd:jobs", true), ("systemd:", false), ("unix:jobs", true)] {
            let jobs: [Listen; 1] = [jobs.into()];
            let doors =
                || [doors(WEB, &web, Path::new(".")), doors("jobs", &jobs, Path::new("."))].into_iter();
            let names = ["jobs", "web"].map(str::to_owned).to_vec();
            assert_eq!(replaces(doors(), ChosenBy::Configuration, names.clone()), expected, "{jobs:?}");
            assert!(!replaces(doors(), ChosenBy::CommandLine, names));
        }
    }

    #[test]
    fn every_listener_has_a_name_of_its_own() {
        let listeners = opened(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"]).unwrap();
        let names: Vec<&str> = listeners.iter().map(|listener| listener.status.name.as_str()).collect();
        assert_eq!(names, ["http", "http-2", "http-3"]);
    }

    #[test]
    fn there_are_no_more_sockets_than_a_welcome_carries_with_its_bell_and_its_way() {
        assert_eq!(opened(&["127.0.0.1:0"; 251]).unwrap().len() + 2, MAX_DESCRIPTORS);
        let error = opened(&["127.0.0.1:0"; 252]).unwrap_err().to_string();
        assert!(error.contains("251 sockets are the most"), "{error}");
    }

    #[test]
    fn port_0_is_told_as_the_port_that_was_given() {
        let listener = bound("127.0.0.1:0").unwrap();
        assert_eq!(listener.status.name, "http");
        assert!(!listener.status.address.ends_with(":0"), "{}", listener.status.address);
    }

    #[test]
    fn an_address_in_use_is_explained() {
        let first = bound("127.0.0.1:0").unwrap();
        let error = bound(&first.status.address).unwrap_err();
        assert!(
            error.contains(&first.status.address) && error.contains("another process listens there"),
            "{error}"
        );
    }

    #[test]
    fn an_address_that_is_none_is_explained() {
        assert!(bound("nonsense").unwrap_err().contains("write host:port"));
    }

    #[test]
    fn the_file_that_a_dead_server_left_does_not_block_a_unix_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        drop(UnixListener::bind(&path).unwrap());
        let address = format!("unix:{}", path.display());
        let listener = bound(&address).unwrap();
        assert!(bound(&address).unwrap_err().contains("another process listens there"));
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn the_relative_path_of_a_unix_socket_begins_in_the_app_s_folder() {
        let folder = tempfile::tempdir().unwrap();
        let listeners = opened_in(folder.path(), &["unix:web.sock"]).unwrap();
        assert_eq!(listeners[0].status.address, "unix:web.sock");
        assert!(folder.path().join("web.sock").exists());
        drop(listeners);
        assert!(!folder.path().join("web.sock").exists());
        assert!(opened_in(folder.path(), &["unix:"]).unwrap_err().to_string().contains("unix:PATH"));
    }

    #[test]
    fn the_file_of_somebody_else_s_unix_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let listener = bound(&format!("unix:{}", path.display())).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
    }
}
