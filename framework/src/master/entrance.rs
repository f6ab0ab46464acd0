//! All ways into the cluster: the listeners, what workers get of them, and who is told when a worker comes or goes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::dispatcher::Dispatcher;
use super::door::Opening;
use super::event::{ChildId, Event};
use super::listener::Listener;
use crate::http::Bell;
use crate::launch::{Launch, Place};
use crate::role::Slot;

/// The listeners of all groups.
#[derive(Debug)]
pub(crate) struct Entrance {
    listeners: Vec<Listener>,
    /// What workers hear when one of them leaves connections to the others.
    bell: Bell,
    /// Accepts where the policy wants the master to.
    dispatcher: Option<Dispatcher>,
}

impl Entrance {
    /// Opens what was bound.
    ///
    /// # Errors
    /// When there are no more descriptors or threads.
    pub(crate) fn open(listeners: Vec<Listener>) -> io::Result<Self> {
        let mut listeners = listeners;
        let (mut doors, mut openings) = (Vec::new(), Vec::new());
        for listener in &mut listeners {
            let number = u8::try_from(doors.len()).unwrap_or(u8::MAX);
            if let Some(door) = listener.door(number) {
                doors.push(door);
                let slot = listener.policy.has_slots().then_some(0);
                openings.push(Opening::new(Arc::clone(&listener.socket), number, slot)?);
            }
        }
        let dispatcher = if doors.is_empty() { None } else { Some(Dispatcher::start(doors, openings)?) };
        Ok(Self { listeners, bell: Bell::new()?, dispatcher })
    }

    /// Tells a generation's launch what was bound.
    pub(crate) fn describe(&self, launch: &mut Launch) {
        for group in &mut launch.groups {
            group.udp = self.udp_names(&group.name);
        }
        launch.listeners = self.places();
    }

    /// The names of a group's UDP sockets, in the order in which its workers get them.
    fn udp_names(&self, group: &str) -> Vec<String> {
        let own = self.listeners.iter().filter(|listener| listener.is_udp() && listener.group == group);
        own.map(|listener| listener.status.name.clone()).collect()
    }

    /// The listeners by which connections come, as the processes know them.
    fn places(&self) -> Vec<Place> {
        let place = |listener: &Listener| Place {
            name: listener.status.name.clone(),
            group: listener.group.clone(),
            door: listener.door,
            inherited: !listener.policy.is_dispatched(),
            certificates: listener.certificates.clone(),
        };
        self.listeners.iter().filter(|listener| !listener.is_udp()).map(place).collect()
    }

    pub(crate) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// What the worker in this slot needs to serve.
    ///
    /// # Errors
    /// When there are no more descriptors, or an address cannot be bound once more.
    pub(crate) fn descriptors(&mut self, id: ChildId, slot: &Slot) -> io::Result<Vec<Arc<OwnedFd>>> {
        let mut descriptors = Vec::new();
        let (mut is_handed, mut is_shared) = (false, false);
        for listener in self.listeners.iter_mut().filter(|listener| listener.group == slot.group()) {
            is_handed |= listener.door.is_some();
            if listener.policy.is_dispatched() {
                continue;
            }
            let socket = listener.socket_of(slot.index());
            // What was made before one failed listens already, and must be taken care of.
            listener.announce(|opening| {
                if let Some(dispatcher) = &self.dispatcher {
                    dispatcher.open(opening);
                }
            })?;
            descriptors.push(socket?);
            is_shared |= !listener.is_udp();
        }
        if is_shared {
            descriptors.push(self.bell.descriptor());
        }
        if let (true, Some(dispatcher)) = (is_handed, &self.dispatcher) {
            descriptors.push(dispatcher.join(id, slot.group(), slot.index())?);
        }
        Ok(descriptors)
    }

    /// Takes note of what concerns it.
    pub(crate) fn heed(&self, event: &Event) {
        match event {
            Event::Exited { id, .. } => {
                // It may have been woken for a connection that waits.
                self.bell.ring();
                self.dispatcher.iter().for_each(|dispatcher| dispatcher.gone(*id));
            }
            Event::Frame { from, frame } => {
                self.dispatcher.iter().for_each(|dispatcher| dispatcher.heard(*from, frame));
            }
            _ => {}
        }
    }

    /// Why nobody accepts connections any more, if that is so.
    pub(crate) fn failure(&self) -> Option<&'static str> {
        self.dispatcher.as_ref().and_then(Dispatcher::failure)
    }

    /// A worker is about to be asked to leave.
    pub(crate) fn leave(&self, id: ChildId) {
        self.dispatcher.iter().for_each(|dispatcher| dispatcher.leave(id));
    }

    /// Lets nobody connect any more.
    pub(crate) fn close(&mut self) {
        self.dispatcher = None;
        self.listeners.clear();
    }
}
