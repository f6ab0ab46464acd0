//! Which process should run in which slot, and the next step from what is to what should be. Pure.
//!
//! The supervisor *converges*: every event first changes what is known, then `converge` compares it with
//! what should be and takes whatever steps are possible now.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::event::{Action, ChildId, Outcome, Report};
use super::post::{Occupant, Post, Stage};
use super::rules::{Rules, later};
use crate::bus::control::Failure;
use crate::bus::frame::{Frame, Kind};
use crate::exit::{Ended, Exit, Reason, explain};
use crate::role::Slot;
use crate::status::ClusterState;

/// Supervises one agent and the workers.
#[derive(Debug)]
pub(crate) struct Supervisor {
    rules: Rules,
    /// The agent first, then the workers.
    posts: Vec<Post>,
    phase: Phase,
    generation: u64,
    next_id: u64,
    agent_was_ready: bool,
    /// Once everybody has been ready at the same time, for good.
    up: bool,
    announced: bool,
}

#[derive(Debug)]
enum Phase {
    Running,
    Stopping { fast: bool, grace: Duration, outcome: Outcome },
    Finished,
}

impl Supervisor {
    pub(crate) fn new(rules: Rules, workers: impl IntoIterator<Item = Slot>, now: Instant) -> Self {
        let posts = std::iter::once(Slot::Agent).chain(workers).map(|slot| Post::new(slot, now)).collect();
        Self {
            rules,
            posts,
            phase: Phase::Running,
            generation: 1,
            next_id: 1,
            agent_was_ready: false,
            up: false,
            announced: false,
        }
    }

    pub(crate) fn spawned(&mut self, id: ChildId, pid: u32) {
        if let Some((_, occupant)) = self.find(id) {
            occupant.pid = Some(pid);
        }
    }

    pub(crate) fn ready(&mut self, id: ChildId, now: Instant, actions: &mut Vec<Action>) {
        let Some((slot, occupant)) = self.find(id) else {
            return;
        };
        if !matches!(occupant.stage, Stage::Starting { .. }) {
            return;
        }
        occupant.stage = Stage::Ready;
        occupant.ready_since = Some(now);
        let took = now - occupant.since;
        actions.push(Action::Report(Report::Ready { slot: slot.clone(), took }));
        self.agent_was_ready |= slot.is_agent();
    }

    /// Keeps a process's last words until it ends.
    pub(crate) fn confessed(&mut self, id: ChildId, failure: Failure) {
        if let Some((_, occupant)) = self.find(id) {
            occupant.last_words = Some(failure);
        }
    }

    /// A process without a link has a moment to end by itself.
    pub(crate) fn link_lost(
        &mut self,
        id: ChildId,
        problem: Option<String>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let until = later(now, self.rules.link_grace);
        let Some((slot, occupant)) = self.find(id) else {
            return;
        };
        if !matches!(occupant.stage, Stage::Starting { .. } | Stage::Ready) {
            return;
        }
        occupant.stage = Stage::Leaving { until, blame: Reason::LinkLost };
        if let Some(problem) = problem {
            actions.push(Action::Report(Report::LinkLost { slot, problem }));
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
        let Some(post) = self.post_of(id) else { return };
        let Some(occupant) = post.occupant.as_ref() else {
            return;
        };
        let status = ended.status;
        let reason = explain(&ended, occupant.was_asked(), occupant.killed_for());
        let said = occupant.last_words.as_ref().map(|failure| failure.reason.clone());
        let message = said.or_else(|| ended.testimony(reason));
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
        let (up, rules, running) = (self.up, self.rules, matches!(self.phase, Phase::Running));
        let Some(post) = self.post_of(id) else { return };
        let detail = post.vacate(exit.clone(), &rules, now);
        let (slot, tries) = (post.slot.clone(), post.tries);
        let retry_in = running.then(|| post.due.saturating_duration_since(now));
        let hopeless =
            matches!(exit.reason, Reason::Config | Reason::NotReady) || tries >= rules.boot_attempts;
        let fails = running && !up && hopeless;
        if fails {
            // The outcome says it all.
            return self.begin_stop(true, None, Outcome::failed_start(&slot, &exit, tries, detail), actions);
        }
        actions.push(Action::Report(Report::Exited { slot, exit, retry_in }));
    }

    /// Begins to stop; a second call can make it a faster one.
    pub(crate) fn stop(&mut self, fast: bool, timeout: Option<Duration>, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Running => {
                actions.push(Action::Report(Report::Stopping));
                self.begin_stop(fast, timeout, Outcome::done(), actions);
            }
            Phase::Stopping { fast: already, grace, .. } => {
                *already |= fast;
                *grace = timeout.map_or(*grace, |timeout| timeout.min(*grace));
            }
            Phase::Finished => {}
        }
    }

