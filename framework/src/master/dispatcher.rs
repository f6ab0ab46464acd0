//! The loop's side of the thread that accepts in the master: orders go there, and nothing comes back, so that neither
//! ever waits for the other.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};

use super::desk::{Desk, Order};
use super::door::{Door, Opening};
use super::event::ChildId;
use crate::bus::codec;
use crate::bus::control::Pulse;
use crate::bus::frame::{Frame, Kind};
use crate::handover::{Handover, MAX_DOORS};

/// The loop's side. Dropping it ends the thread and closes its listeners.
#[derive(Debug)]
pub(super) struct Dispatcher {
    orders: mpsc::Sender<Order>,
    wake: Arc<OwnedFd>,
}

impl Dispatcher {
    /// Begins to accept; connections wait until somebody is ready.
    ///
    /// # Errors
    /// When there are no more descriptors or threads, or more listeners than can be told apart.
    pub(super) fn start(doors: Vec<Door>, openings: Vec<Opening>) -> io::Result<Self> {
        if doors.len() > MAX_DOORS {
            let problem =
                format!("the master can accept from {MAX_DOORS} listeners, not from {}", doors.len());
            return Err(io::Error::other(problem + "; give some the policy `shared`"));
        }
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (orders, inbox) = mpsc::channel();
        let desk = Desk::new(doors, openings, Arc::clone(&wake), inbox)?;
        thread::Builder::new().name("dispatch".to_owned()).spawn(move || desk.run())?;
        Ok(Self { orders, wake })
    }

    /// A worker was welcomed; returns the end that it gets.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub(super) fn join(&self, id: ChildId, group: &str, index: u32) -> io::Result<Arc<OwnedFd>> {
        let way = Handover::new()?;
        let end = way.receiving_end();
        self.order(Order::Join { id, group: group.to_owned(), index, way });
        Ok(end)
    }

    /// Somebody may come by this socket, too.
    pub(super) fn open(&self, opening: Opening) {
        self.order(Order::Open(opening));
    }

    /// A worker said something: perhaps that it can take connections, or how many it has.
    pub(super) fn heard(&self, from: ChildId, frame: &Frame) {
        match frame.kind() {
            Kind::Ready => self.order(Order::Ready(from)),
            Kind::Pulse => {
                if let Ok(pulse) = codec::decode::<Pulse>("a pulse", frame.payload()) {
                    self.order(Order::Reported(from, pulse.connections));
                }
            }
            _ => {}
        }
    }

    /// It is asked to leave: what it has not received goes to others, if there are any.
    pub(super) fn leave(&self, id: ChildId) {
        self.order(Order::Leave(id));
    }

    /// It has ended: what it has not received goes to others, or waits for them.
    pub(super) fn gone(&self, id: ChildId) {
        self.order(Order::Gone(id));
    }

    fn order(&self, order: Order) {
        // If the thread is gone, so are its listeners.
        let _ = self.orders.send(order);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.order(Order::Close);
    }
}
