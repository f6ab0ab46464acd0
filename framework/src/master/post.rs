//! A post: one slot with the processes in it, and what is remembered of their predecessors. As a rule there is one
//! process; during a succession there are two, the one that leaves and the one that takes its place. Pure.

use std::time::Instant;

use super::budget::Budget;
use super::departure::Departure;
use super::event::{Action, ChildId, Report};
use super::occupant::{Occupant, Stage};
use super::rules::{CrewRules, later};
use crate::bus::frame::{Frame, Kind};
use crate::events::{ClusterEvent, Member};
use crate::exit::{Exit, Reason};
use crate::role::Slot;
use crate::status::ProcessState;

/// A slot has no more processes than this, however often it is scaled or succeeded.
const MOST: usize = 2;

/// A slot and its history.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) slot: Slot,
    /// Whose processes are started here.
    pub(crate) generation: u64,
    /// Whether the one that leaves does not wait for the one that comes.
    leave_first: bool,
    /// Whether anybody should be here; fewer may be wanted than there were.
    pub(crate) wanted: bool,
    /// In the order of their start.
    pub(crate) occupants: Vec<Occupant>,
    /// Processes that ended before the first cluster-ready.
    pub(crate) tries: u32,
    /// Processes in a row that ended, or wanted to, before they were stable.
    failures: u32,
    /// Those of them that ended.
    deaths: u32,
    /// Whether the budget was spent when the last one died.
    pub(crate) gave_up: bool,
    /// Whether the last one died and nobody has taken its place.
    bereft: bool,
    last_death: Option<Instant>,
    /// Processes that replaced a dead one.
    pub(crate) restarts: u64,
    /// When the next process may be started.
    due: Instant,
    pub(crate) last_exit: Option<Exit>,
}

/// What the supervisor has to know of an end.
#[derive(Debug)]
pub(crate) struct Vacated {
    pub(crate) slot: Slot,
    pub(crate) member: Member,
    /// How many ended before the first cluster-ready.
    pub(crate) tries: u32,
    /// Whether it ended before it was ready, without having been asked to leave.
    pub(crate) stillborn: bool,
    /// The rest of the last words.
    pub(crate) detail: String,
    /// When the next one may be started, if one is missing.
    pub(crate) retry_at: Option<Instant>,
    /// Whether the budget was spent by this.
    pub(crate) gave_up: bool,
}

impl Post {
    pub(crate) fn new(slot: Slot, generation: u64, now: Instant) -> Self {
        Self {
            slot,
            generation,
            leave_first: false,
            wanted: true,
            occupants: Vec::new(),
            tries: 0,
            failures: 0,
            deaths: 0,
            gave_up: false,
            bereft: false,
            last_death: None,
            restarts: 0,
            due: now,
            last_exit: None,
        }
    }

    pub(crate) fn occupant(&mut self, id: ChildId) -> Option<&mut Occupant> {
        self.occupants.iter_mut().find(|occupant| occupant.id == id)
    }

    pub(crate) fn holds(&self, id: ChildId) -> bool {
        self.occupants.iter().any(|occupant| occupant.id == id)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.occupants.iter().any(Occupant::is_ready)
    }

    /// Whether a process should be started now. A successor takes up its work beside the one that leaves;
    /// otherwise the slot has to be empty, but for those who were asked to leave.
    pub(crate) fn is_due(&self, may_succeed: bool, now: Instant) -> bool {
        self.lacks(may_succeed) && self.due <= now
    }

    /// When a process should be started, if one is missing.
    pub(crate) fn due(&self, may_succeed: bool) -> Option<Instant> {
        self.lacks(may_succeed).then_some(self.due)
    }

    fn lacks(&self, may_succeed: bool) -> bool {
        let blocks = |occupant: &Occupant| match occupant.stage {
            Stage::Starting { .. } | Stage::Ready => match &occupant.departure {
                None => true,
                Some(Departure::Reloaded) => self.leave_first,
                Some(_) => !may_succeed,
            },
            Stage::Leaving { asked, .. } => asked.is_none(),
            Stage::Aborting { .. } | Stage::Dying { .. } => true,
        };
        self.wanted && self.occupants.len() < MOST && !self.occupants.iter().any(blocks)
    }

