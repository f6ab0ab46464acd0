//! The sockets that accept connections: the master binds them once and keeps them, the workers inherit them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::bus::frame::MAX_DESCRIPTORS;
use crate::status::ListenerStatus;

/// How many connections may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// One bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) status: ListenerStatus,
    pub(crate) socket: Arc<OwnedFd>,
    /// The file of a Unix socket, removed at the end.
    file: Option<PathBuf>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {problem}")]
pub(crate) struct BindError {
    address: String,
    problem: String,
}

/// Binds every address of `http.listen`. The first is called `http`, the next `http-2`.
pub(crate) fn bind_all(addresses: &[String]) -> Result<Vec<Listener>, BindError> {
    if let Some(address) = addresses.get(MAX_DESCRIPTORS) {
        let problem = format!("{MAX_DESCRIPTORS} addresses are the most");
        return Err(BindError { address: address.clone(), problem });
    }
    addresses.iter().enumerate().map(|(nth, address)| bind_one(nth, address)).collect()
}

/// Where to find us, for people.
pub(crate) fn urls(listeners: &[Listener]) -> String {
    let url = |listener: &Listener| match listener.status.address.as_str() {
        address if address.starts_with("unix:") => address.to_owned(),
        address => format!("http://{address}"),
    };
    listeners.iter().map(url).collect::<Vec<_>>().join(", ")
}

fn bind_one(nth: usize, address: &str) -> Result<Listener, BindError> {
    let failed = |problem| BindError { address: address.to_owned(), problem };
    let name = if nth == 0 { "http".to_owned() } else { format!("http-{}", nth + 1) };
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
    let status = ListenerStatus { name, address: bound, policy: "shared".to_owned() };
    Ok(Listener { status, socket: Arc::new(socket), file })
}

fn resolve(address: &str) -> Result<SocketAddr, String> {
    let advice = "write host:port, such as 127.0.0.1:7001, or unix:PATH";
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
        bind_all(&[address.to_owned()]).map(|mut all| all.remove(0)).map_err(|error| error.to_string())
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
