//! When the cluster counts as ready: inside, once everybody has been ready at the same time; outside, when
//! everybody is and knows it, until a whole group is gone. Pure.

use std::time::{Duration, Instant};

use super::crew::Crew;
use super::event::Action;
use super::occupant::{Knows, Occupant};
use super::rules::later;
use crate::bus::frame::{Frame, Kind};

/// What has been said of the cluster's being ready.
#[derive(Debug)]
pub(crate) struct Announcement {
    /// How long the children may take to say that they know.
    patience: Duration,
    up: bool,
    /// Since when it could be said: the first time since everybody was ready once, later since everybody is again.
    since: Option<Instant>,
    /// When it may be said aloud.
    due: Option<Instant>,
    announced: bool,
    /// Whether it was said before.
    said: bool,
}

impl Announcement {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, up: false, since: None, due: None, announced: false, said: false }
    }

    /// Whether everybody has been ready at the same time, once.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// A cluster that was whole once has started, whoever has died since.
    fn is_first(&self) -> bool {
        self.up && !self.said
    }

    /// Says what there is to say now.
    pub(crate) fn update(&mut self, crews: &mut [Crew], now: Instant, actions: &mut Vec<Action>) {
        let whole = crews.iter().all(Crew::is_whole);
        self.since = if whole || self.is_first() { self.since.or(Some(now).filter(|_| whole)) } else { None };
        if whole && !self.up {
            self.up = true;
            crews.iter_mut().flat_map(|crew| &mut crew.posts).for_each(|post| post.tries = 0);
        }
        if !self.up {
            return;
        }
        crews.iter_mut().flat_map(Crew::occupants_mut).for_each(|occupant| tell(occupant, actions));
        self.due = self.since.filter(|_| !self.announced).map(|since| {
            let mut ready = crews.iter().flat_map(Crew::occupants).filter(|occupant| occupant.is_ready());
            let known = ready.all(|occupant| occupant.knows == Knows::Confirmed);
            if known { since } else { later(since, self.patience) }
        });
        if self.due.is_some_and(|due| due <= now) {
            (self.announced, self.said, self.due) = (true, true, None);
            actions.push(Action::AnnounceReady);
        }
        if crews[1..].iter().any(Crew::is_deserted) {
            self.withdraw(actions);
        }
    }

    /// Takes back what was said.
    pub(crate) fn withdraw(&mut self, actions: &mut Vec<Action>) {
        self.due = None;
        if std::mem::take(&mut self.announced) {
            actions.push(Action::WithdrawReady);
        }
    }

    /// When time alone makes something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due
    }
}

/// Each process once.
fn tell(occupant: &mut Occupant, actions: &mut Vec<Action>) {
    if occupant.is_ready() && occupant.knows == Knows::No {
        occupant.knows = Knows::Told;
        actions.push(Action::Send { to: occupant.id, frame: Frame::new(Kind::ClusterReady, 0, vec![]) });
    }
}
