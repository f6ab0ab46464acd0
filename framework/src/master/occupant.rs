//! One process that fills a slot, from its start to its end: its stage, its signs of life, and why it is to be
//! replaced, if it is. Pure.

mod silence;
mod stage;

use std::time::{Duration, Instant};

use super::departure::Departure;
use super::event::{Action, ChildId, Report};
use super::exchange::{Seat, Standing};
use super::recycling::Wear;
use super::rules::{CrewRules, later};
use crate::bus::control::{ANNOUNCEMENT, Failure, Pulse, SUCCESSION};
use crate::bus::frame::{Frame, Kind};
use crate::bus::peer::Address;
use crate::events::{self, ClusterEvent, Member, Present};
use crate::exit::Reason;
use crate::role::Slot;
use crate::status::ProcessState;

pub(crate) use self::stage::Stage;

/// How long a process may live on without its link.
const LINK_GRACE: Duration = Duration::from_secs(1);

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
    /// The last sign of life, the hello being the first.
    pub(crate) heard: Option<Instant>,
    /// Why another one is to take its place.
    pub(crate) departure: Option<Departure>,
    /// How long it may take to leave if it turns out to be ready.
    reprieve: Option<Instant>,
    pub(crate) knows: Knows,
    /// Whether it can do no more before it leads; the agent's.
    pub(crate) stands_by: bool,
    /// Whether it has taken leave, and gets nothing more that wants a reader.
    has_parted: bool,
    pub(crate) last_words: Option<Failure>,
    /// Why we closed its link, if we did.
    pub(crate) cut_off: Option<String>,
    pub(crate) pulse: Pulse,
    pub(crate) wear: Wear,
}

/// Whether a process knows that the cluster is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knows {
    No,
    Told,
    Confirmed,
}

impl Occupant {
    pub(crate) fn new(id: ChildId, generation: u64, now: Instant, rules: &CrewRules) -> Self {
        Self {
            id,
            pid: None,
            generation,
            since: now,
            stage: Stage::Starting { until: later(now, rules.ready_timeout) },
            ready_since: None,
            heard: None,
            departure: None,
            reprieve: None,
            knows: Knows::No,
            stands_by: false,
            has_parted: false,
            last_words: None,
            cut_off: None,
            pulse: Pulse::default(),
            wear: Wear::new(rules.limits.spread(id.0)),
        }
    }

    pub(crate) fn member(&self, slot: &Slot) -> Member {
        Member::new(slot, self.pid, self.generation)
    }

