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

use super::HttpSettings;
use crate::handover::{self, BUNDLE, Message};
use crate::tls::Acceptor;

/// How many descriptors are received at most before it is looked again whether there is room for more.
const MOST_ALLOWED: usize = 256;

/// How many connections a worker with these settings takes at a time. It takes them only if it has room for all of
/// them: where there is little room, it wants few.
pub(crate) fn bundle(settings: &HttpSettings) -> usize {
    (settings.max_connections.get() / 64).clamp(1, BUNDLE)
}

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
    /// When there are not enough descriptors left for it, in which case it stays where it is, or the socket is broken.
    pub(super) async fn next(&mut self) -> io::Result<Message> {
        let Self { socket, allowance, .. } = self;
        socket.async_io(Interest::READABLE, || receive(socket, allowance)).await
    }

    /// The next message, unless it brings more connections than fit; then it stays where it is, and the master may make
    /// less of it. Cancel safe.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn next_fitting(&mut self, fits: impl Fn(usize) -> bool) -> io::Result<Option<Message>> {
        let Self { socket, allowance, .. } = self;
        let receive_fitting = || {
            if !fits(BUNDLE) && !fits(handover::peek(&*socket)?) {
                return Ok(None);
            }
            receive(socket, allowance).map(Some)
        };
        socket.async_io(Interest::READABLE, receive_fitting).await
    }

    /// The next message, if one lies there and there are descriptors for it.
    pub(super) fn try_next(&mut self) -> Option<Message> {
        receive(&self.socket, &mut self.allowance).ok()
    }
}

fn receive(socket: &tokio::net::UnixStream, allowance: &mut Allowance) -> io::Result<Message> {
    if !allowance.is_plenty() {
        // Only what can be opened and closed again proves that there is any room.
        let places = (0..handover::peek(socket)?).map(|_| eventfd(0, EventfdFlags::CLOEXEC));
        drop(places.collect::<Result<Vec<_>, _>>()?);
    }
    let message = handover::receive(socket)?;
    if let Message::Connections { came, .. } = &message {
        allowance.count = allowance.count.saturating_sub(came.len());
    }
    Ok(message)
}

/// For how many more descriptors there is room. One that is received without room is lost on its way.
#[derive(Debug)]
struct Allowance {
    count: usize,
    seen: Instant,
}

impl Allowance {
    fn none() -> Self {
        Self { count: 0, seen: Instant::now() }
    }

    /// Whether there is room for whatever comes. Where there is plenty, that is looked at only now and then.
    fn is_plenty(&mut self) -> bool {
        let now = Instant::now();
        if self.count < BUNDLE || now - self.seen >= BELIEVED {
            // Most of what is free is left to the author.
            let count = usize::try_from(free_descriptors() / 4).unwrap_or(usize::MAX).min(MOST_ALLOWED);
            *self = Self { count, seen: now };
        }
        self.count >= BUNDLE
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
