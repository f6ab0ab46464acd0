//! The other source of connections: those that the master accepts and hands over.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::io::Interest;

use crate::handover::{self, Message};

/// The worker's end of the way by which connections come from the master.
#[derive(Debug)]
pub(crate) struct Handed {
    socket: tokio::net::UnixStream,
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
        Ok(Self { socket: tokio::net::UnixStream::from_std(socket)? })
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// When the socket is broken.
    pub(super) async fn next(&self) -> io::Result<Message> {
        self.socket.async_io(Interest::READABLE, || handover::receive(&self.socket)).await
    }

    /// The next message, if one lies there.
    pub(super) fn try_next(&self) -> Option<Message> {
        handover::receive(&self.socket).ok()
    }
}