    /// Whether it works. Who takes leave does no more, although nobody asked it to leave.
    pub(crate) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready && !self.has_parted
    }

    /// What the status says of it.
    pub(crate) fn state(&self) -> ProcessState {
        match self.stage {
            Stage::Starting { .. } => ProcessState::Starting,
            _ if self.is_ready() => ProcessState::Ready,
            _ => ProcessState::Draining,
        }
    }

    /// What others are told of it; nothing of one that is as good as gone.
    pub(crate) fn present(&self, slot: &Slot) -> Option<Present> {
        let standing = match self.seat(Address::default())?.standing {
            Standing::Starting => events::Standing::Starting,
            Standing::Ready => events::Standing::Ready,
            Standing::Leaving | Standing::Parted => events::Standing::Leaving,
        };
        Some(Present { member: self.member(slot), standing })
    }

    /// Its place in `slot` for those who send to it; none for one that is as good as gone.
    pub(crate) fn seat(&self, slot: Address) -> Option<Seat> {
        let standing = match self.stage {
            Stage::Leaving { asked: None, .. } | Stage::Aborting { .. } | Stage::Dying { .. } => return None,
            _ if self.has_parted => Standing::Parted,
            Stage::Ready => Standing::Ready,
            Stage::Starting { .. } => Standing::Starting,
            Stage::Leaving { .. } => Standing::Leaving,
        };
        Some(Seat { id: self.id, address: Address { pid: self.pid?, ..slot }, standing })
    }

    /// Whether it works, or is about to.
    pub(crate) fn is_active(&self) -> bool {
        self.stage.is_active()
    }

    /// Whether it has a time by which it must have come further.
    pub(crate) fn is_bounded(&self) -> bool {
        self.stage.until().is_some()
    }

    /// Whether it was ready long enough for its death to be no sign of a fault at its start.
    pub(crate) fn is_stable(&self, now: Instant, rules: &CrewRules) -> bool {
        self.ready_since.is_some_and(|since| now.saturating_duration_since(since) >= rules.stable_after)
    }

    /// Why we asked it to leave, or cut it off, if we did.
    pub(crate) fn asked(&self) -> Option<Reason> {
        self.stage.asked().or(self.cut_off.as_ref().map(|_| Reason::LinkLost))
    }

    /// Why we killed it, if we did.
    pub(crate) fn killed_for(&self) -> Option<Reason> {
        self.stage.killed_for()
    }

    /// It runs.
    pub(crate) fn spawned(&mut self, slot: &Slot, pid: u32, actions: &mut Vec<Action>) {
        self.pid = Some(pid);
        let member = self.member(slot);
        actions.push(Action::Report(Report::Event(ClusterEvent::Spawned { member })));
    }

    /// It can do its work.
    pub(crate) fn ready(&mut self, slot: &Slot, now: Instant, actions: &mut Vec<Action>) {
        if let (Stage::Leaving { until, .. }, Some(in_full)) = (&mut self.stage, self.reprieve.take()) {
            // The news that it should leave crossed the news that it was ready.
            *until = in_full;
        }
        if !matches!(self.stage, Stage::Starting { .. }) {
            return;
        }
        self.stage = Stage::Ready;
        self.ready_since = Some(now);
        let took_ms = milliseconds(now.saturating_duration_since(self.since));
        let member = self.member(slot);
        actions.push(Action::Report(Report::Event(ClusterEvent::Ready { member, took_ms })));
    }

    /// It has done its work. All that it is to read is before the farewell, and that is said once.
    pub(crate) fn part(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.has_parted, true) {
            actions.push(Action::Send { to: self.id, frame: Frame::new(Kind::Farewell, 0, vec![]) });
        }
    }

    /// It has a moment to end by itself, without its link. Who leaves already keeps its time.
    pub(crate) fn link_lost(
        &mut self,
        slot: &Slot,
        problem: Option<String>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if !self.is_active() {
            if problem.is_some() && matches!(self.stage, Stage::Leaving { .. }) {
                // It would be sent to, and perhaps wait for a farewell, until its time is up.
                self.part(actions);
            }
            return;
        }
        self.stage = Stage::Leaving { until: later(now, LINK_GRACE), asked: None };
        if let Some(problem) = problem {
            self.cut_off = Some(problem.clone());
            actions.push(Action::Report(Report::LinkLost { slot: slot.clone(), problem }));
            // If what it sent was wrong, it may still hear us.
            let frame = Frame::new(Kind::Shutdown, milliseconds(LINK_GRACE), vec![]);
            actions.push(Action::Send { to: self.id, frame });
            // It is not heard any more: should it take leave, it need not wait for what is said now.
            self.part(actions);
        }
    }

    /// Takes its figures.
    pub(crate) fn take(&mut self, pulse: Pulse) {
        self.wear.take(&pulse);
        self.pulse = pulse;
    }

    /// When something is to be done about this process, if it stays as it is.
    pub(crate) fn deadline(&self, rules: &CrewRules) -> Option<Instant> {
        [self.stage.until(), self.silent_at(rules)].into_iter().flatten().min()
    }

    /// Aborts a process that is silent, and kills one whose time is up.
    pub(crate) fn enforce_deadline(
        &mut self,
        slot: &Slot,
        rules: &CrewRules,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if let Some(blame) = self.stage.overdue(now) {
            self.kill(slot, blame, actions);
        } else if self.silent_at(rules).is_some_and(|at| at <= now) {
            self.fall_silent(slot, rules, now, actions);
        }
    }

    fn kill(&mut self, slot: &Slot, blame: Reason, actions: &mut Vec<Action>) {
        self.stage = Stage::Dying { blame };
        actions.push(Action::Report(Report::Killing { slot: slot.clone(), reason: blame }));
        actions.push(Action::Kill { id: self.id });
    }

    /// Asks a process to leave, unless it was already asked to do so at least as soon. One that is not ready has nothing
    /// to finish and leaves at once; whether it is, it knows best: it may have said so a moment ago.
    pub(crate) fn ask_to_leave(
        &mut self,
        slot: &Slot,
        reason: Reason,
        grace: Duration,
        rules: &CrewRules,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let in_full = later(now, grace.saturating_add(rules.kill_margin));
        let is_starting = matches!(self.stage, Stage::Starting { .. });
        let mut until = if is_starting { later(now, rules.kill_margin) } else { in_full };
        self.reprieve = is_starting.then_some(in_full);
        match self.stage {
            Stage::Starting { .. } | Stage::Ready => {
                let member = self.member(slot);
                actions.push(Action::Report(Report::Event(ClusterEvent::Draining { member })));
            }
            Stage::Leaving { until: earlier, .. } if until < earlier => {}
            // It gives idle clients time that there is not at a stop.
            Stage::Leaving { until: earlier, asked: Some(asked) }
                if reason == Reason::Stopped && asked != reason =>
            {
                until = earlier;
            }
            Stage::Aborting { until } => {
                return self.examine_until(later(now, grace).min(until), slot, now, actions);
            }
            _ => return,
        }
        self.stage = Stage::Leaving { until, asked: Some(reason) };
        // Clients of one that leaves alone have all the time; at a stop nobody comes after it.
        let occasion = if reason == Reason::Stopped { &[] } else { SUCCESSION };
        actions.push(Action::Send {
            to: self.id,
            frame: Frame::new(Kind::Shutdown, milliseconds(grace), occasion),
        });
    }

    /// Tells one that works of a stop that will take this long. Whoever does not know the word leaves at once.
    pub(crate) fn announce_stop(&self, time: Duration, actions: &mut Vec<Action>) {
        if self.is_ready() {
            let frame = Frame::new(Kind::Shutdown, milliseconds(time), ANNOUNCEMENT);
            actions.push(Action::Send { to: self.id, frame });
        }
    }

    /// Moves every deadline, because the master itself was asleep for so long.
    pub(crate) fn forgive(&mut self, nap: Duration) {
        self.stage.forgive(nap);
        if let Some(heard) = &mut self.heard {
            *heard += nap;
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
