//! The bell of a group of workers: who was woken for a connection and cannot take it wakes the others by it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// One bell; clones, also in other processes, are the same bell. Everybody who listens hears every ring.
#[derive(Debug, Clone)]
pub(crate) struct Bell(Arc<OwnedFd>);

impl Bell {
    /// A new bell.
    ///
    /// # Errors
    /// When the limit of open files is reached.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// The bell that another process made.
    pub(crate) fn inherited(descriptor: Arc<OwnedFd>) -> Self {
        Self(descriptor)
    }

    /// The descriptor, to be handed to another process.
    pub(crate) fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0)
    }

    /// Wakes everybody who listens. Never waits.
    pub(crate) fn ring(&self) {
        // It is never read, and to fill its 64 bits takes longer than any machine lives.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
