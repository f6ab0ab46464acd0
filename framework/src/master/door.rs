//! A listener of which the master accepts: who is to get what comes there, and the sockets by which it comes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::net::sockopt;

use super::peeking::{Seen, look};
use crate::balance::{By, Chooser};
use crate::handover::Connection;

/// A listener of which the master accepts.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) group: String,
    pub(super) chooser: Chooser,
    /// How long the path of a request is waited for, where that chooses.
    pub(super) peek_timeout: Duration,
    /// How many connections were spread by turns, because their path was not known in time.
    pub(super) by_turns: Arc<AtomicU64>,
}

impl Door {
    /// What a connection is chosen by, as far as it is known now.
    pub(super) fn sight(&self, connection: &Connection) -> Seen {
        match self.chooser.chooses_by() {
            By::Path => look(&connection.socket),
            By::Client => Seen::Key(octets(connection.client)),
        }
    }

    /// The same for one that has waited long enough.
    pub(super) fn key(&self, connection: &Connection) -> Vec<u8> {
        match self.sight(connection) {
            Seen::Key(key) => key,
            Seen::Nothing | Seen::NotYet => Vec::new(),
        }
    }

    pub(super) fn count_turn(&self) {
        self.by_turns.fetch_add(1, Relaxed);
    }
}

/// One socket of a door. Where each slot has its own, the master accepts of those that nobody else takes care of.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) socket: Arc<OwnedFd>,
    /// By number.
    pub(super) door: u8,
    /// Whose it is, if not everybody's.
    pub(super) slot: Option<u32>,
    /// Whether we accept there.
    pub(super) ours: bool,
    /// Whether we are told when somebody comes.
    pub(super) watched: bool,
}

impl Opening {
    /// Takes a listening socket over.
    ///
    /// # Errors
    /// When it cannot be made to accept without waiting.
    pub(super) fn new(socket: Arc<OwnedFd>, door: u8, slot: Option<u32>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // What it accepts inherits this; a Unix socket does not know it.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        Ok(Self { socket, door, slot, ours: true, watched: false })
    }
}

/// The address of a client without its port; nothing for a Unix socket.
fn octets(client: Option<SocketAddr>) -> Vec<u8> {
    match client.map(|client| client.ip()) {
        Some(IpAddr::V4(address)) => address.octets().to_vec(),
        Some(IpAddr::V6(address)) => address.octets().to_vec(),
        None => Vec::new(),
    }
}
