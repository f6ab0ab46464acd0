//! A post: one slot with the process that fills it now, and what is remembered of its predecessors. Pure.

use std::time::{Duration, Instant};

use super::event::{Action, ChildId, Report};
use super::rules::{Rules, later};
use crate::bus::control::Failure;
use crate::bus::frame::{Frame, Kind};
use crate::exit::{Exit, Reason};
use crate::role::Slot;
use crate::status::ProcessState;

/// A slot and its history.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) slot: Slot,
    pub(crate) occupant: Option<Occupant>,
    /// Processes that ended before the first cluster-ready.
    pub(crate) tries: u32,
    /// Processes in a row that ended before they were stable.
    failures: u32,
    /// Processes that replaced a dead one.
    pub(crate) restarts: u64,
    /// When the next process may be started.
    pub(crate) due: Instant,
    pub(crate) last_exit: Option<Exit>,
}

/// The process that fills a slot.
#[derive(Debug)]
pub(crate) struct Occupant {
    pub(crate) id: ChildId,
    pub(crate) pid: Option<u32>,
    pub(crate) generation: u64,
    pub(crate) since: Instant,
    pub(crate) stage: Stage,
    /// Since when it did its work, if it ever did.
    pub(crate) ready_since: Option<Instant>,
    /// Whether it knows that the cluster is ready.
    pub(crate) told: bool,
    pub(crate) last_words: Option<Failure>,
}

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has to be ready by then.
    Starting { until: Instant },
    /// It does its work.
    Ready,
    /// It has to be gone by then, or is killed for this reason.
    Leaving { until: Instant, blame: Reason },
    /// It was sent SIGKILL, for this reason.
    Dying { blame: Reason },
}

impl Post {
    pub(crate) fn new(slot: Slot, now: Instant) -> Self {
        Self { slot, occupant: None, tries: 0, failures: 0, restarts: 0, due: now, last_exit: None }
    }

    pub(crate) fn holds(&self, id: ChildId) -> bool {
        self.occupant.as_ref().is_some_and(|occupant| occupant.id == id)
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(&self.occupant, Some(Occupant { stage: Stage::Ready, .. }))
    }

    pub(crate) fn occupy(&mut self, occupant: Occupant) {
        self.restarts += u64::from(self.last_exit.is_some());
        self.occupant = Some(occupant);
    }

    /// Empties the slot, decides when it may be filled again, and returns the detail of the last words.
    pub(crate) fn vacate(&mut self, exit: Exit, rules: &Rules, now: Instant) -> String {
        let Some(occupant) = self.occupant.take() else {
            return String::new();
        };
        if occupant
            .ready_since
            .is_some_and(|since| now.saturating_duration_since(since) >= rules.stable_after)
        {
            self.failures = 0;
        }
        self.failures += 1;
        self.tries += 1;
        self.due = later(now, rules.backoff.delay(self.failures, occupant.id.0));
        self.last_exit = Some(exit);
        occupant.last_words.map(|words| words.detail).unwrap_or_default()
    }

    /// Kills a process whose time is up.
    pub(crate) fn enforce_deadline(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(occupant) = &mut self.occupant else {
            return;
        };
        let (until, blame) = match occupant.stage {
            Stage::Starting { until } => (until, Reason::NotReady),
            Stage::Leaving { until, blame } => (until, blame),
            Stage::Ready | Stage::Dying { .. } => return,
        };
        if until <= now {
            occupant.stage = Stage::Dying { blame };
            actions.push(Action::Report(Report::Killing { slot: self.slot.clone(), reason: blame }));
            actions.push(Action::Kill { id: occupant.id });
        }
    }

    /// Asks a process to leave, unless it was already asked to do so at least as soon. One that is not ready
    /// has nothing to finish and gets no time for it.
    pub(crate) fn ask_to_leave(
        &mut self,
        grace: Duration,
        margin: Duration,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(occupant) = &mut self.occupant else {
            return;
        };
        let grace = if matches!(occupant.stage, Stage::Starting { .. }) { Duration::ZERO } else { grace };
        let until = later(now, grace.saturating_add(margin));
        let asks = match occupant.stage {
            Stage::Starting { .. } | Stage::Ready => true,
            Stage::Leaving { until: earlier, .. } => until < earlier,
            Stage::Dying { .. } => false,
        };
        if asks {
            occupant.stage = Stage::Leaving { until, blame: Reason::DrainDeadline };
            let milliseconds = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            let frame = Frame::new(Kind::Shutdown, milliseconds, vec![]);
            actions.push(Action::Send { to: occupant.id, frame });
        }
    }

    /// What the status says; `retrying` tells whether an empty slot will be filled again.
    pub(crate) fn state(&self, retrying: bool) -> ProcessState {
        match &self.occupant {
            Some(occupant) => match occupant.stage {
                Stage::Starting { .. } => ProcessState::Starting,
                Stage::Ready => ProcessState::Ready,
                Stage::Leaving { .. } | Stage::Dying { .. } => ProcessState::Draining,
            },
            None if retrying && self.last_exit.is_some() => ProcessState::BackingOff,
            None if retrying => ProcessState::Starting,
            None => ProcessState::Exited,
        }
    }
}

impl Occupant {
    pub(crate) fn new(id: ChildId, generation: u64, since: Instant, until: Instant) -> Self {
        let stage = Stage::Starting { until };
        Self { id, pid: None, generation, since, stage, ready_since: None, told: false, last_words: None }
    }

    /// Whether we asked it to leave.
    pub(crate) fn was_asked(&self) -> bool {
        matches!(self.stage, Stage::Leaving { blame: Reason::DrainDeadline, .. })
    }

    /// Why we killed it, if we did.
    pub(crate) fn killed_for(&self) -> Option<Reason> {
        match self.stage {
            Stage::Dying { blame } => Some(blame),
            _ => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Starting { until } | Stage::Leaving { until, .. } => Some(until),
            Stage::Ready | Stage::Dying { .. } => None,
        }
    }
}
