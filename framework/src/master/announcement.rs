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
    whole_since: Option<Instant>,
    /// When it may be said aloud.
    due: Option<Instant>,
    announced: bool,
}

impl Announcement {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, up: false, whole_since: None, due: None, announced: false }
    }

    /// Whether everybody has been ready at the same time, once.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// Says what there is to say now.
    pub(crate) fn update(&mut self, crews: &mut [Crew], now: Instant, actions: &mut Vec<Action>) {
        let whole = crews.iter().all(Crew::is_whole);
        self.whole_since = if whole { self.whole_since.or(Some(now)) } else { None };
        if whole && !self.up {
            self.up = true;
            crews.iter_mut().flat_map(|crew| &mut crew.posts).for_each(|post| post.tries = 0);
        }
        if !self.up {
            return;
        }
        crews.iter_mut().flat_map(Crew::occupants_mut).for_each(|occupant| tell(occupant, actions));
        self.due = self.whole_since.filter(|_| !self.announced).map(|since| {
            let mut ready = crews.iter().flat_map(Crew::occupants).filter(|occupant| occupant.is_ready());
            let known = ready.all(|occupant| occupant.knows == Knows::Confirmed);
            if known { since } else { later(since, self.patience) }
        });
        if self.due.is_some_and(|due| due <= now) {
            (self.announced, self.due) = (true, None);
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
