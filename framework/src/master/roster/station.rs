//! One worker as the dispatcher sees it: whether it can take connections, what lies with it, and whether it takes too long
//! for it. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::balance::{Candidate, Chooser};
use crate::master::event::ChildId;

/// How long a connection may lie with a worker that does not take it up, while another could.
pub(in crate::master) const PATIENCE: Duration = Duration::from_millis(10);

/// The same, where clients should come back to their worker: it is worth waiting for.
pub(super) const STICKY_PATIENCE: Duration = Duration::from_secs(1);

/// How many connections may lie with one worker.
pub(super) const LIMIT: usize = 128;

/// Whether the clients of a listener should come back to the worker that they had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::master) enum Clients {
    Free,
    Bound,
}

impl Clients {
    /// Those for whom `chooser` chooses.
    pub(in crate::master) fn of(chooser: &Chooser) -> Self {
        if chooser.binds_clients() { Self::Bound } else { Self::Free }
    }

    fn patience(self) -> Duration {
        match self {
            Self::Free => PATIENCE,
            Self::Bound => STICKY_PATIENCE,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Starting,
    Ready,
    Leaving,
}

#[derive(Debug)]
struct Lying {
    since: Instant,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Connection(Clients),
    /// Only to see whether the worker comes round.
    Knock,
}

/// A worker that connections are handed to.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) id: ChildId,
    pub(super) group: String,
    pub(super) index: u32,
    stage: Stage,
    /// What was handed over and may not have been taken up, the oldest first.
    lying: VecDeque<Lying>,
    /// How long the oldest of it had lain there when that was looked at.
    lain: Duration,
    /// Its connections as it said last, and what it was handed since.
    pub(super) load: u64,
}

impl Station {
    /// It was started, and can take nothing yet.
    pub(super) fn new(id: ChildId, group: String, index: u32) -> Self {
        let (stage, lying, lain) = (Stage::Starting, VecDeque::new(), Duration::ZERO);
        Self { id, group, index, stage, lying, lain, load: 0 }
    }

    /// Who leaves does not come back.
    pub(super) fn advance(&mut self, stage: Stage) {
        if self.stage != Stage::Leaving {
            self.stage = stage;
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    pub(super) fn can_take(&self, group: &str) -> bool {
        self.is_ready() && self.lying.len() < LIMIT && self.group == group
    }

    /// What a chooser sees of it.
    pub(super) fn face(&self) -> Candidate {
        Candidate { index: self.index, load: self.load }
    }

    /// Whether it takes too long for such clients, and has not come round since.
    pub(super) fn is_slow(&self, clients: Clients) -> bool {
        !self.lying.is_empty() && self.lain >= clients.patience()
    }

    /// Whether such clients lie with it for which it takes too long.
    pub(super) fn keeps_waiting(&self, clients: Clients) -> bool {
        self.is_slow(clients) && self.lying.iter().any(|one| one.what == What::Connection(clients))
    }

    /// A connection of such clients lies with it since then.
    pub(super) fn handed(&mut self, clients: Clients, since: Instant) {
        self.lying.push_back(Lying { since, what: What::Connection(clients) });
        self.load += 1;
    }

    /// A knock lies with it since then.
    pub(super) fn knocked(&mut self, since: Instant) {
        self.lying.push_back(Lying { since, what: What::Knock });
    }

    /// The last so many could not be handed to it.
    pub(super) fn kept(&mut self, count: usize) {
        self.lying.truncate(self.lying.len().saturating_sub(count));
        self.load = self.load.saturating_sub(count as u64);
    }

    /// So much still lies there; what was handed over first was taken up first. Returns whether some of it lies too long.
    pub(super) fn looked(&mut self, lying: usize, now: Instant) -> bool {
        let taken = self.lying.len().saturating_sub(lying);
        self.lying.drain(..taken);
        let oldest = self.lying.front();
        self.lain = oldest.map_or(Duration::ZERO, |one| now.saturating_duration_since(one.since));
        self.lying.iter().any(|one| match one.what {
            What::Connection(clients) => self.is_slow(clients),
            What::Knock => self.is_slow(Clients::Free),
        })
    }

    /// All but the last `left` was taken back from it. Returns since when the oldest of it lay there.
    pub(super) fn recalled(&mut self, left: usize, now: Instant) -> Instant {
        let oldest = self.lying.front().map_or(now, |one| one.since);
        let back = self.lying.drain(..self.lying.len().saturating_sub(left));
        let connections = back.filter(|one| one.what != What::Knock).count();
        self.load = self.load.saturating_sub(connections as u64);
        oldest
    }

    /// Nobody who lies with it is given more time than those who come back to no worker.
    pub(super) fn hurry(&mut self) {
        for one in &mut self.lying {
            if let What::Connection(clients) = &mut one.what {
                *clients = Clients::Free;
            }
        }
    }

    /// Whether connections may lie with it.
    pub(super) fn is_owed(&self) -> bool {
        self.lying.iter().any(|one| one.what != What::Knock)
    }

    /// Whether anything may lie with it.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.lying.is_empty()
    }
}
