//! A supervisor, a clock, and what it has asked for.

use std::collections::BTreeMap;

use super::super::*;
use crate::backoff::Backoff;
use crate::bus::control::Answer;
use crate::bus::control::Pulse;
use crate::exit::Status;
use crate::master::event::{Prepared, Reply};
use crate::master::pace::Pace;
use crate::master::reload::Reloading;
use crate::master::rules::CrewRules;
use crate::master::settings::ClusterSettings;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const S: Duration = Duration::from_secs(1);
pub(super) const FAILED: Status = Status::Code(1);
pub(super) const KILLED: Status = Status::Signal(9);

pub(super) fn rules() -> Rules {
    Rules {
        stop_timeout: 20 * S,
        stop_delay: Duration::ZERO,
        boot_attempts: 3,
        confirm_timeout: S,
        nap: 2 * S,
    }
}

/// The default rules, with a short margin.
pub(super) fn crew_rules() -> CrewRules {
    let backoff = Backoff { first: 100 * MS, most: 30 * S };
    CrewRules { kill_margin: S, backoff, ..CrewRules::new(&ClusterSettings::default(), 30 * S) }
}

pub(super) struct World {
    pub(super) supervisor: Supervisor,
    pub(super) reloading: Reloading,
    /// A generation whose program was asked for.
    pub(super) preparing: Option<u64>,
    pub(super) now: Instant,
    began: Instant,
    /// Living processes and where they belong.
    pub(super) alive: BTreeMap<ChildId, Slot>,
    /// Living processes that were sent SIGKILL, or SIGABRT.
    pub(super) condemned: Vec<ChildId>,
    /// Whether an agent has said ready, as this world saw it.
    agent_was_ready: bool,
    stopping: bool,
    pub(super) seen: Vec<String>,
    /// When the next one of each that has ended was said to be started.
    pub(super) retries: Vec<Option<u64>>,
    pub(super) outcome: Option<Outcome>,
    /// Who has asked for reloads.
    pub(super) callers: Vec<tokio::sync::mpsc::Receiver<Answer>>,
}

impl World {
    pub(super) fn new(workers: u32) -> Self {
        Self::with(crew_rules(), &[("web", workers)])
    }

    pub(super) fn with(rules_of_workers: CrewRules, groups: &[(&str, u32)]) -> Self {
        let now = Instant::now();
        let groups = groups.iter().map(|(name, count)| Crew::workers(name, *count, rules_of_workers, now));
        let mut world = Self {
            supervisor: Supervisor::new(rules(), Crew::agent(crew_rules(), now), groups),
            reloading: Reloading::new(Pace { surge: 1, unavailable: 0 }),
            preparing: None,
            now,
            began: now,
            alive: BTreeMap::new(),
            condemned: Vec::new(),
            agent_was_ready: false,
            stopping: false,
            seen: Vec::new(),
            retries: Vec::new(),
            callers: Vec::new(),
            outcome: None,
        };
        world.step(|_, _, _| {});
        world
    }

    /// A cluster in which everybody is ready and knows it.
    pub(super) fn up(workers: u32) -> Self {
        let mut world = Self::new(workers);
        world.raise();
        world
    }

    /// Makes everybody ready.
    pub(super) fn raise(&mut self) {
        self.ready("agent");
        let workers: Vec<ChildId> = self.alive.keys().copied().skip(1).collect();
        for id in workers {
            self.ready_of(id);
        }
        self.confirm();
        self.happened();
    }

