//! Accepts connections in the master and hands them to workers: a thread of its own. Whom to hand them to, `roster` and
//! `balance` decide.
//!
//! Until a worker has received a connection it can be taken back, which happens when the worker ends, leaves, or takes
//! too long while another has time. What nobody can take is left in the kernel's queue.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with, sockopt};

use super::event::ChildId;
use super::roster::{Clients, PATIENCE, Roster};
use crate::balance::Chooser;
use crate::handover::{Connection, Handover, Message};
use crate::http::is_passing;

/// How long to leave connections in the kernel's queue when all workers have their hands full.
const PAUSE: Duration = Duration::from_millis(1);

/// The same, when there are no descriptors left.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How many connections are accepted at one listener before others are looked at.
const ROUND: usize = 64;

/// How many events are taken at a time.
const EVENTS: usize = 16;

/// What stands for orders among the places of listeners.
const ORDERS: u64 = u64::MAX;

/// A listener of which the master accepts.
#[derive(Debug)]
pub(super) struct Door {
    socket: Arc<OwnedFd>,
    group: String,
    chooser: Chooser,
    /// Whether we are told when somebody comes.
    watched: bool,
}

impl Door {
    /// Takes a listening socket over.
    ///
    /// # Errors
    /// When it cannot be made to accept without waiting.
    pub(super) fn new(socket: Arc<OwnedFd>, group: String, chooser: Chooser) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // What it accepts inherits this; a Unix socket does not know it.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        Ok(Self { socket, group, chooser, watched: false })
    }
}

/// What the master's loop tells the thread. There are a few for each child, and the thread takes them at once.
#[derive(Debug)]
pub(super) enum Order {
    Join { id: ChildId, group: String, index: u32, way: Handover },
    Ready(ChildId),
    Reported(ChildId, u64),
    Leave(ChildId),
    Gone(ChildId),
    Close,
}

/// The thread's side.
pub(super) struct Desk {
    doors: Vec<Door>,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    inbox: mpsc::Receiver<Order>,
    roster: Roster,
    ways: BTreeMap<ChildId, Handover>,
    /// Connections that were accepted, and are in nobody's hands.
    homeless: VecDeque<Connection>,
    /// Whether descriptors have run out.
    short: bool,
    looked_at: Instant,
}

