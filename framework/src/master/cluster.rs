//! The whole cluster as the master knows it: takes every event, asks the rooms that answer for it, and
//! returns what is to be done. Pure.

mod frames;
mod settling;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::crew::{Crew, FIRST};
use super::event::{Action, ChildId, Event, Reply, Report};
use super::everywhere::Everywhere;
use super::exchange::Exchange;
use super::gathering::Gathering;
use super::laggards::Laggards;
use super::occupant::Occupant;
use super::overview::{Overview, own_words};
use super::pace::Pace;
use super::readers::Readers;
use super::relay::Relay;
use super::reload::Reloading;
use super::reopening::Reopening;
use super::rules::Rules;
use super::scaling::{self, Scaling};
use super::supervisor::Supervisor;
use super::trace::Trace;
use crate::bus::control::{Answer, Request};
use crate::bus::peer::Roll;
use crate::bus::topic::CONFIG;
use crate::role::Slot;
use crate::status::{BusStatus, ClusterState, ConfigStatus, DutyState, DutyStatus, StateStatus, TlsStatus};

/// All that the master knows and decides.
#[derive(Debug)]
pub(crate) struct Cluster {
    rules: Rules,
    supervisor: Supervisor,
    relay: Relay,
    exchange: Exchange,
    laggards: Laggards,
    /// The groups, which stay the same.
    roll: Roll,
    everywhere: Everywhere,
    gathering: Gathering,
    reopening: Reopening,
    readers: Readers,
    trace: Trace,
    scaling: Scaling,
    reloading: Reloading,
    /// What the processes of each generation must say that they run.
    builds: BTreeMap<u64, String>,
    duties: Vec<DutyStatus>,
    config_refused: Option<String>,
    tls: TlsStatus,
    /// When the last event came.
    awake_at: Instant,
}

impl Cluster {
    /// A cluster in which nothing runs yet. `build` is what every child of the first generation must say that it
    /// runs.
    pub(crate) fn new(
        rules: Rules,
        pace: Pace,
        supervisor: Supervisor,
        exchange: Exchange,
        build: String,
        now: Instant,
    ) -> Self {
        let roll = Roll::new(supervisor.groups().iter().map(|crew| crew.name.clone()));
        Self {
            rules,
            supervisor,
            relay: Relay::default(),
            exchange,
            laggards: Laggards::default(),
            roll,
            everywhere: Everywhere::default(),
            gathering: Gathering::default(),
            reopening: Reopening::default(),
            readers: Readers::default(),
            trace: Trace::default(),
            scaling: Scaling::default(),
            reloading: Reloading::new(pace),
            builds: BTreeMap::from([(FIRST, build)]),
            duties: Vec::new(),
            config_refused: None,
            tls: TlsStatus::default(),
            awake_at: now,
        }
    }

