//! What the master hands to a worker so that it can serve, told apart by what each descriptor is.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use super::bell::Bell;
use super::handed::Handed;
use super::listener::Listener;
use crate::tls::Acceptor;

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Door {
    /// A listener that all workers of the group share, or one of a slot.
    Shared(Listener),
    /// The master, which accepts and hands over.
    Handed(Handed),
}

/// One listener of the group, as the master describes it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// By which number its connections are told apart, if the master accepts any.
    pub(crate) door: Option<u8>,
    /// Whether there is a socket of it to accept from; there can be both.
    pub(crate) inherited: bool,
    /// How its handshakes are answered, if it speaks TLS.
    pub(crate) tls: Option<Arc<Acceptor>>,
}

/// Takes over listening sockets, the bell of those who share them, and the way from the master, in any order; but the
/// listening sockets come in the order of the `entries` that describe them. Must be called inside a runtime.
///
/// # Errors
/// When a socket cannot be listened on, or a bell is missing and cannot be made.
pub(crate) fn take_over(descriptors: Vec<Arc<OwnedFd>>, entries: Vec<Entry>) -> io::Result<Vec<Door>> {
    let handed = entries.iter().filter_map(|entry| Some((entry.door?, entry.tls.clone()?)));
    let handed: BTreeMap<u8, Arc<Acceptor>> = handed.collect();
    let mut inherited = entries.into_iter().filter(|entry| entry.inherited);
    let (bells, sockets): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(is_bell);
    let bell = bells.into_iter().next().map_or_else(Bell::new, |bell| Ok(Bell::inherited(bell)))?;
    let door = |socket: Arc<OwnedFd>| match sockopt::socket_type(&socket)? {
        SocketType::SEQPACKET => Ok(Door::Handed(Handed::new(socket)?.with_tls(handed.clone()))),
        _ => {
            let tls = inherited.next().and_then(|entry| entry.tls);
            Ok(Door::Shared(Listener::new(socket, bell.clone())?.with_tls(tls)))
        }
    };
    sockets.into_iter().map(door).collect()
}

/// All that is no socket.
fn is_bell(descriptor: &Arc<OwnedFd>) -> bool {
    sockopt::socket_type(descriptor) == Err(Errno::NOTSOCK)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::handover::Handover;

    fn shared(descriptor: impl Into<OwnedFd>) -> Arc<OwnedFd> {
        Arc::new(descriptor.into())
    }

    #[tokio::test]
    async fn descriptors_are_told_by_what_they_are() {
        let listener = shared(TcpListener::bind("127.0.0.1:0").unwrap());
        let (bell, way) = (Bell::new().unwrap(), Handover::new().unwrap());
        let doors = take_over(vec![way.receiving_end(), bell.descriptor(), listener], vec![]).unwrap();
        assert!(matches!(doors[..], [Door::Handed(_), Door::Shared(_)]));
    }

    #[test]
    fn only_a_socket_that_listens_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let unix = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        assert!(take_over(vec![shared(unix)], vec![]).is_ok());
        assert!(take_over(vec![shared(UdpSocket::bind("127.0.0.1:0").unwrap())], vec![]).is_err());
    }
}
