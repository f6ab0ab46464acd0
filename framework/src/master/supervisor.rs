//! Which process should run in which slot, and the next step from what is to what should be. Pure.
//!
//! The supervisor *converges*: every event first changes what is known, then `converge` compares it with
//! what should be and takes whatever steps are possible now.

mod generations;
mod stopping;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::announcement::Announcement;
use super::crew::{Crew, FIRST, Turn};
use super::departure::Departure;
use super::event::{Action, ChildId, Outcome, Report};
use super::exchange::Seat;
use super::occupant::Occupant;
use super::post::{Post, Vacated};
use super::rules::Rules;
use crate::bus::peer::{Address, Form};
use crate::events::{ClusterEvent, Present};
use crate::exit::{Ended, Exit, Reason, explain};
use crate::role::Slot;
use crate::status::ClusterState;

/// Supervises one agent and the groups of workers.
#[derive(Debug)]
pub(crate) struct Supervisor {
    rules: Rules,
    /// The agent first, then the groups.
    crews: Vec<Crew>,
    phase: Phase,
    /// In force.
    generation: u64,
    /// The last process that ended before it was ready: its generation, and how it ended.
    stillborn: Option<(u64, String)>,
    next_id: u64,
    agent_was_ready: bool,
    announcement: Announcement,
}

#[derive(Debug)]
enum Phase {
    Running,
    /// Until `from` everything goes on, although everybody knows of the stop.
    Stopping {
        from: Instant,
        fast: bool,
        grace: Duration,
        outcome: Outcome,
        closed: bool,
    },
    Finished,
}

impl Supervisor {
    /// Supervises `agent` and `groups`, of which nothing runs yet.
    pub(crate) fn new(rules: Rules, agent: Crew, groups: impl IntoIterator<Item = Crew>) -> Self {
        Self {
            rules,
            crews: std::iter::once(agent).chain(groups).collect(),
            phase: Phase::Running,
            generation: FIRST,
            stillborn: None,
            next_id: 1,
            agent_was_ready: false,
            announcement: Announcement::new(rules.confirm_timeout),
        }
    }

    /// A worker wants to be replaced.
    pub(crate) fn retire(&mut self, id: ChildId, why: String, now: Instant, actions: &mut Vec<Action>) {
        if let Some(crew) = self.crew_of(id) {
            crew.depart(id, Departure::Retired(why), now, actions);
        }
    }

    pub(crate) fn exited(
        &mut self,
        id: ChildId,
        ended: Ended,
        at: DateTime<Utc>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some((_, occupant)) = self.occupant(id) else { return };
        let reason = explain(&ended, occupant.asked(), occupant.killed_for());
        let said = occupant.last_words.as_ref().map(|failure| failure.reason.clone());
        let said = said.or_else(|| occupant.cut_off.clone());
        let (status, message) = (ended.status, said.or_else(|| ended.testimony(reason)));
        self.vacate(id, Exit::new(Some(status), reason, message, at), now, actions);
    }

    pub(crate) fn not_spawned(
        &mut self,
        id: ChildId,
        problem: String,
        at: DateTime<Utc>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.vacate(id, Exit::new(None, Reason::NotSpawned, Some(problem), at), now, actions);
    }

    fn vacate(&mut self, id: ChildId, exit: Exit, now: Instant, actions: &mut Vec<Action>) {
        let Some(crew) = self.crew_of(id) else { return };
        let Some(Vacated { slot, member, tries, stillborn, detail, retry_at, gave_up }) =
            crew.vacate(id, exit.clone(), now)
        else {
            return;
        };
        let (group, problem) = (slot.group().to_owned(), format!("{slot} {exit}"));
        if stillborn {
            let words = if detail.is_empty() { problem.clone() } else { format!("{problem}\n{detail}") };
            self.stillborn = Some((member.generation, words));
        }
        let running = matches!(self.phase, Phase::Running);
        let up = self.announcement.is_up();
        let hopeless =
            matches!(exit.reason, Reason::Config | Reason::NotReady) || tries >= self.rules.boot_attempts;
        if running && !up && hopeless {
            // The outcome says it all.
            let outcome = Outcome::failed_start(&slot, &exit, tries, detail);
            return self.begin_stop(true, None, outcome, now, actions);
        }
        let retry_in_ms = retry_at
            // A reload that fails starts no next one of its generation.
            .filter(|_| running && !(stillborn && member.generation > self.generation))
            .map(|at| u64::try_from(at.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX));
        report(ClusterEvent::Exited { member, exit, retry_in_ms }, actions);
        if running && gave_up {
            report(ClusterEvent::GaveUp { group, problem: problem.clone() }, actions);
        }
        if running && up && self.has_given_up() {
            self.begin_stop(true, None, Outcome::gave_up(&problem, detail), now, actions);
        }
    }

    /// Whether no group can serve any more. Groups that rest do not count.
    fn has_given_up(&self) -> bool {
        let mut groups = self.groups().iter().filter(|crew| crew.wanted() > 0).peekable();
        groups.peek().is_some() && groups.all(Crew::has_given_up)
    }

    /// Takes every step that is possible now.
    pub(crate) fn converge(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for crew in &mut self.crews {
            crew.enforce_deadlines(now, actions);
        }
        match &self.phase {
            Phase::Running => {
                self.fill_slots(now, actions);
                self.announcement.update(&mut self.crews, now, actions);
            }
            Phase::Stopping { .. } if self.held_until().is_some_and(|until| now < until) => {}
            Phase::Stopping { .. } => self.empty_slots(now, actions),
            Phase::Finished => {}
        }
    }