    /// Takes one event and returns what is to be done, in this order.
    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.notice_nap(now, &mut actions);
        // What goes by changes nothing about who should run.
        let Some(event) = self.on_mail(event, now, &mut actions) else { return actions };
        match event {
            Event::Started | Event::Timer => {}
            Event::Spawned { id, pid } => {
                if let Some((slot, occupant)) = self.supervisor.occupant(id) {
                    occupant.spawned(&slot, pid, &mut actions);
                }
            }
            Event::NotSpawned { id, problem, at } => {
                self.supervisor.not_spawned(id, problem, at, now, &mut actions);
            }
            Event::Frame { from, frame } => self.on_frame(from, &frame, now, &mut actions),
            Event::LinkLost { id, problem } => self.lose_link(id, problem, now, &mut actions),
            Event::Exited { id, ended, at } => {
                self.forget(id, &mut actions);
                self.keep_last_words(id);
                self.exchange.ended(id);
                self.laggards.leave(id, &mut actions);
                self.supervisor.exited(id, ended, at, now, &mut actions);
            }
            Event::StopSignal { fast } => {
                let again = self.supervisor.state() == ClusterState::Stopping;
                self.supervisor.stop(fast || again, None, now, &mut actions);
            }
            Event::ScaleSignal { by } => scaling::obey(&mut self.supervisor, by, now, &mut actions),
            Event::ReloadSignal => self.reloading.ask(false, None, self.supervisor.state(), &mut actions),
            Event::Prepared { generation, outcome } => {
                if let Ok(prepared) = &outcome {
                    self.builds.insert(generation, prepared.build.clone());
                }
                let outcome = self.config_refused.clone().map_or(outcome, Err);
                self.reloading.prepared(outcome, &mut self.supervisor, now, &mut actions);
            }
            Event::ReopenLogs => self.reopening.begin(None, self.relay.members(), &mut actions),
            // Who has left may have asked again since.
            Event::Control { reply, .. } if reply.is_gone() => {}
            Event::Control { request, reply } => self.on_request(request, reply, now, &mut actions),
            Event::Mail { .. } | Event::Undelivered { .. } | Event::Left { .. } => {}
            Event::Confirm { .. } | Event::Room { .. } => {}
        }
        self.reloading.converge(&mut self.supervisor, now, &mut actions);
        self.supervisor.converge(now, &mut actions);
        let stopping = self.supervisor.state() == ClusterState::Stopping;
        self.scaling.settle(self.supervisor.groups(), stopping, now, &mut actions);
        self.settle_states(&mut actions);
        self.readers.spread(&mut actions);
        self.settle_mail(now, &mut actions);
        actions
    }

    /// When a `Timer` event is wanted: when time alone changes anything, and often enough to notice that the
    /// master itself was stopped.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let look_up = self.awake_at + self.rules.nap / 2;
        let rooms = [self.supervisor.deadline(), self.scaling.deadline(), self.reloading.deadline()];
        let rooms = rooms.into_iter().chain([self.laggards.deadline()]);
        rooms.flatten().chain([look_up]).min()
    }

    /// Whoever was stopped, be it by a signal or with the whole machine, cannot judge the silence of others.
    fn notice_nap(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let nap = now.saturating_duration_since(self.awake_at);
        self.awake_at = now;
        if nap > self.rules.nap {
            self.supervisor.forgive(nap);
            actions.push(Action::Report(Report::Slept { nap }));
        }
    }

    fn on_request(&mut self, request: Request, reply: Reply, now: Instant, actions: &mut Vec<Action>) {
        match request {
            Request::Status => actions.push(Action::ReplyStatus { reply }),
            Request::Stop { fast, timeout_ms } => {
                actions.push(Action::Reply { reply, answer: Answer::Stopping });
                self.supervisor.stop(fast, timeout_ms.map(Duration::from_millis), now, actions);
            }
            Request::Reload { agent } => {
                self.reloading.ask(agent, Some(reply), self.supervisor.state(), actions);
            }
            Request::Post(posting) => {
                self.exchange.post(posting, reply, &self.roll, actions);
            }
            Request::Trace { patterns } => {
                self.trace.choose(patterns, self.relay.members(), actions);
                actions.push(Action::Reply { reply, answer: Answer::Traced });
            }
            Request::Scale { group, change } => {
                self.scaling.begin(&mut self.supervisor, &group, change, reply, now, actions);
            }
        }
    }

    /// The link of a process is closed, or there is a problem for which it is cut off. Nobody waits for its answers any more,
    /// and nothing new goes to it; who is cut off may still hear us, and perhaps be heard until it ends.
    fn lose_link(&mut self, id: ChildId, problem: Option<String>, now: Instant, actions: &mut Vec<Action>) {
        if problem.is_none() {
            self.exchange.shut(id, actions);
            self.exchange.give_up_answers(id, actions);
        } else {
            self.exchange.call_off_answers(id, actions);
        }
        if let Some((slot, occupant)) = self.supervisor.occupant(id) {
            occupant.link_lost(&slot, problem, now, actions);
        }
    }

    /// The figures of a process outlive it.
    fn keep_last_words(&mut self, id: ChildId) {
        if let Some((slot, occupant)) = self.supervisor.occupant(id)
            && let Ok(slot) = self.roll.slot(&slot)
        {
            self.exchange.note_last_words(slot, own_words(&occupant.pulse));
        }
    }

    fn forget(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        self.relay.leave(id, actions);
        self.everywhere.leave(id);
        self.gathering.leave(id, actions);
        self.reopening.leave(id, actions);
        self.readers.leave(id);
        if self.supervisor.slot_of(id).is_some_and(Slot::is_agent) {
            self.duties.iter_mut().for_each(|duty| duty.state = DutyState::BackingOff);
        }
    }

    pub(crate) fn state(&self) -> ClusterState {
        match self.supervisor.state() {
            ClusterState::Running | ClusterState::Degraded if self.reloading.is_under_way() => {
                ClusterState::Reloading
            }
            ClusterState::Running if !self.supervisor.stranded().is_empty() => ClusterState::Degraded,
            state => state,
        }
    }

    /// How many reloads were asked for, whatever became of them.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloading.asked()
    }

    /// How many workers are ready, and how many should be.
    pub(crate) fn ready_workers(&self) -> (u32, u32) {
        let groups = self.supervisor.groups();
        (groups.iter().map(Crew::ready).sum(), groups.iter().map(Crew::wanted).sum())
    }

    /// Whether the budget of restarts of some group, or of the agent, is spent.
    pub(crate) fn has_given_up(&self) -> bool {
        let groups = self.supervisor.groups().iter().flat_map(|crew| &crew.posts);
        groups.chain([self.supervisor.agent()]).any(|post| post.gave_up)
    }

    /// Whether what is under way ends by itself, because it has a deadline.
    pub(crate) fn is_bounded(&self) -> bool {
        self.supervisor.is_bounded()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.supervisor.generation()
    }

    /// The processes as the status shows them.
    pub(crate) fn overview(&self, now: Instant) -> Overview<'_> {
        let (supervisor, relay, exchange) = (&self.supervisor, &self.relay, &self.exchange);
        Overview { supervisor, relay, exchange, roll: &self.roll, now }
    }

    pub(crate) fn duties(&self) -> &[DutyStatus] {
        &self.duties
    }

    pub(crate) fn state_statuses(&self) -> Vec<StateStatus> {
        let ready = |occupant: &&Occupant| occupant.is_ready();
        let workers = self.supervisor.groups().iter().flat_map(Crew::occupants);
        let ready_workers: Vec<ChildId> = workers.filter(ready).map(|occupant| occupant.id).collect();
        self.relay.states(&ready_workers)
    }

    pub(crate) fn config_status(&self) -> ConfigStatus {
        ConfigStatus { version: self.relay.version(CONFIG), refused: self.config_refused.clone() }
    }

    pub(crate) fn tls_status(&self) -> &TlsStatus {
        &self.tls
    }

    /// The traffic, with what waits where nobody is; what else waits and was dropped is the links' to tell.
    pub(crate) fn bus_status(&self) -> BusStatus {
        let (relayed, dropped) = self.exchange.totals();
        let (mut topics, waiting) = (self.exchange.topics(), self.exchange.waiting_by_topic());
        for topic in &mut topics {
            topic.queued = waiting.get(&*topic.name).copied().unwrap_or_default();
        }
        let (relayed, traced) = (self.relay.relayed() + relayed, self.trace.patterns().words().to_vec());
        BusStatus { relayed, dropped, queued_bytes: self.exchange.waiting_bytes(None), topics, traced }
    }
}