    pub(crate) fn occupy(&mut self, occupant: Occupant) {
        self.restarts += u64::from(std::mem::take(&mut self.bereft));
        self.occupants.push(occupant);
    }

    /// Has a process replaced. One that is unwell counts as a failure: its successors may be no better.
    pub(crate) fn depart(
        &mut self,
        id: ChildId,
        departure: Departure,
        rules: &CrewRules,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(at) = self.occupants.iter().position(|occupant| occupant.id == id) else {
            return;
        };
        let occupant = &mut self.occupants[at];
        if !occupant.is_active() || occupant.departure.is_some() {
            return;
        }
        let (member, why) = (occupant.member(&self.slot), departure.why().to_owned());
        let stable = occupant.is_stable(now, rules);
        if matches!(departure, Departure::Retired(_)) {
            self.failures = if stable { 1 } else { self.failures + 1 };
            self.due = later(now, rules.backoff.delay(self.failures, id.0));
        }
        occupant.departure = Some(departure);
        actions.push(Action::Report(Report::Event(ClusterEvent::Retiring { member, why })));
    }

    /// Makes another generation fill this slot; the processes of others work until theirs does, or leave first.
    pub(crate) fn advance(&mut self, to: u64, leave_first: bool, now: Instant, actions: &mut Vec<Action>) {
        (self.generation, self.leave_first) = (to, leave_first);
        (self.failures, self.due, self.gave_up) = (0, now, false);
        for occupant in self.occupants.iter_mut().filter(|occupant| occupant.is_active()) {
            if occupant.generation != to {
                let (member, why) = (occupant.member(&self.slot), Departure::Reloaded.why().to_owned());
                occupant.departure = Some(Departure::Reloaded);
                actions.push(Action::Report(Report::Event(ClusterEvent::Retiring { member, why })));
            }
        }
    }

    /// Gives the slot back to the generation that had it: what is left of that stays, what is new leaves.
    pub(crate) fn retreat(&mut self, from: u64, rules: &CrewRules, now: Instant, actions: &mut Vec<Action>) {
        (self.generation, self.leave_first) = (from, false);
        (self.failures, self.due) = (0, now);
        let old_works = |occupant: &Occupant| occupant.generation == from && occupant.is_active();
        let is_held = self.occupants.iter().any(old_works);
        for occupant in self.occupants.iter_mut().filter(|occupant| occupant.is_active()) {
            if occupant.generation == from {
                occupant.departure = None;
            } else if is_held || !occupant.is_ready() {
                let grace = rules.drain_timeout;
                occupant.ask_to_leave(&self.slot, Reason::Replaced, grace, rules, now, actions);
            } else {
                occupant.departure = Some(Departure::Reloaded);
            }
        }
    }

    pub(crate) fn leaves_first(&self) -> bool {
        self.leave_first
    }

    /// Whether the slot's generation works here, and nobody else does.
    pub(crate) fn is_settled(&self) -> bool {
        let ours = |occupant: &Occupant| occupant.generation == self.generation;
        let mut active = self.occupants.iter().filter(|occupant| occupant.is_active()).peekable();
        active.peek().is_some() && active.all(|occupant| ours(occupant) && occupant.is_ready())
    }

    /// The agent leads when it is alone; one that waits for that is told.
    pub(crate) fn appoint(&mut self, actions: &mut Vec<Action>) {
        if let [occupant] = &mut self.occupants[..]
            && std::mem::take(&mut occupant.stands_by)
        {
            actions.push(Action::Send { to: occupant.id, frame: Frame::new(Kind::Lead, 0, vec![]) });
        }
    }