    /// One event, and all that follows from it.
    pub(super) fn step(&mut self, event: impl FnOnce(&mut Supervisor, Instant, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        event(&mut self.supervisor, self.now, &mut actions);
        self.reloading.converge(&mut self.supervisor, self.now, &mut actions);
        self.supervisor.converge(self.now, &mut actions);
        for action in actions {
            self.take(action);
        }
        let deadline = self.supervisor.deadline();
        assert!(deadline.is_none_or(|due| due > self.now), "a deadline that has passed keeps the loop awake");
    }

    fn take(&mut self, action: Action) {
        assert!(self.outcome.is_none(), "nothing comes after the end: {action:?}");
        match action {
            Action::Spawn { id, slot, .. } => {
                let there = self.alive.values().filter(|taken| **taken == slot).count();
                let most = if slot.is_agent() && !self.reloading.is_under_way() { 1 } else { 2 };
                assert!(there < most, "{there} processes in {slot}");
                assert!(slot.is_agent() || self.agent_was_ready, "{slot} before the agent is ready");
                assert!(!self.stopping, "{slot} starts during the stop");
                self.seen.push(format!("spawn {slot}"));
                self.alive.insert(id, slot);
            }
            Action::Send { to, frame } => self.seen.push(format!("{:?} {}", frame.kind(), self.name(to))),
            Action::Abort { id } => {
                self.seen.push(format!("abort {}", self.name(id)));
                self.condemned.push(id);
            }
            Action::Kill { id } => {
                self.seen.push(format!("kill {}", self.name(id)));
                self.condemned.push(id);
            }
            Action::PrepareGeneration { generation } => self.preparing = Some(generation),
            Action::Tell { answer: Answer::Progress(_), .. } => {}
            Action::Reply { answer, .. } => self.seen.push(format!("{answer:?}")),
            Action::AnnounceReady => self.seen.push("announce".to_owned()),
            Action::WithdrawReady => self.seen.push("withdraw".to_owned()),
            Action::CloseListeners => self.seen.push("close".to_owned()),
            Action::Report(Report::Event(ClusterEvent::GaveUp { group, .. })) => {
                self.seen.push(format!("gave up {group}"));
            }
            Action::Report(Report::Event(ClusterEvent::Exited { retry_in_ms, .. })) => {
                self.retries.push(retry_in_ms);
            }
            Action::Finish(outcome) => {
                assert!(self.alive.is_empty(), "somebody outlives the end");
                self.seen.push("finish".to_owned());
                self.outcome = Some(outcome);
            }
            _ => {}
        }
    }

    fn name(&self, id: ChildId) -> String {
        self.alive.get(&id).map_or_else(|| "nobody".to_owned(), ToString::to_string)
    }

    /// The oldest living process of a slot.
    pub(super) fn id(&self, name: &str) -> ChildId {
        let found = self.alive.iter().find(|(_, slot)| slot.to_string() == name);
        *found.unwrap_or_else(|| panic!("no living {name}")).0
    }

    /// The newest living process of a slot.
    pub(super) fn newest(&self, name: &str) -> ChildId {
        let found = self.alive.iter().rev().find(|(_, slot)| slot.to_string() == name);
        *found.unwrap_or_else(|| panic!("no living {name}")).0
    }

    pub(super) fn ready(&mut self, name: &str) {
        self.ready_of(self.newest(name));
    }

    pub(super) fn ready_of(&mut self, id: ChildId) {
        self.agent_was_ready |= self.alive[&id].is_agent();
        self.step(|supervisor, now, actions| {
            if let Some((slot, occupant)) = supervisor.occupant(id) {
                occupant.ready(&slot, now, actions);
            }
        });
    }

    /// Everybody says that they know of the cluster's being ready.
    pub(super) fn confirm(&mut self) {
        let everybody: Vec<ChildId> = self.alive.keys().copied().collect();
        self.step(|supervisor, _, _| {
            for id in everybody {
                let (_, occupant) = supervisor.occupant(id).unwrap();
                if occupant.knows == crate::master::occupant::Knows::Told {
                    occupant.knows = crate::master::occupant::Knows::Confirmed;
                }
            }
        });
    }

    /// A sign of life with figures.
    pub(super) fn pulse(&mut self, id: ChildId, pulse: Pulse) {
        self.step(|supervisor, now, _| {
            if let Some((_, occupant)) = supervisor.occupant(id) {
                occupant.heard = Some(now);
                occupant.take(pulse);
            }
        });
    }

    /// Everybody gives a sign of life.
    pub(super) fn pulse_all(&mut self) {
        let everybody: Vec<ChildId> = self.alive.keys().copied().collect();
        for id in everybody {
            self.pulse(id, Pulse::default());
        }
    }

    pub(super) fn reload(&mut self, agent: bool) {
        let (sender, caller) = tokio::sync::mpsc::channel(9);
        let reply = Reply(sender);
        self.callers.push(caller);
        let state = self.supervisor.state();
        let mut actions = Vec::new();
        self.reloading.ask(agent, Some(reply), state, &mut actions);
        actions.into_iter().for_each(|action| self.take(action));
        self.step(|_, _, _| {});
    }

    /// What was asked for lies on disk.
    pub(super) fn prepared(&mut self, outcome: Result<bool, &str>) {
        self.preparing.take().expect("a program was asked for");
        let outcome = outcome.map(|changed| Prepared { build: "new".to_owned(), changed });
        let mut actions = Vec::new();
        let outcome = outcome.map_err(str::to_owned);
        self.reloading.prepared(outcome, &mut self.supervisor, self.now, &mut actions);
        actions.into_iter().for_each(|action| self.take(action));
        self.step(|_, _, _| {});
    }

    /// An agent can do no more before it leads.
    pub(super) fn stand_by(&mut self, id: ChildId) {
        self.step(|supervisor, _, _| supervisor.occupant(id).unwrap().1.stands_by = true);
    }

    pub(super) fn retire(&mut self, id: ChildId) {
        self.step(|supervisor, now, actions| supervisor.retire(id, "it says so".to_owned(), now, actions));
    }

    pub(super) fn lose_link(&mut self, id: ChildId) {
        self.close_link(id, None);
    }

    pub(super) fn cut_off(&mut self, id: ChildId, why: &str) {
        self.close_link(id, Some(why.to_owned()));
    }

    fn close_link(&mut self, id: ChildId, problem: Option<String>) {
        self.step(|supervisor, now, actions| {
            if let Some((slot, occupant)) = supervisor.occupant(id) {
                occupant.link_lost(&slot, problem, now, actions);
            }
        });
    }

    pub(super) fn confess(&mut self, id: ChildId, reason: &str, detail: &str) {
        let words = crate::bus::control::Failure { reason: reason.to_owned(), detail: detail.to_owned() };
        self.step(|supervisor, _, _| supervisor.occupant(id).unwrap().1.last_words = Some(words));
    }

    pub(super) fn exit(&mut self, name: &str, status: Status) {
        let id = self.id(name);
        self.exit_of(id, status);
    }

    pub(super) fn exit_of(&mut self, id: ChildId, status: Status) {
        self.alive.remove(&id);
        self.condemned.retain(|condemned| *condemned != id);
        let ended = Ended { status, out_of_memory: false, output: None };
        self.step(|supervisor, now, actions| supervisor.exited(id, ended, Utc::now(), now, actions));
    }

    pub(super) fn not_spawned(&mut self, id: ChildId) {
        self.alive.remove(&id);
        self.condemned.retain(|condemned| *condemned != id);
        let problem = "no memory".to_owned();
        self.step(|supervisor, now, actions| supervisor.not_spawned(id, problem, Utc::now(), now, actions));
    }

    pub(super) fn stop(&mut self, fast: bool) {
        self.stopping = true;
        self.step(|supervisor, now, actions| supervisor.stop(fast, None, now, actions));
    }

    pub(super) fn stop_within(&mut self, timeout: Duration) {
        self.stopping = true;
        self.step(|supervisor, now, actions| supervisor.stop(false, Some(timeout), now, actions));
    }

    pub(super) fn scale(&mut self, group: &str, to: u32) {
        self.step(|supervisor, now, actions| _ = supervisor.scale(group, to, now, actions));
    }

    pub(super) fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.step(|_, _, _| {});
    }

