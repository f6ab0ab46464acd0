//! The other source of connections: those that the master accepts and hands over.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, getrlimit};
use tokio::io::Interest;
use tokio::time::Instant;

use crate::handover::{self, Message};
use crate::tls::Acceptor;

/// How many descriptors are received at most before it is looked again whether there is room for more.
const MOST_ALLOWED: u64 = 64;

/// How long what was seen of the room is believed: the author's code opens files, too.
const BELIEVED: Duration = Duration::from_millis(100);

/// The worker's end of the way by which connections come from the master.
#[derive(Debug)]
pub(crate) struct Handed {
    socket: tokio::net::UnixStream,
    allowance: Allowance,
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
        Ok(Self { socket, allowance: Allowance::none(), tls: BTreeMap::new() })
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
        let Self { socket, allowance, .. } = self;
        socket.async_io(Interest::READABLE, || receive(socket, allowance)).await
    }

    /// The next message, if one lies there and there is room for it; what stays there the master takes back.
    pub(super) fn try_next(&mut self) -> Option<Message> {
        receive(&self.socket, &mut self.allowance).ok()
    }
}

fn receive(socket: &tokio::net::UnixStream, allowance: &mut Allowance) -> io::Result<Message> {
    allowance.take_one()?;
    handover::receive(socket)
}

/// For how many more descriptors there is room. One that is received without room is lost on its way.
#[derive(Debug)]
struct Allowance {
    count: u64,
    seen: Instant,
}

impl Allowance {
    fn none() -> Self {
        Self { count: 0, seen: Instant::now() }
    }

    /// Makes sure that there is room for one. Where there is plenty, that is looked at only now and then.
    fn take_one(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.count == 0 || now - self.seen >= BELIEVED {
            // Most of what is free is left to the author.
            *self = Self { count: (free_descriptors() / 4).min(MOST_ALLOWED), seen: now };
        }
        match self.count.checked_sub(1) {
            Some(rest) => self.count = rest,
            // Where room is scarce, only what can be opened and closed again proves that there is any.
            None => drop(eventfd(0, EventfdFlags::CLOEXEC)?),
        }
        Ok(())
    }
}

/// How many more descriptors this process may open; none where the kernel, before Linux 6.2, does not tell.
fn free_descriptors() -> u64 {
    let open = rustix::fs::stat("/proc/self/fd").map_or(0, |folder| folder.st_size);
    match u64::try_from(open) {
        Err(_) | Ok(0) => 0,
        Ok(open) => getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(open),
    }
}
