//! Connections whose first line is waited for, without taking it: it is the worker's to read. Nobody else waits for them.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::balance::{MOST, Target, target};
use crate::handover::Connection;

/// How many connections may wait; one more, and the first of them has waited long enough.
const PLACES: usize = 256;

/// What stands for the first of them among the events of the desk.
pub(super) const FIRST: u64 = 1 << 32;

/// What is seen of a connection's first line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// What it is chosen by.
    Key(Vec<u8>),
    /// More has to come.
    NotYet,
    /// It will never be known.
    Nothing,
}

/// Looks at the first bytes of a connection, as far as they have come.
pub(super) fn look(socket: &OwnedFd) -> Seen {
    let mut head = [0; MOST];
    match recv(socket, &mut head[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((0, _)) => Seen::Nothing,
        Ok((length, _)) => match target(&head[..length.min(MOST)]) {
            Target::Path(path) => Seen::Key(path.to_vec()),
            Target::Unfinished => Seen::NotYet,
            Target::Unknown => Seen::Nothing,
        },
        Err(Errno::AGAIN | Errno::INTR) => Seen::NotYet,
        Err(_) => Seen::Nothing,
    }
}

/// Those that wait, in the order in which they came, which is that of their deadlines.
#[derive(Debug)]
pub(super) struct Peeking {
    /// The desk's.
    epoll: OwnedFd,
    waiting: VecDeque<Waiting>,
    count: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    connection: Connection,
    until: Instant,
}

impl Peeking {
    /// Nobody waits yet. News come by this epoll.
    pub(super) fn new(epoll: OwnedFd) -> Self {
        Self { epoll, waiting: VecDeque::new(), count: 0 }
    }

    /// Has the kernel tell when more comes, as the event that is returned. When that cannot be, or all places are taken,
    /// somebody has waited long enough.
    pub(super) fn begin(&mut self, connection: Connection, until: Instant) -> Option<Connection> {
        let number = FIRST + self.count;
        self.count += 1;
        // What has come stays there to be read: only news of more is wanted.
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        if epoll::add(&self.epoll, &connection.socket, EventData::new_u64(number), flags).is_err() {
            return Some(connection);
        }
        self.waiting.push_back(Waiting { number, connection, until });
        if self.waiting.len() > PLACES { self.take_out(0) } else { None }
    }

    /// Takes out the connection of this event, if that is over for it.
    pub(super) fn called(&mut self, number: u64) -> Option<(Connection, Seen)> {
        let at = self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
        match look(&self.waiting[at].connection.socket) {
            Seen::NotYet => None,
            seen => self.take_out(at).map(|connection| (connection, seen)),
        }
    }

    /// Takes out one that has waited long enough.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Connection> {
        if self.deadline()? <= now { self.take_out(0) } else { None }
    }

    /// Takes out the first one, however long it has waited.
    pub(super) fn give_up(&mut self) -> Option<Connection> {
        self.take_out(0)
    }

    /// When the next one has.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    /// To close our descriptor would not be enough: the worker's is of the same connection, and its news would go on.
    fn take_out(&mut self, at: usize) -> Option<Connection> {
        let Waiting { connection, .. } = self.waiting.remove(at)?;
        let _ = epoll::delete(&self.epoll, &connection.socket);
        Some(connection)
    }
}