    /// What has happened since the last call.
    pub(super) fn happened(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    pub(super) fn post(&self, name: &str) -> &Post {
        let posts = self.supervisor.crews.iter().flat_map(|crew| &crew.posts);
        posts.into_iter().find(|post| post.slot.to_string() == name).expect("a post")
    }

    pub(super) fn last_exit(&self, name: &str) -> Exit {
        self.post(name).last_exit.clone().expect("an exit")
    }

    pub(super) fn nth(&self, nth: usize) -> Option<ChildId> {
        (!self.alive.is_empty()).then(|| *self.alive.keys().nth(nth % self.alive.len()).unwrap())
    }

    /// Lets time pass until somebody is in a slot.
    pub(super) fn until_filled(&mut self, name: &str) {
        while !self.alive.values().any(|slot| slot.to_string() == name) {
            self.pulse_all();
            self.wait(S);
        }
    }

    /// Waits until there is a newer process in a slot, and lets the older one leave.
    pub(super) fn calm_slot(&mut self, name: &str) {
        let older = self.id(name);
        while self.newest(name) == older {
            self.pulse_all();
            self.wait(S);
        }
        self.ready(name);
        self.exit_of(older, Status::Code(0));
    }

    /// Lets the cluster come to rest: everybody gets ready, leaves when asked and gives signs of life.
    pub(super) fn calm_down(&mut self) {
        for _ in 0..300 {
            for id in self.alive.keys().copied().collect::<Vec<_>>() {
                let Some((_, occupant)) = self.supervisor.occupant(id) else { continue };
                match occupant.stage {
                    crate::master::occupant::Stage::Starting { .. } => self.ready_of(id),
                    crate::master::occupant::Stage::Leaving { asked: Some(_), .. } => {
                        self.exit_of(id, Status::Code(0))
                    }
                    _ => {}
                }
            }
            while let Some(id) = self.condemned.first().copied() {
                self.exit_of(id, KILLED);
            }
            self.pulse_all();
            self.wait(S);
        }
    }

    /// Lets time pass as the loop does, with kills that work and nobody who helps.
    pub(super) fn settle(&mut self) {
        for _ in 0..1000 {
            if self.outcome.is_some() {
                return;
            }
            match self.condemned.first().copied() {
                Some(id) => self.exit_of(id, KILLED),
                None => {
                    let deadline = self.supervisor.deadline().expect("something to wait for");
                    self.wait(deadline.saturating_duration_since(self.now));
                }
            }
        }
        panic!("the stop does not end; {:?} after {:?}", self.alive, self.now - self.began);
    }
}
