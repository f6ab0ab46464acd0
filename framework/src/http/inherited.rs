//! What the master hands to a worker so that it can serve, told apart by what each descriptor is.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::sockopt;

use super::bell::Bell;
use super::listener::Listener;

/// Takes over listening sockets and the bell of those who share them, in any order.
///
/// # Errors
/// When a socket cannot be listened on, or a bell is missing and cannot be made.
pub(crate) fn take_over(descriptors: Vec<Arc<OwnedFd>>) -> io::Result<Vec<Listener>> {
    let (bells, sockets): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(is_bell);
    let bell = bells.into_iter().next().map_or_else(Bell::new, |bell| Ok(Bell::inherited(bell)))?;
    sockets.into_iter().map(|socket| Listener::new(socket, bell.clone())).collect()
}

/// All that is no socket.
fn is_bell(descriptor: &Arc<OwnedFd>) -> bool {
    sockopt::socket_type(descriptor) == Err(Errno::NOTSOCK)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn shared(descriptor: impl Into<OwnedFd>) -> Arc<OwnedFd> {
        Arc::new(descriptor.into())
    }

    #[test]
    fn sockets_are_told_from_the_bell() {
        let sockets = [0, 1].map(|_| shared(TcpListener::bind("127.0.0.1:0").unwrap()));
        let [first, second] = sockets;
        let listeners = take_over(vec![first, Bell::new().unwrap().descriptor(), second]).unwrap();
        assert_eq!(listeners.len(), 2);
    }

    #[test]
    fn only_a_socket_that_listens_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let unix = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert!(take_over(vec![shared(unix)]).is_ok());
        assert!(take_over(vec![shared(UdpSocket::bind("127.0.0.1:0").unwrap())]).is_err());
    }
}