    fn begin_stop(
        &mut self,
        fast: bool,
        timeout: Option<Duration>,
        outcome: Outcome,
        actions: &mut Vec<Action>,
    ) {
        let grace = timeout.unwrap_or(self.rules.stop_timeout);
        self.phase = Phase::Stopping { fast, grace, outcome };
        self.withdraw(actions);
        actions.push(Action::CloseListeners);
    }

    fn withdraw(&mut self, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.announced) {
            actions.push(Action::WithdrawReady);
        }
    }

    /// Takes every step that is possible now.
    pub(crate) fn converge(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for post in &mut self.posts {
            post.enforce_deadline(now, actions);
        }
        match &self.phase {
            Phase::Running => {
                self.fill_slots(now, actions);
                self.announce(actions);
            }
            Phase::Stopping { fast, grace, .. } => {
                let (fast, grace) = (*fast, *grace);
                self.empty_slots(fast, grace, now, actions);
            }
            Phase::Finished => {}
        }
    }

    /// The agent first; workers only after it has been ready once.
    fn fill_slots(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let (agent_was_ready, generation) = (self.agent_was_ready, self.generation);
        let until = later(now, self.rules.ready_timeout);
        for post in self.posts.iter_mut().filter(|post| post.slot.is_agent() || agent_was_ready) {
            if post.occupant.is_some() || post.due > now {
                continue;
            }
            let id = ChildId(self.next_id);
            self.next_id += 1;
            post.occupy(Occupant::new(id, generation, now, until));
            actions.push(Action::Spawn { id, slot: post.slot.clone(), generation });
        }
    }

    /// Tells everybody, once each, that the whole cluster has been ready. Outside, it counts as ready again
    /// when everybody is, and as not ready when nobody serves.
    fn announce(&mut self, actions: &mut Vec<Action>) {
        if !self.up && self.posts.iter().all(Post::is_ready) {
            self.up = true;
            self.posts.iter_mut().for_each(|post| post.tries = 0);
        }
        if !self.up {
            return;
        }
        for occupant in self.posts.iter_mut().filter_map(|post| post.occupant.as_mut()) {
            if matches!(occupant.stage, Stage::Ready) && !occupant.told {
                occupant.told = true;
                actions
                    .push(Action::Send { to: occupant.id, frame: Frame::new(Kind::ClusterReady, 0, vec![]) });
            }
        }
        if !self.announced && self.posts.iter().all(Post::is_ready) {
            self.announced = true;
            actions.push(Action::AnnounceReady);
        }
        if !self.posts[1..].iter().any(Post::is_ready) {
            self.withdraw(actions);
        }
    }

    /// Workers first, the agent last; a fast stop asks everybody at once and waits a moment only.
    fn empty_slots(&mut self, fast: bool, grace: Duration, now: Instant, actions: &mut Vec<Action>) {
        let workers_left = self.posts[1..].iter().any(|post| post.occupant.is_some());
        let grace = if fast { Duration::ZERO } else { grace };
        let margin = self.rules.kill_margin;
        for post in self.posts.iter_mut().filter(|post| fast || !workers_left || !post.slot.is_agent()) {
            post.ask_to_leave(grace, margin, now, actions);
        }
        if self.posts.iter().all(|post| post.occupant.is_none())
            && let Phase::Stopping { outcome, .. } = std::mem::replace(&mut self.phase, Phase::Finished)
        {
            actions.push(Action::Finish(outcome));
        }
    }

    /// When `converge` wants to be called again, if time alone can change anything.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let running = matches!(self.phase, Phase::Running);
        self.posts
            .iter()
            .filter_map(|post| match &post.occupant {
                Some(occupant) => occupant.deadline(),
                None => (running && (post.slot.is_agent() || self.agent_was_ready)).then_some(post.due),
            })
            .min()
    }

    pub(crate) fn state(&self) -> ClusterState {
        match self.phase {
            Phase::Running if !self.up => ClusterState::Starting,
            Phase::Running if self.posts.iter().all(Post::is_ready) => ClusterState::Running,
            Phase::Running => ClusterState::Degraded,
            Phase::Stopping { .. } | Phase::Finished => ClusterState::Stopping,
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// Where a living child belongs.
    pub(crate) fn slot_of(&self, id: ChildId) -> Option<&Slot> {
        self.posts.iter().find(|post| post.holds(id)).map(|post| &post.slot)
    }

    fn post_of(&mut self, id: ChildId) -> Option<&mut Post> {
        self.posts.iter_mut().find(|post| post.holds(id))
    }

    fn find(&mut self, id: ChildId) -> Option<(Slot, &mut Occupant)> {
        let post = self.post_of(id)?;
        let slot = post.slot.clone();
        post.occupant.as_mut().map(|occupant| (slot, occupant))
    }
}

#[cfg(test)]
mod tests;
