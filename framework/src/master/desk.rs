//! Accepts connections in the master and hands them to workers: a thread of its own. Whom to hand them to, `roster` and
//! `balance` decide.
//!
//! Until a worker has received a connection it can be taken back, which happens when the worker ends, leaves, or takes
//! too long while another has time. What nobody can take is left in the kernel's queue.

use std::collections::VecDeque;
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
use super::event::ChildId;
use super::order::Order;
use super::peeking::{FIRST, Peeking, Seen};
use super::roster::{Clients, PATIENCE, Roster};
use super::ways::Ways;
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
    doors: Vec<Door>,
    openings: Vec<Opening>,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    inbox: mpsc::Receiver<Order>,
    roster: Roster,
    ways: Ways,
    /// Connections that were accepted, and are in nobody's hands.
    homeless: VecDeque<Connection>,
    peeking: Peeking,
    /// Whether descriptors have run out.
    short: bool,
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
        let (ways, homeless, peeking) = (Ways::default(), VecDeque::new(), Peeking::new(epoll.try_clone()?));
        let (roster, looked_at, short) = (Roster::default(), Instant::now(), false);
        Ok(Self { doors, openings, epoll, wake, inbox, roster, ways, homeless, peeking, short, looked_at })
    }

    /// Works until it is ordered to close.
    pub(super) fn run(mut self) {
        loop {
            let woken = self.wait();
            if woken.contains(&ORDERS) && !self.take_orders() {
                return self.hand_over_last();
            }
            self.look();
            self.homeless.extend(self.ways.take_left());
            self.house_homeless();
            self.house_seen(&woken);
            self.send_bundles();
            for place in 0..self.openings.len() {
                let called = woken.contains(&(place as u64));
                let Opening { ours, watched, .. } = self.openings[place];
                if called || ours != watched {
                    let going = ours && self.accept(place);
                    let going = self.send_bundles() && going;
                    self.watch(place, going);
                }
            }
        }
    }

    /// Waits for something to do: for the places of openings, or orders, or none when it is time to look.
    fn wait(&self) -> Vec<u64> {
        let group = |one: &Opening| &self.doors[usize::from(one.door)].group;
        let waits = |one: &Opening| one.ours && !one.watched && self.roster.has_ready(group(one));
        let patience = if self.short || self.ways.has_left() {
            Some(SHORTAGE_PAUSE)
        } else if self.openings.iter().any(waits) {
            Some(PAUSE)
        } else {
            self.roster.is_unsettled().then_some(PATIENCE)
        };
        let peeking = self.peeking.deadline().map(|until| until.saturating_duration_since(Instant::now()));
        let timeout =
            patience.into_iter().chain(peeking).min().and_then(|patience| Timespec::try_from(patience).ok());
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
                    self.ways.join(id, way);
                }
                Order::Ready(id, most) => {
                    self.roster.ready(id);
                    self.ways.ready(id, most);
                }
                Order::Reported(id, connections) => {
                    self.roster.reported(id, connections);
                    self.ways.forgive(id);
                }
                Order::Leave(id) => {
                    self.roster.leave(id);
                    if self.roster.has_better(id) {
                        self.homeless.extend(self.ways.take_back(id));
                    }
                }
                Order::Gone(id) => {
                    self.homeless.extend(self.ways.gone(id));
                    self.roster.gone(id);
                }
                Order::Open(opening) => self.openings.push(opening),
                Order::Close => return false,
            }
        }
        let manned = self.roster.manned();
        for opening in &mut self.openings {
            let group = self.doors[usize::from(opening.door)].group.as_str();
            opening.ours = opening.slot.is_none_or(|slot| !manned.contains(&(group, slot)));
        }
        true
    }

    /// Looks at what lies with the workers, and takes it from those who take too long.
    fn look(&mut self) {
        let now = Instant::now();
        let early = now.saturating_duration_since(self.looked_at) < PATIENCE / 2;
        if early && self.openings.iter().all(|one| one.watched == one.ours) {
            return;
        }
        self.looked_at = now;
        for id in self.roster.unsettled() {
            let slow = self.roster.looked(id, self.ways.lying(id), now);
            if slow && self.roster.is_worth_recalling(id) {
                let back = self.ways.take_back(id);
                if self.ways.lying(id) > 0 {
                    // For want of descriptors.
                    self.roster.kept(id, back.len());
                } else {
                    // What a slow worker takes away shows that it has come round.
                    self.roster.recalled(id, self.ways.knock(id).then_some(now));
                }
                self.homeless.extend(back);
            } else if slow {
                let kept = self.ways.unbundle(id);
                self.keep(id, kept);
            }
        }
    }

    /// Finds somebody for those that are in nobody's hands; who finds nobody waits on.
    fn house_homeless(&mut self) {
        for one in std::mem::take(&mut self.homeless) {
            let key = self.doors.get(usize::from(one.door)).map(|door| door.key(&one)).unwrap_or_default();
            self.hand(one, &key);
        }
    }

    /// Hands over those whose first line has come, or was waited for long enough.
    fn house_seen(&mut self, woken: &[u64]) {
        for number in woken.iter().filter(|number| (FIRST..ORDERS).contains(*number)) {
            if let Some((connection, seen)) = self.peeking.called(*number) {
                self.hand_seen(connection, seen);
            }
        }
        while let Some(connection) = self.peeking.overdue(Instant::now()) {
            self.hand_seen(connection, Seen::Nothing);
        }
    }

    /// Nobody comes any more: those who are here go to workers that serve them before they leave.
    fn hand_over_last(mut self) {
        self.homeless.extend(self.ways.take_left());
        self.house_homeless();
        while let Some(connection) = self.peeking.give_up() {
            let door = self.doors.get(usize::from(connection.door));
            let seen = match door.map(|door| door.sight(&connection)) {
                Some(Seen::Key(key)) => Seen::Key(key),
                _ => Seen::Nothing,
            };
            self.hand_seen(connection, seen);
        }
        self.send_bundles();
    }

    /// Hands over by what was seen; what is not known yet is waited for. Returns whether there was anybody.
    fn hand_seen(&mut self, connection: Connection, seen: Seen) -> bool {
        let Some(door) = self.doors.get(usize::from(connection.door)) else { return true };
        match seen {
            Seen::Key(key) => self.hand(connection, &key),
            Seen::Nothing => {
                door.count_turn();
                self.hand(connection, &[])
            }
            Seen::NotYet => {
                let until = Instant::now() + door.peek_timeout;
                let pushed_out = self.peeking.begin(connection, until);
                pushed_out.is_none_or(|pushed_out| self.hand_seen(pushed_out, Seen::Nothing))
            }
        }
    }

    /// Accepts what waits at an opening. Returns whether more could be taken.
    fn accept(&mut self, place: usize) -> bool {
        for _ in 0..ROUND {
            let Opening { door, socket: listener, .. } = &self.openings[place];
            let (number, door) = (*door, &self.doors[usize::from(*door)]);
            // Who could take it is asked before, so that what nobody takes stays where anybody can.
            let crowded = self.homeless.iter().any(|homeless| homeless.door == number);
            if crowded || !self.roster.can_take(&door.group) {
                return false;
            }
            match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((socket, client)) => {
                    let client = client.and_then(|address| address.try_into().ok());
                    let connection = Connection { door: number, client, socket };
                    let seen = door.sight(&connection);
                    if !self.hand_seen(connection, seen) {
                        return false;
                    }
                }
                Err(Errno::AGAIN) => {
                    self.short = false;
                    return true;
                }
                Err(error) if is_passing(&error.into()) => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.short, true) {
                        tracing::warn!("cannot accept connections for now: {error}");
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Hands a connection to whoever it is for. Returns whether there was anybody; otherwise it waits here.
    fn hand(&mut self, connection: Connection, key: &[u8]) -> bool {
        let Some(door) = self.doors.get_mut(usize::from(connection.door)) else { return true };
        let Some(id) = self.roster.choose(&door.group, &mut door.chooser, key) else {
            self.homeless.push_back(connection);
            return false;
        };
        self.roster.handed(id, Instant::now());
        let full = self.ways.put(id, connection);
        !full || self.send(id)
    }

    /// Sends what was put together for a worker. Returns whether that was possible; otherwise it waits here.
    fn send(&mut self, id: ChildId) -> bool {
        let kept = self.ways.send(id);
        self.keep(id, kept)
    }

    /// Returns whether nothing was kept.
    fn keep(&mut self, id: ChildId, kept: Vec<Connection>) -> bool {
        let nothing = kept.is_empty();
        self.roster.kept(id, kept.len());
        self.homeless.extend(kept);
        nothing
    }

    /// Sends what was put together for anybody. Returns whether all of it went.
    fn send_bundles(&mut self) -> bool {
        let unsent = self.ways.laden().into_iter().filter(|id| !self.send(*id)).count();
        unsent == 0
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
