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
    /// Of how many of them the dispatcher knows.
    announced: usize,
}

/// One of them, by index.
pub(super) type Slot = (u32, Arc<OwnedFd>);

impl Slots {
    /// With the socket of the first slot, bound to this address, which is announced by whoever opens the listener.
    pub(super) fn new(address: SocketAddr, first: Arc<OwnedFd>) -> Self {
        Self { address, sockets: vec![first], announced: 1 }
    }

    /// The socket of a slot. Those before it are made, too, where there are none yet.
    ///
    /// # Errors
    /// When the address cannot be bound once more; what was made by then stays.
    pub(super) fn socket(&mut self, index: u32) -> io::Result<Arc<OwnedFd>> {
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        loop {
            if let Some(socket) = self.sockets.get(place) {
                return Ok(Arc::clone(socket));
            }
            self.sockets.push(Arc::new(bind::join(&self.address)?));
        }
    }

    /// The first slot that is to be announced: clients come by its socket, and nobody takes care of it yet.
    pub(super) fn unannounced(&self) -> Option<Slot> {
        let socket = self.sockets.get(self.announced)?;
        Some((u32::try_from(self.announced).ok()?, Arc::clone(socket)))
    }

    /// The dispatcher knows of that one now.
    pub(super) fn announced(&mut self) {
        self.announced += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_to_be_announced_until_it_was() {
        let [(first, address)] =
            bind::tcp("127.0.0.1:0", bind::Queue::OfEachSlot).unwrap().try_into().unwrap();
        let mut slots = Slots::new(address, Arc::new(first));
        let index = |slots: &Slots| slots.unannounced().map(|(index, _)| index);
        assert_eq!(index(&slots), None);
        slots.socket(2).unwrap();
        assert_eq!([index(&slots), index(&slots)], [Some(1), Some(1)]);
        slots.announced();
        slots.socket(1).unwrap();
        assert_eq!(index(&slots), Some(2));
        slots.announced();
        assert_eq!(index(&slots), None);
    }
}
