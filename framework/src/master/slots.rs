//! The sockets of a listener of which each slot has its own. They stay open until the listener closes, whoever comes and
//! goes: what waits in the queue of one that nobody takes care of is the dispatcher's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::bind;

/// The sockets by slot.
#[derive(Debug)]
pub(super) struct Slots {
    address: SocketAddr,
    sockets: Vec<Arc<OwnedFd>>,
}

/// One of them.
pub(super) type Slot = (u32, Arc<OwnedFd>);

impl Slots {
    /// With the socket of the first slot, bound to this address.
    pub(super) fn new(address: SocketAddr, first: Arc<OwnedFd>) -> Self {
        Self { address, sockets: vec![first] }
    }

    /// The socket of a slot, and those that were made for it, the last of which it is.
    ///
    /// # Errors
    /// When the address cannot be bound once more.
    pub(super) fn socket(&mut self, index: u32) -> io::Result<(Arc<OwnedFd>, Vec<Slot>)> {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let mut made = Vec::new();
        loop {
            if let Some(socket) = self.sockets.get(place) {
                return Ok((Arc::clone(socket), made));
            }
            let socket = Arc::new(bind::join(&self.address)?);
            made.push((u32::try_from(self.sockets.len()).unwrap_or(u32::MAX), Arc::clone(&socket)));
            self.sockets.push(socket);
        }
    }
}
