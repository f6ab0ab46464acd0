//! The sockets that were handed down: descriptors from 3 on, counted by `LISTEN_FDS`, named by `LISTEN_FDNAMES`,
//! if `LISTEN_PID` means this process.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, sockopt};

/// What a socket is called when nobody named it, as in systemd's own library.
const UNNAMED: &str = "unknown";

/// One inherited descriptor.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) name: String,
    descriptor: OwnedFd,
}

/// Why what was handed down cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InheritError {
    #[error(
        "LISTEN_FDS: the inherited sockets cannot be taken over: {0}; only a service manager sets the variable"
    )]
    Taking(io::Error),
    #[error(
        "cannot listen on the inherited descriptor {number} (`{name}`): it is {is}; hand down TCP or Unix stream sockets that listen"
    )]
    Unfit { number: i32, name: String, is: String },
}

/// Takes everything that was handed down to this process. To be called once, before there is a runtime: what
/// that opens could be taken for an inherited socket.
pub(crate) fn inherited() -> Result<Vec<Inherited>, InheritError> {
    // Two crates take them together without unsafe code here: sd-notify checks that they are open and marks them
    // close-on-exec, so that no child inherits them; sd-listen-fds makes the very same numbers owned, so that
    // closing them closes them. `listenfd` knows no names and takes the sockets of other processes where
    // LISTEN_PID is missing; `pidfd_getfd` leaves the originals open and is forbidden in hardened units.
    let open = sd_notify::listen_fds().map_err(InheritError::Taking)?;
    if open.len() == 0 {
        return Ok(Vec::new());
    }
    let taken = sd_listen_fds::get().map_err(|error| InheritError::Taking(io::Error::other(error)))?;
    let named = |(name, descriptor): (Option<String>, sd_listen_fds::OwnedFd)| Inherited {
        name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| UNNAMED.to_owned()),
        descriptor: descriptor.into_std(),
    };
    Ok(taken.into_iter().map(named).collect())
}

impl Inherited {
    /// The socket, with its address as `host:port` or `unix:PATH`.
    ///
    /// # Errors
    /// When it is no stream socket that listens, by TCP or as a Unix socket.
    pub(crate) fn into_listener(self) -> Result<(OwnedFd, String), InheritError> {
        let number = self.descriptor.as_raw_fd();
        let unfit = |is: String| InheritError::Unfit { number, name: self.name.clone(), is };
        let family = self.family().map_err(unfit)?;
        let failed = |error: io::Error| unfit(format!("a socket that cannot tell its address ({error})"));
        if family == AddressFamily::UNIX {
            let listener = std::os::unix::net::UnixListener::from(self.descriptor);
            let address = unix_address(&listener.local_addr().map_err(failed)?);
            return Ok((listener.into(), address));
        }
        let listener = std::net::TcpListener::from(self.descriptor);
        let address = listener.local_addr().map_err(failed)?;
        Ok((listener.into(), address.to_string()))
    }

    /// The family of a listening stream socket, or what it is instead.
    fn family(&self) -> Result<AddressFamily, String> {
        let socket = &self.descriptor;
        let kind = sockopt::socket_type(socket).map_err(|_| "no socket".to_owned())?;
        let family = sockopt::socket_domain(socket).map_err(|error| format!("a strange socket ({error})"))?;
        if ![AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX].contains(&family) {
            return Err(format!("a socket of the family {}", family.as_raw()));
        }
        match kind {
            SocketType::STREAM if sockopt::socket_acceptconn(socket).unwrap_or(false) => Ok(family),
            SocketType::STREAM => Err("a stream socket that does not listen".to_owned()),
            SocketType::DGRAM => Err("a datagram socket".to_owned()),
            _ => Err("a socket of another type".to_owned()),
        }
    }
}

fn unix_address(address: &std::os::unix::net::SocketAddr) -> String {
    use std::os::linux::net::SocketAddrExt;
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => format!("unix:{}", path.display()),
        (None, Some(name)) => format!("unix:@{}", name.escape_ascii()),
        (None, None) => "unix:".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(descriptor: impl Into<OwnedFd>) -> Result<String, String> {
        let inherited = Inherited { name: "web".to_owned(), descriptor: descriptor.into() };
        inherited.into_listener().map(|(_, address)| address).map_err(|error| error.to_string())
    }

    #[test]
    fn listening_stream_sockets_tell_their_addresses() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        assert_eq!(used(tcp), Ok(address));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(used(unix), Ok(format!("unix:{}", path.display())));
        assert!(path.exists(), "the file is its maker's");
    }

    #[test]
    fn anything_else_is_named_with_its_number() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        let advice = "hand down TCP or Unix stream sockets that listen";
        assert_eq!(
            used(file).unwrap_err(),
            format!("cannot listen on the inherited descriptor {number} (`web`): it is no socket; {advice}")
        );
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(used(datagrams).unwrap_err().contains("it is a datagram socket"));
        let (connected, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(used(connected).unwrap_err().contains("it is a stream socket that does not listen"));
    }
}
