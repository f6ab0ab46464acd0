//! The other source of connections: those that the master accepts and hands over.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use tokio::io::Interest;

use crate::handover::{self, Message};
use crate::tls::Acceptor;

/// The worker's end of the way by which connections come from the master.
#[derive(Debug)]
pub(crate) struct Handed {
    socket: tokio::net::UnixStream,
    /// Keeps a place free for the next descriptor, which would be lost on its way if there were none.
    spare: Option<OwnedFd>,
    /// How handshakes are answered, by the number of the listener, if it speaks TLS.
    pub(super) tls: BTreeMap<u8, Arc<Acceptor>>,
}

impl Handed {
    /// Takes over the inherited end. Must be called inside a runtime.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub(crate) fn new(end: Arc<OwnedFd>) -> io::Result<Self> {
        let end = Arc::try_unwrap(end).or_else(|shared| shared.try_clone())?;
        // It keeps the bounds of messages, unlike a stream; for waiting until one is there, that is the same.
        let socket = UnixStream::from(end);
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixStream::from_std(socket)?;
        Ok(Self { spare: None, socket, tls: BTreeMap::new() })
    }

    /// Has the listeners of these numbers speak TLS.
    pub(super) fn with_tls(self, tls: BTreeMap<u8, Arc<Acceptor>>) -> Self {
        Self { tls, ..self }
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// When there is no descriptor left for it, in which case it stays where it is, or the socket is broken.
    pub(super) async fn next(&mut self) -> io::Result<Message> {
        if self.spare.is_none() {
            self.spare = Some(placeholder()?);
        }
        let Self { socket, spare, .. } = self;
        let receive = || {
            drop(spare.take());
            let received = handover::receive(&*socket);
            if received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                *spare = placeholder().ok();
            }
            received
        };
        socket.async_io(Interest::READABLE, receive).await
    }

    /// The next message, if one lies there.
    pub(super) fn try_next(&self) -> Option<Message> {
        handover::receive(&self.socket).ok()
    }
}

/// A descriptor that is there to be closed.
fn placeholder() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC)?)
}
