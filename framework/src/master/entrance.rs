//! All ways into the cluster: the listeners, what workers get of them, and who is told when a worker comes or goes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::dispatcher::Dispatcher;
use super::event::{ChildId, Event};
use super::listeners::Listener;
use crate::http::Bell;
use crate::launch::Place;
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
        let dispatched = listeners.iter().filter(|listener| listener.policy.is_dispatched());
        let doors = dispatched.map(Listener::door).collect::<io::Result<Vec<_>>>()?;
        let dispatcher = if doors.is_empty() { None } else { Some(Dispatcher::start(doors)?) };
        Ok(Self { listeners, bell: Bell::new()?, dispatcher })
    }

    /// The listeners, as the processes know them.
    pub(crate) fn places(&self) -> Vec<Place> {
        let mut doors = 0_u8..;
        let place = |listener: &Listener| Place {
            name: listener.status.name.clone(),
            group: listener.group.clone(),
            // Numbered as they were handed to the dispatcher.
            door: listener.policy.is_dispatched().then(|| doors.next()).flatten(),
            certificates: listener.certificates.clone(),
        };
        self.listeners.iter().map(place).collect()
    }

    pub(crate) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// What the worker in this slot needs to serve.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub(crate) fn descriptors(&self, id: ChildId, slot: &Slot) -> io::Result<Vec<Arc<OwnedFd>>> {
        let own = self.listeners.iter().filter(|listener| listener.group == slot.group());
        let (dispatched, shared): (Vec<_>, Vec<_>) = own.partition(|own| own.policy.is_dispatched());
        let mut descriptors: Vec<_> = shared.iter().map(|listener| Arc::clone(&listener.socket)).collect();
        if !shared.is_empty() {
            descriptors.push(self.bell.descriptor());
        }
        if let (false, Some(dispatcher)) = (dispatched.is_empty(), &self.dispatcher) {
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
