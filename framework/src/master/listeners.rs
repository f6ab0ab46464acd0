//! The sockets that accept connections: the master binds them once, or was handed them, and keeps them; the workers
//! inherit them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::desk::Door;
use super::plan::Doors;
use crate::balance::{Chooser, Policy};
use crate::bus::frame::MAX_DESCRIPTORS;
use crate::http::Listen;
use crate::role::WEB;
use crate::status::ListenerStatus;
use crate::systemd::{ChosenBy, InheritError, Inherited, Missing, PREFIX, Remark, Source, choose};
use crate::tls::CertificateFiles;

/// How many connections may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

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
    /// With which certificates it speaks TLS, if it does.
    pub(crate) certificates: Vec<CertificateFiles>,
    /// The file of a Unix socket that we made, removed at the end.
    file: Option<PathBuf>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {problem}")]
pub(crate) struct BindError {
    address: String,
    problem: String,
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
        let problem = format!("{MAX_SOCKETS} sockets are the most");
        return Err(BindError { address, problem }.into());
    }
    let mut places = doors.places.iter();
    let mut left: Vec<Option<Inherited>> = inherited.drain(..).map(Some).collect();
    for source in sources {
        let mut listener = match source {
            // In the order of the places, so that two that read the same, as with port 0, are told apart.
            Source::Address(address) => match places.find(|place| place.address == address) {
                Some(place) => bind_one(doors, place)?,
                None => continue,
            },
            Source::Inherited(place) => match left.get_mut(place).and_then(Option::take) {
                Some(socket) => take_over(doors, socket)?,
                None => continue,
            },
        };
        listener.status.name = unique(&listener.status.name, listeners);
        listeners.push(listener);
    }
    inherited.extend(left.into_iter().flatten());
    Ok(remark)
}

/// Where to find us, for people.
pub(crate) fn urls(listeners: &[Listener]) -> String {
    let url = |listener: &Listener| match listener.status.address.as_str() {
        address if address.starts_with("unix:") => address.to_owned(),
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

fn take_over(doors: &Doors<'_>, inherited: Inherited) -> Result<Listener, InheritError> {
    let name = inherited.name.clone();
    let (socket, address) = inherited.into_listener()?;
    let asked = |name: &str| {
        let by = |place: &&Listen| place.address.strip_prefix(PREFIX) == Some(name);
        doors.places.iter().find(by)
    };
    let place = asked(&name).or_else(|| asked(""));
    Ok(Listener::new(doors, place, name, address, socket, None))
}

fn bind_one(doors: &Doors<'_>, place: &Listen) -> Result<Listener, BindError> {
    let address = place.address.as_str();
    let failed = |problem| BindError { address: address.to_owned(), problem };
    let (socket, bound, file) = match address.strip_prefix("unix:") {
        Some("") => return Err(failed("write the path of the socket: unix:PATH".to_owned())),
        Some(path) => (
            bind_unix(Path::new(path)).map_err(|e| failed(explain(&e)))?,
            address.to_owned(),
            Some(path.into()),
        ),
        None => {
            let target = resolve(address).map_err(failed)?;
            let (socket, bound) = bind_tcp(target).map_err(|e| failed(explain(&e)))?;
            (socket, bound.to_string(), None)
        }
    };
    Ok(Listener::new(doors, Some(place), doors.name.to_owned(), bound, socket, file))
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
        let policy = policy.unwrap_or(doors.policy);
        let name = own_name.unwrap_or(name);
        let (policy_name, tls) = (policy.name().to_owned(), !certificates.is_empty());
        let status = ListenerStatus { name, address, policy: policy_name, tls };
        let (group, socket) = (doors.group.to_owned(), Arc::new(socket));
        Self { status, group, socket, policy, weights, certificates, file }
    }

    /// The listener as one of which the master accepts.
    ///
    /// # Errors
    /// When it cannot be made to accept without waiting.
    pub(super) fn door(&self) -> io::Result<Door> {
        let chooser = Chooser::new(self.policy, self.weights.clone());
        Door::new(Arc::clone(&self.socket), self.group.clone(), chooser)
    }
}

fn resolve(address: &str) -> Result<SocketAddr, String> {
    let advice = "write host:port, such as 127.0.0.1:7001, unix:PATH or systemd:NAME";
    let mut found = address.to_socket_addrs().map_err(|error| format!("{error}; {advice}"))?;
    found.next().ok_or_else(|| format!("the name has no address; {advice}"))
}

fn bind_tcp(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    let bound = std::net::TcpListener::from(socket);
    let address = bound.local_addr()?;
    Ok((bound.into(), address))
}

/// A file that nobody answers behind is what a dead server left; it is replaced.
fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    match UnixStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => remove_socket(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

/// What refuses connections may also be somebody's file.
fn remove_socket(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return std::fs::remove_file(path);
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a file that is no socket lies there; choose another path",
    ))
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it or choose another address".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("{error}; ports below 1024 and other people's folders need more rights")
        }
        _ => error.to_string(),
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
    use super::*;

    fn bound(address: &str) -> Result<Listener, String> {
        opened(&[address]).map(|mut all| all.remove(0)).map_err(|error| error.to_string())
    }

    fn opened(addresses: &[&str]) -> Result<Vec<Listener>, ListenError> {
        let places: Vec<Listen> = addresses.iter().map(|address| (*address).into()).collect();
        let doors = Doors { group: WEB, name: "http", places: &places, policy: Policy::Shared };
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

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "words").unwrap();
        let error = bound(&format!("unix:{}", path.display())).unwrap_err();
        assert!(error.contains("no socket lies there"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "words");
    }
}
