//! A load: many clients on one thread that ask until a deed is done, and a report that tells every failure by its
//! kind. Nothing is asked again in silence, as a library for clients would do: what a user would notice is counted.
//!
//! | file | is |
//! |---|---|
//! | `report` | what has come of it, and the kinds of failure |
//! | `answer` | reading answers of HTTP/1.1 from bytes |
//! | `target`, `line` | opening a connection; one that is kept from one request to the next |
//! | `running` | the life of a load and of each of its clients |
//! | `client` | one client of whatever mode |
//! | `http1`, `http2`, `websocket`, `events` | the clients themselves |

mod answer;
mod client;
mod events;
mod http1;
mod http2;
mod line;
mod report;
mod running;
mod target;
#[cfg(test)]
mod tests;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;

pub(crate) use report::{Failure, Report, Share};

pub(crate) use running::Running;

use target::Target;

/// How the clients ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// HTTP/1.1, a connection for each request.
    NewConnection,
    /// HTTP/1.1, one connection for as long as the server keeps it.
    KeepAlive,
    /// HTTP/2 from the first byte, one connection for as long as the server keeps it.
    Http2,
    /// A WebSocket at `/socket` that names its worker, then gives each message back.
    WebSocket,
    /// Server-sent events from `/events`, each of which names its worker; an answer is one event.
    Events,
}

/// A load that is to be: by default 8 clients that keep their connections, never pause and ask for `/whoami`,
/// for at most two minutes.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    target: Target,
    mode: Mode,
    clients: usize,
    requests: u64,
    longest: Duration,
    patience: Duration,
    pause: Duration,
    posted: Option<usize>,
}

impl Load {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            target: Target::new(address),
            mode: Mode::KeepAlive,
            clients: 8,
            requests: u64::MAX,
            longest: Duration::from_secs(120),
            patience: Duration::from_secs(10),
            pause: Duration::ZERO,
            posted: None,
        }
    }

    pub(crate) fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// With TLS, by a client that brings this along and asks for this name.
    pub(crate) fn secured(self, config: &Arc<ClientConfig>, name: &str) -> Self {
        Self { target: self.target.secured(config, name), ..self }
    }

    /// How many ask at the same time.
    pub(crate) fn clients(self, clients: usize) -> Self {
        Self { clients, ..self }
    }

    /// How many requests there are at most, of all clients together.
    pub(crate) fn requests(self, requests: u64) -> Self {
        Self { requests, ..self }
    }

    /// How long the load lasts at most.
    pub(crate) fn longest(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// How long a client waits for a whole answer, or for the next event.
    pub(crate) fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long each client rests after an answer.
    pub(crate) fn pausing(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// With HTTP/1.1: posts so many bytes to `/echo` and wants them back.
    pub(crate) fn posting(self, bytes: usize) -> Self {
        Self { posted: Some(bytes), ..self }
    }

    /// Runs the load until it has reached its bounds.
    pub(crate) fn run(self) -> Report {
        self.begin().finish()
    }

    /// Runs the load while `deed` is done. The deed begins when every client has had its first answer.
    ///
    /// # Panics
    /// When the load reaches its bounds before the deed is done, for then it proves nothing.
    pub(crate) fn run_while(self, deed: impl FnOnce()) -> Report {
        let running = self.begin();
        running.await_first_answers();
        deed();
        assert!(!running.is_over(), "the load was over before the deed was done");
        running.end()
    }

    /// Begins the load and returns at once.
    pub(crate) fn begin(self) -> Running {
        Running::begin(self)
    }
}