    /// When the successor does the work, the one before it may finish and leave; who is not wanted leaves in any
    /// case.
    pub(crate) fn relieve(&mut self, rules: &CrewRules, now: Instant, actions: &mut Vec<Action>) {
        // A successor that is ready relieves the one before it, even if it wants to be succeeded itself.
        let relieves = |occupant: &Occupant| occupant.is_ready() || occupant.stands_by;
        let newest = self.occupants.iter().rposition(relieves).unwrap_or_default();
        let leave_first = self.leave_first;
        for (nth, occupant) in self.occupants.iter_mut().enumerate().filter(|(_, it)| it.is_active()) {
            let reason = match &occupant.departure {
                _ if !self.wanted => Reason::ScaledDown,
                Some(departure) if nth < newest || leave_first => departure.reason(),
                _ => continue,
            };
            occupant.ask_to_leave(&self.slot, reason, rules.drain_timeout, rules, now, actions);
        }
    }

    /// Takes a process out, and decides when the slot may be filled again.
    pub(crate) fn vacate(
        &mut self,
        id: ChildId,
        exit: Exit,
        rules: &CrewRules,
        budget: &mut Budget,
        now: Instant,
    ) -> Option<Vacated> {
        let at = self.occupants.iter().position(|occupant| occupant.id == id)?;
        let occupant = self.occupants.remove(at);
        let was_asked = matches!(
            exit.reason,
            Reason::Stopped
                | Reason::Retired
                | Reason::Recycled
                | Reason::Replaced
                | Reason::ScaledDown
                | Reason::DrainDeadline
        );
        self.last_exit = Some(exit);
        let gave_up = !was_asked && self.fail(&occupant, rules, budget, now);
        Some(Vacated {
            slot: self.slot.clone(),
            member: occupant.member(&self.slot),
            tries: self.tries,
            stillborn: !was_asked && occupant.ready_since.is_none(),
            detail: occupant.last_words.map(|words| words.detail).unwrap_or_default(),
            retry_at: self.due(true),
            gave_up,
        })
    }

    /// Counts a death, and tells whether this post gives up by it.
    fn fail(&mut self, occupant: &Occupant, rules: &CrewRules, budget: &mut Budget, now: Instant) -> bool {
        let stable = occupant.is_stable(now, rules);
        self.bereft = !self.occupants.iter().any(Occupant::is_active);
        self.last_death = Some(now);
        self.tries += 1;
        // One that wanted to be replaced has counted when it said so.
        let counts = u32::from(!matches!(occupant.departure, Some(Departure::Retired(_))));
        self.failures = if stable { 1 } else { self.failures + counts };
        self.deaths = if stable { 1 } else { self.deaths + 1 };
        // A lone slot dies too rarely to spend the budget: by then its delays are long.
        let in_vain = self.deaths > rules.restart_limit;
        let had_given_up = self.gave_up;
        self.gave_up = !stable && (budget.spend(now) || in_vain || had_given_up);
        let failures = if self.gave_up { u32::MAX } else { self.failures };
        self.due = later(now, rules.backoff.delay(failures, occupant.id.0));
        self.gave_up && !had_given_up
    }

    /// Forgets what was, once somebody here is stable, or works and nobody has died for as long as deaths count.
    pub(crate) fn recover(&mut self, rules: &CrewRules, now: Instant) {
        let stable = self.occupants.iter().any(|occupant| occupant.is_stable(now, rules));
        let quiet =
            self.last_death.is_none_or(|then| now.saturating_duration_since(then) >= rules.restart_period);
        if stable || quiet && self.is_ready() {
            (self.gave_up, self.deaths) = (false, 0);
        }
    }

    /// Whether nobody is here, and the next one comes late, because too many have died.
    pub(crate) fn has_given_up(&self) -> bool {
        self.gave_up && self.occupants.is_empty()
    }

    /// What the status says of the slot when nobody is in it; `retrying` tells whether it will be filled again.
    pub(crate) fn empty_state(&self, retrying: bool) -> ProcessState {
        match self.last_exit {
            _ if !retrying || !self.wanted => ProcessState::Exited,
            _ if self.gave_up => ProcessState::GaveUp,
            Some(_) => ProcessState::BackingOff,
            None => ProcessState::Starting,
        }
    }
}
