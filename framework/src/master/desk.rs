//! Accepts connections in the master: a thread of its own. What becomes of them, the `lobby` answers for.
//!
//! What nobody can take is left in the kernel's queue.

mod closing;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{CreateFlags, EventData, EventFlags};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::sync::mpsc;

use super::door::{Door, Opening};
use super::lobby::Lobby;
use super::order::Order;
use super::peeking::Peeking;
use super::roster::PATIENCE;
use super::shortage::Shortage;
use crate::handover::Connection;
use crate::http::is_passing;

/// How long to leave connections in the kernel's queue when all workers have their hands full.
const PAUSE: Duration = Duration::from_millis(1);

/// The same, when there are no descriptors left.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How many connections are accepted at one listener before others are looked at.
const ROUND: usize = 64;

/// How many events are taken at a time.
const EVENTS: usize = 16;

/// What stands for orders among the places of openings.
const ORDERS: u64 = u64::MAX;

/// The thread's side.
pub(super) struct Desk {
    openings: Vec<Opening>,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    inbox: mpsc::Receiver<Order>,
    lobby: Lobby,
    /// Whether descriptors have run out.
    short: bool,
    shortage: Shortage,
    looked_at: Instant,
}

impl Desk {
    /// `wake` is readable when there are orders in the `inbox`.
    pub(super) fn new(
        doors: Vec<Door>,
        openings: Vec<Opening>,
        wake: Arc<OwnedFd>,
        inbox: mpsc::Receiver<Order>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, EventData::new_u64(ORDERS), EventFlags::IN)?;
        let lobby = Lobby::new(doors, Peeking::new(epoll.try_clone()?));
        Ok(Self {
            openings,
            epoll,
            wake,
            inbox,
            lobby,
            short: false,
            shortage: Shortage::default(),
            looked_at: Instant::now(),
        })
    }

    /// Works until it is ordered to close.
    pub(super) fn run(mut self) {
        loop {
            let mut woken = self.wait();
            if woken.contains(&ORDERS) && !self.take_orders() {
                return self.close();
            }
            self.look();
            self.lobby.house_homeless();
            woken.retain(|number| *number != ORDERS);
            self.lobby.house_seen(&woken);
            self.lobby.send_bundles();
            for place in 0..self.openings.len() {
                let called = woken.contains(&(place as u64));
                let Opening { ours, watched, .. } = self.openings[place];
                if called || ours != watched {
                    let going = ours && self.accept(place);
                    let going = self.lobby.send_bundles() && going;
                    self.watch(place, going);
                }
            }
        }
    }

    /// Waits for something to do: for the places of openings, or orders, or none when it is time to look.
    fn wait(&self) -> Vec<u64> {
        let waits = |one: &Opening| one.ours && !one.watched && self.lobby.has_ready(one.door);
        let patience = if self.short {
            Some(SHORTAGE_PAUSE)
        } else if self.openings.iter().any(waits) {
            Some(PAUSE)
        } else {
            self.lobby.is_unsettled().then_some(PATIENCE)
        };
        let peeking = self.lobby.deadline().map(|until| until.saturating_duration_since(Instant::now()));
        let timeout =
            patience.into_iter().chain(peeking).min().and_then(|patience| Timespec::try_from(patience).ok());
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS];
        // The only error there can be is an interruption.
        let count = epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()).unwrap_or(0);
        events[..count].iter().map(|event| event.data.u64()).collect()
    }

    /// Takes note of the call for orders.
    fn hush(&self) {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
    }

    /// Whether to go on.
    fn take_orders(&mut self) -> bool {
        self.hush();
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Join { id, group, index, way } => self.lobby.join(id, group, index, way),
                Order::Ready(id, most) => self.lobby.ready(id, most),
                Order::Reported(id, connections) => self.lobby.reported(id, connections),
                Order::Leave(id) => self.lobby.leave(id),
                Order::Gone(id) => self.lobby.gone(id),
                Order::Open(opening) => self.openings.push(opening),
                Order::Close => return false,
            }
        }
        let manned = self.lobby.manned();
        for opening in &mut self.openings {
            let group = self.lobby.group(opening.door);
            opening.ours = opening.slot.is_none_or(|slot| !manned.contains(&(group, slot)));
        }
        true
    }

    /// Has what lies with the workers looked at, unless that was just done and nobody waits for it.
    fn look(&mut self) {
        let now = Instant::now();
        let early = now.saturating_duration_since(self.looked_at) < PATIENCE / 2;
        if early && self.openings.iter().all(|one| one.watched == one.ours) {
            return;
        }
        self.looked_at = now;
        self.lobby.look(now);
    }

    /// Accepts what waits at an opening. Returns whether more could be taken.
    fn accept(&mut self, place: usize) -> bool {
        for _ in 0..ROUND {
            let Opening { door, socket: listener, .. } = &self.openings[place];
            // Who could take it is asked before, so that what nobody takes stays where anybody can.
            if !self.lobby.has_room(*door) {
                return false;
            }
            match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((socket, client)) => {
                    let client = client.and_then(|address| address.try_into().ok());
                    if !self.lobby.come(Connection { door: *door, client, socket }) {
                        return false;
                    }
                }
                Err(Errno::AGAIN) => {
                    self.short = false;
                    return true;
                }
                Err(error) if is_passing(&error.into()) => {}
                Err(error) => {
                    self.short = true;
                    if self.shortage.is_news(Instant::now()) {
                        tracing::warn!("cannot accept connections for now: {error}");
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Has the kernel tell when somebody comes, or leaves them in the queue.
    fn watch(&mut self, place: usize, going: bool) {
        let opening = &mut self.openings[place];
        if going == opening.watched {
            return;
        }
        let data = EventData::new_u64(place as u64);
        // Where the kernel does not watch it, we go on looking by ourselves, and try this again each time.
        opening.watched = going && epoll::add(&self.epoll, &opening.socket, data, EventFlags::IN).is_ok();
        if !going {
            let _ = epoll::delete(&self.epoll, &opening.socket);
        }
    }
}
