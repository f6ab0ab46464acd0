//! One socket by which clients come: whose it is, how its connections are spread, and what the status says of it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::door::{Door, Opening};
use super::plan::Doors;
use super::slots::Slots;
use super::unix::SocketFile;
use crate::balance::{Chooser, Policy};
use crate::http::{Listen, UDP};
use crate::status::ListenerStatus;
use crate::tls::CertificateFiles;

/// One bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The file of a Unix socket that we made. Dropped before the socket: while that is bound, nobody else's file has
    /// the same inode.
    _file: Option<SocketFile>,
    pub(crate) status: ListenerStatus,
    /// The group of workers that accept from it.
    pub(crate) group: String,
    pub(crate) socket: Arc<OwnedFd>,
    /// How connections are spread over them.
    pub(crate) policy: Policy,
    pub(crate) weights: Vec<u32>,
    peek_timeout: Duration,
    /// Its number among those of which the master accepts.
    pub(super) door: Option<u8>,
    /// The sockets, where each slot has its own.
    slots: Option<Slots>,
    /// How many connections the policy has spread by turns, because their path was not known.
    by_turns: Arc<AtomicU64>,
    /// With which certificates it speaks TLS, if it does.
    pub(crate) certificates: Vec<CertificateFiles>,
}

impl Listener {
    /// `place` is what asked for it, and `name` its name if that says none.
    pub(super) fn new(
        doors: &Doors<'_>,
        place: Option<&Listen>,
        name: String,
        address: String,
        socket: OwnedFd,
        file: Option<SocketFile>,
    ) -> Self {
        let Listen { name: own_name, policy, weights, certificates, .. } = place.cloned().unwrap_or_default();
        // Nobody accepts from a UDP socket; everybody has it.
        let datagrams = address.starts_with(UDP);
        let policy = if datagrams { Policy::Shared } else { policy.unwrap_or(doors.policy) };
        let name = own_name.unwrap_or(name);
        let socket = Arc::new(socket);
        let bound = address.parse().ok().filter(|_| policy.has_slots());
        let (group, peek_timeout) = (doors.group.to_owned(), doors.peek_timeout);
        Self {
            status: ListenerStatus {
                name,
                address,
                policy: policy.name().to_owned(),
                by_turns: 0,
                tls: !certificates.is_empty(),
            },
            slots: bound.map(|bound| Slots::new(bound, Arc::clone(&socket))),
            by_turns: Arc::default(),
            door: None,
            group,
            socket,
            policy,
            weights,
            peek_timeout,
            certificates,
            _file: file,
        }
    }

    /// The listener as one of which the master accepts under this number, if it does.
    pub(super) fn door(&mut self, number: u8) -> Option<Door> {
        if !self.policy.is_dispatched() && !self.policy.has_slots() {
            return None;
        }
        self.door = Some(number);
        let chooser = Chooser::new(self.policy, self.weights.clone());
        let (group, by_turns) = (self.group.clone(), Arc::clone(&self.by_turns));
        Some(Door { group, chooser, peek_timeout: self.peek_timeout, by_turns })
    }

    /// Whether datagrams come by it, and no connections.
    pub(super) fn is_udp(&self) -> bool {
        self.status.address.starts_with(UDP)
    }

    /// What the worker in a slot accepts from.
    pub(super) fn socket_of(&mut self, slot: u32) -> io::Result<Arc<OwnedFd>> {
        match &mut self.slots {
            Some(slots) => slots.socket(slot),
            None => Ok(Arc::clone(&self.socket)),
        }
    }

    /// Announces the sockets that were made for slots since the last time; one that fails is announced the next time.
    ///
    /// # Errors
    /// When a socket cannot be made to accept without waiting.
    pub(super) fn announce(&mut self, mut open: impl FnMut(Opening)) -> io::Result<()> {
        let door = self.door.unwrap_or_default();
        let Some(slots) = &mut self.slots else { return Ok(()) };
        while let Some((index, socket)) = slots.unannounced() {
            open(Opening::new(socket, door, Some(index))?);
            slots.announced();
        }
        Ok(())
    }

    /// What the status says of it now.
    pub(super) fn status(&self) -> ListenerStatus {
        ListenerStatus { by_turns: self.by_turns.load(Relaxed), ..self.status.clone() }
    }
}
