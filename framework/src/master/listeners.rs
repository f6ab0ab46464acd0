//! The sockets that accept connections: the master binds them once, or was handed them, and keeps them; the workers
//! inherit them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::bind::{self, BindError, Queue};
use super::door::Door;
use super::plan::Doors;
use super::slots::{self, Slots};
use super::unix;
use crate::balance::{Chooser, Policy};
use crate::bus::frame::MAX_DESCRIPTORS;
use crate::http::{Listen, UDP, UNIX};
use crate::role::WEB;
use crate::status::ListenerStatus;
use crate::systemd::{ChosenBy, InheritError, Inherited, Missing, PREFIX, Remark, Source, choose};
use crate::tls::CertificateFiles;

/// How many sockets a group may have: a welcome carries them, and a bell.
const MAX_SOCKETS: usize = MAX_DESCRIPTORS - 1;

/// One bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) status: ListenerStatus,
    /// The group of workers that accept from it.
    pub(crate) group: String,
    pub(crate) socket: Arc<OwnedFd>,
    /// How connections are spread over them.
    pub(crate) policy: Policy,
    pub(crate) weights: Vec<u32>,
    peek_timeout: Duration,
    /// Its number among those of which the master accepts.
    pub(super) door: Option<u8>,
    /// The sockets, where each slot has its own.
    slots: Option<Slots>,
    /// How many connections the policy has spread by turns, because their path was not known.
    by_turns: Arc<AtomicU64>,
    /// With which certificates it speaks TLS, if it does.
    pub(crate) certificates: Vec<CertificateFiles>,
    /// The file of a Unix socket that we made, removed at the end.
    file: Option<PathBuf>,
}

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

fn open(
    doors: &Doors<'_>,
    chosen_by: ChosenBy,
    inherited: &mut Vec<Inherited>,
    listeners: &mut Vec<Listener>,
) -> Result<Option<Remark>, ListenError> {
    let names: Vec<String> = inherited.iter().map(|socket| socket.name.clone()).collect();
    let addresses: Vec<String> = doors.places.iter().map(|place| place.address.clone()).collect();
    let (sources, remark) = choose(&addresses, chosen_by, &names)?;
    if sources.len() > MAX_SOCKETS {
        let address = addresses.last().cloned().unwrap_or_default();
        return Err(BindError::new(&address, format!("{MAX_SOCKETS} sockets are the most")).into());
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
            listener.status.name = unique(&listener.status.name, listeners);
            listeners.push(listener);
        }
    }
    inherited.extend(left.into_iter().flatten());
    Ok(remark)
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
        let socket = unix::bind(place, Path::new(path))?;
        return Ok(vec![listener(place.address.clone(), socket, Some(path.into()))]);
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

impl Listener {
    /// `place` is what asked for it, and `name` its name if that says none.
    fn new(
        doors: &Doors<'_>,
        place: Option<&Listen>,
        name: String,
        address: String,
        socket: OwnedFd,
        file: Option<PathBuf>,
    ) -> Self {
        let Listen { name: own_name, policy, weights, certificates, .. } = place.cloned().unwrap_or_default();
        // Nobody accepts from a UDP socket; everybody has it.
        let datagrams = address.starts_with(UDP);
        let policy = if datagrams { Policy::Shared } else { policy.unwrap_or(doors.policy) };
        let name = own_name.unwrap_or(name);
        let socket = Arc::new(socket);
        let bound = address.parse().ok().filter(|_| policy.has_slots());
        let (group, peek_timeout) = (doors.group.to_owned(), doors.peek_timeout);
        Self {
            status: ListenerStatus {
                name,
                address,
                policy: policy.name().to_owned(),
                by_turns: 0,
                tls: !certificates.is_empty(),
            },
            slots: bound.map(|bound| Slots::new(bound, Arc::clone(&socket))),
            by_turns: Arc::default(),
            door: None,
            group,
            socket,
            policy,
            weights,
            peek_timeout,
            certificates,
            file,
        }
    }

    /// The listener as one of which the master accepts under this number, if it does.
    pub(super) fn door(&mut self, number: u8) -> Option<Door> {
        if !self.policy.is_dispatched() && !self.policy.has_slots() {
            return None;
        }
        self.door = Some(number);
        let chooser = Chooser::new(self.policy, self.weights.clone());
        let (group, by_turns) = (self.group.clone(), Arc::clone(&self.by_turns));
        Some(Door { group, chooser, peek_timeout: self.peek_timeout, by_turns })
    }

    /// Whether datagrams come by it, and no connections.
    pub(super) fn is_udp(&self) -> bool {
        self.status.address.starts_with(UDP)
    }

    /// What the worker in a slot accepts from, and the sockets that were made for it.
    pub(super) fn socket_of(&mut self, slot: u32) -> io::Result<(Arc<OwnedFd>, Vec<slots::Slot>)> {
        match &mut self.slots {
            Some(slots) => slots.socket(slot),
            None => Ok((Arc::clone(&self.socket), Vec::new())),
        }
    }

    /// What the status says of it now.
    pub(super) fn status(&self) -> ListenerStatus {
        ListenerStatus { by_turns: self.by_turns.load(Relaxed), ..self.status.clone() }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn bound(address: &str) -> Result<Listener, String> {
        opened(&[address]).map(|mut all| all.remove(0)).map_err(|error| error.to_string())
    }

    fn opened(addresses: &[&str]) -> Result<Vec<Listener>, ListenError> {
        let places: Vec<Listen> = addresses.iter().map(|address| (*address).into()).collect();
        let doors = Doors {
            group: WEB,
            name: "http",
            places: &places,
            policy: Policy::Shared,
            peek_timeout: Duration::ZERO,
        };
        open_all(std::iter::once(doors), ChosenBy::Configuration, Vec::new())
    }

    #[test]
    fn every_listener_has_a_name_of_its_own() {
        let listeners = opened(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"]).unwrap();
        let names: Vec<&str> = listeners.iter().map(|listener| listener.status.name.as_str()).collect();
        assert_eq!(names, ["http", "http-2", "http-3"]);
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
}