impl Desk {
    /// `wake` is readable when there are orders in the `inbox`.
    pub(super) fn new(
        doors: Vec<Door>,
        wake: Arc<OwnedFd>,
        inbox: mpsc::Receiver<Order>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, EventData::new_u64(ORDERS), EventFlags::IN)?;
        let (ways, homeless) = (BTreeMap::new(), VecDeque::new());
        let (roster, looked_at) = (Roster::default(), Instant::now());
        Ok(Self { doors, epoll, wake, inbox, roster, ways, homeless, short: false, looked_at })
    }

    /// Works until it is ordered to close.
    pub(super) fn run(mut self) {
        loop {
            let woken = self.wait();
            if woken.contains(&ORDERS) && !self.take_orders() {
                return;
            }
            self.look();
            self.house_homeless();
            for place in 0..self.doors.len() {
                let called = woken.contains(&(place as u64));
                if called || !self.doors[place].watched {
                    let going = self.accept(place);
                    self.watch(place, going);
                }
            }
        }
    }

    /// Waits for something to do: for the places of listeners, or orders, or none when it is time to look.
    fn wait(&self) -> Vec<u64> {
        let waits = |door: &Door| !door.watched && self.roster.has_ready(&door.group);
        let patience = if self.short {
            Some(SHORTAGE_PAUSE)
        } else if self.doors.iter().any(waits) {
            Some(PAUSE)
        } else {
            self.roster.is_unsettled().then_some(PATIENCE)
        };
        let timeout =
            patience.map(|patience| Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() });
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS];
        // The only error there can be is an interruption.
        let count = epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()).unwrap_or(0);
        events[..count].iter().map(|event| event.data.u64()).collect()
    }

    /// Whether to go on.
    fn take_orders(&mut self) -> bool {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        while let Ok(order) = self.inbox.try_recv() {
            match order {
                Order::Join { id, group, index, way } => {
                    let binds = |door: &Door| door.group == group && door.chooser.binds_clients();
                    let bound = self.doors.iter().any(binds);
                    self.roster.join(id, group, index, if bound { Clients::Bound } else { Clients::Free });
                    self.ways.insert(id, way);
                }
                Order::Ready(id) => self.roster.ready(id),
                Order::Reported(id, connections) => self.roster.reported(id, connections),
                Order::Leave(id) => {
                    self.roster.leave(id);
                    if self.roster.has_better(id) {
                        self.take_back(id);
                    }
                }
                Order::Gone(id) => {
                    self.take_back(id);
                    self.roster.gone(id);
                    self.ways.remove(&id);
                }
                Order::Close => return false,
            }
        }
        true
    }

    /// Looks at what lies with the workers, and takes it from those who take too long.
    fn look(&mut self) {
        let now = Instant::now();
        let early = now.saturating_duration_since(self.looked_at) < PATIENCE / 2;
        if early && self.doors.iter().all(|door| door.watched) {
            return;
        }
        self.looked_at = now;
        for id in self.roster.unsettled() {
            let Some(way) = self.ways.get(&id) else { continue };
            let lying = way.lying();
            let slow = self.roster.looked(id, lying, now);
            if slow && self.roster.is_worth_recalling(id) {
                self.take_back(id);
                self.knock(id, now);
            }
        }
    }

    /// What a slow worker takes away shows that it has come round.
    fn knock(&mut self, id: ChildId, now: Instant) {
        let knocked = self.ways.get(&id).is_some_and(|way| way.knock().is_ok());
        self.roster.recalled(id, knocked.then_some(now));
    }

    fn take_back(&mut self, id: ChildId) {
        let Some(way) = self.ways.get(&id) else { return };
        while let Some(message) = way.take_back() {
            match message {
                Message::Connection(connection) => self.homeless.push_back(connection),
                Message::Knock => {}
                Message::Lost => tracing::error!("a connection was lost: the limit of open files is reached"),
                Message::End => return,
            }
        }
    }

    /// Finds somebody for those that are in nobody's hands; who finds nobody waits on.
    fn house_homeless(&mut self) {
        for connection in std::mem::take(&mut self.homeless) {
            self.hand(connection);
        }
    }

    /// Accepts what waits at a listener. Returns whether more could be taken.
    fn accept(&mut self, place: usize) -> bool {
        let Ok(door) = u8::try_from(place) else { return true };
        for _ in 0..ROUND {
            let listener = &self.doors[place];
            // Who could take it is asked before, so that what nobody takes stays where anybody can.
            let crowded = self.homeless.iter().any(|connection| connection.door == door);
            if crowded || !self.roster.can_take(&listener.group) {
                return false;
            }
            match acceptfrom_with(&listener.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((socket, client)) => {
                    let client = client.and_then(|address| address.try_into().ok());
                    if !self.hand(Connection { door, client, socket }) {
                        return false;
                    }
                }
                Err(Errno::AGAIN) => {
                    self.short = false;
                    return true;
                }
                Err(error) if is_passing(&error.into()) => {}
                Err(error) => {
                    if !self.short {
                        tracing::warn!("cannot accept connections for now: {error}");
                    }
                    self.short = true;
                    return false;
                }
            }
        }
        true
    }

    /// Hands a connection to whoever it is for. Returns whether there was anybody; otherwise it waits here.
    fn hand(&mut self, connection: Connection) -> bool {
        let Some(door) = self.doors.get_mut(usize::from(connection.door)) else { return true };
        let chosen = self.roster.choose(&door.group, &mut door.chooser, &octets(connection.client));
        let handed = chosen.filter(|id| self.ways.get(id).is_some_and(|way| way.send(&connection).is_ok()));
        match handed {
            Some(id) => self.roster.handed(id, Instant::now()),
            None => self.homeless.push_back(connection),
        }
        handed.is_some()
    }

    /// Has the kernel tell when somebody comes, or leaves them in the queue.
    fn watch(&mut self, place: usize, going: bool) {
        let door = &mut self.doors[place];
        if going == door.watched {
            return;
        }
        door.watched = going;
        let _ = if going {
            epoll::add(&self.epoll, &door.socket, EventData::new_u64(place as u64), EventFlags::IN)
        } else {
            epoll::delete(&self.epoll, &door.socket)
        };
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