    /// The agent first; workers only after it has been ready once.
    fn fill_slots(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.agent_was_ready |= self.crews[0].is_whole();
        let crews = if self.agent_was_ready { &mut self.crews[..] } else { &mut self.crews[..1] };
        let mut turn = Turn { now, next_id: &mut self.next_id, actions };
        for crew in crews {
            crew.converge(&mut turn);
        }
    }

    /// When `converge` wants to be called again, if time alone can change anything.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let running = matches!(self.phase, Phase::Running);
        let active = if self.agent_was_ready { &self.crews[..] } else { &self.crews[..1] };
        let dues = active.iter().filter_map(Crew::due).filter(|_| running);
        let announcement = self.announcement.deadline();
        let processes = self.crews.iter().filter_map(Crew::deadline);
        processes.chain(dues).chain(announcement).chain(self.held_until()).min()
    }

    /// Whether anything is under way that has a deadline.
    pub(crate) fn is_bounded(&self) -> bool {
        let waits = |crew: &Crew| crew.due().is_some() || crew.occupants().any(Occupant::is_bounded);
        self.held_until().is_some() || self.crews.iter().any(waits)
    }

    /// Moves every deadline of the processes, because the master itself was asleep for so long.
    pub(crate) fn forgive(&mut self, nap: Duration) {
        self.crews.iter_mut().flat_map(Crew::occupants_mut).for_each(|occupant| occupant.forgive(nap));
    }

    /// Changes how many workers a group should have, and returns how many it had to have.
    pub(crate) fn scale(
        &mut self,
        group: &str,
        to: u32,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Option<u32> {
        let crew = self.crews[1..].iter_mut().find(|crew| crew.name == group)?;
        let from = crew.wanted();
        if from != to {
            crew.scale(to, self.generation, now);
            report(ClusterEvent::Scaled { group: group.to_owned(), from, to }, actions);
        }
        Some(from)
    }

    pub(crate) fn state(&self) -> ClusterState {
        match self.phase {
            Phase::Running if !self.announcement.is_up() => ClusterState::Starting,
            Phase::Running if self.crews.iter().all(Crew::is_whole) => ClusterState::Running,
            Phase::Running => ClusterState::Degraded,
            Phase::Stopping { .. } | Phase::Finished => ClusterState::Stopping,
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The agent, as a crew of one.
    pub(crate) fn agent_crew(&self) -> &Crew {
        &self.crews[0]
    }

    /// The agent's post.
    pub(crate) fn agent(&self) -> &Post {
        &self.crews[0].posts[0]
    }

    /// The groups of workers.
    pub(crate) fn groups(&self) -> &[Crew] {
        &self.crews[1..]
    }

    /// All slots that somebody will fill again, and who can be sent to. While a stop is under way there are none: nothing
    /// waits for whoever comes next.
    pub(crate) fn seats(&self) -> (Vec<Address>, Vec<Seat>) {
        let running = matches!(self.phase, Phase::Running);
        let (mut slots, mut seats) = (Vec::new(), Vec::new());
        for (slot, post) in self.places() {
            slots.extend((post.wanted && running).then_some(slot));
            seats.extend(post.occupants.iter().filter_map(|occupant| occupant.seat(slot)));
        }
        (slots, seats)
    }

    /// The slots in which nobody is, and the next one comes late.
    pub(crate) fn given_up(&self) -> BTreeSet<Address> {
        self.places().filter(|(_, post)| post.has_given_up()).map(|(slot, _)| slot).collect()
    }

    /// Each post with its address.
    fn places(&self) -> impl Iterator<Item = (Address, &Post)> {
        let crews = self.crews.iter().enumerate();
        crews.flat_map(|(place, crew)| {
            // The agent comes first.
            let group = place.checked_sub(1).and_then(|group| u8::try_from(group).ok());
            crew.posts.iter().map(move |post| {
                let index = u16::try_from(post.slot.index()).unwrap_or(u16::MAX);
                let worker = |group| Address { group, index, ..Address::to(Form::Worker) };
                (group.map_or(Address::AGENT, worker), post)
            })
        })
    }

    /// Who is there, by slots.
    pub(crate) fn present(&self) -> Vec<Present> {
        let posts = self.crews.iter().flat_map(|crew| &crew.posts);
        posts.flat_map(|post| post.occupants.iter().filter_map(|it| it.present(&post.slot))).collect()
    }

    /// Where a living child belongs.
    pub(crate) fn slot_of(&self, id: ChildId) -> Option<&Slot> {
        let mut posts = self.crews.iter().flat_map(|crew| &crew.posts);
        posts.find(|post| post.holds(id)).map(|post| &post.slot)
    }

    /// A living child and its slot.
    pub(crate) fn occupant(&mut self, id: ChildId) -> Option<(Slot, &mut Occupant)> {
        let post = self.crew_of(id)?.post_of(id)?;
        let slot = post.slot.clone();
        post.occupant(id).map(|occupant| (slot, occupant))
    }

    fn crew_of(&mut self, id: ChildId) -> Option<&mut Crew> {
        self.crews.iter_mut().find(|crew| crew.posts.iter().any(|post| post.holds(id)))
    }
}

fn report(event: ClusterEvent, actions: &mut Vec<Action>) {
    actions.push(Action::Report(Report::Event(event)));
}

#[cfg(test)]
mod tests;
