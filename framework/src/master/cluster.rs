//! The whole cluster as the master knows it: takes every event, asks the rooms that answer for it, and
//! returns what is to be done. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::crew::{Crew, FIRST};
use super::event::{Action, ChildId, Event, Reply, Report};
use super::occupant::{Knows, Occupant};
use super::overview::Overview;
use super::pace::Pace;
use super::readers::Readers;
use super::relay::Relay;
use super::reload::Reloading;
use super::reopening::Reopening;
use super::rules::Rules;
use super::scaling::{self, Scaling};
use super::supervisor::Supervisor;
use crate::bus::codec;
use crate::bus::control::{Answer, Failure, Hello, Request};
use crate::bus::frame::{Frame, Kind, PROTOCOL};
use crate::bus::topic::CONFIG;
use crate::role::Slot;
use crate::status::{BusStatus, ClusterState, ConfigStatus, DutyState, DutyStatus, StateStatus};

/// All that the master knows and decides.
#[derive(Debug)]
pub(crate) struct Cluster {
    rules: Rules,
    supervisor: Supervisor,
    relay: Relay,
    reopening: Reopening,
    readers: Readers,
    scaling: Scaling,
    reloading: Reloading,
    /// What the processes of each generation must say that they run.
    builds: BTreeMap<u64, String>,
    duties: Vec<DutyStatus>,
    config_refused: Option<String>,
    /// When the last event came.
    awake_at: Instant,
}

impl Cluster {
    /// A cluster in which nothing runs yet. `build` is what every child of the first generation must say that it
    /// runs.
    pub(crate) fn new(rules: Rules, pace: Pace, supervisor: Supervisor, build: String, now: Instant) -> Self {
        Self {
            rules,
            supervisor,
            relay: Relay::default(),
            reopening: Reopening::default(),
            readers: Readers::default(),
            scaling: Scaling::default(),
            reloading: Reloading::new(pace),
            builds: BTreeMap::from([(FIRST, build)]),
            duties: Vec::new(),
            config_refused: None,
            awake_at: now,
        }
    }

    /// Takes one event and returns what is to be done, in this order.
    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.notice_nap(now, &mut actions);
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
                self.supervisor.exited(id, ended, at, now, &mut actions);
            }
            Event::StopSignal { fast } => {
                let again = self.supervisor.state() == ClusterState::Stopping;
                self.supervisor.stop(fast || again, None, &mut actions);
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
            Event::Control { request, reply } => self.on_request(request, reply, now, &mut actions),
        }
        self.reloading.converge(&mut self.supervisor, now, &mut actions);
        self.supervisor.converge(now, &mut actions);
        let stopping = self.supervisor.state() == ClusterState::Stopping;
        self.scaling.settle(self.supervisor.groups(), stopping, now, &mut actions);
        self.readers.spread(&mut actions);
        actions
    }

    /// When a `Timer` event is wanted: when time alone changes anything, and often enough to notice that the
    /// master itself was stopped.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let look_up = self.awake_at + self.rules.nap / 2;
        let rooms = [self.supervisor.deadline(), self.scaling.deadline(), self.reloading.deadline()];
        rooms.into_iter().flatten().chain([look_up]).min()
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
                self.supervisor.stop(fast, timeout_ms.map(Duration::from_millis), actions);
            }
            Request::Reload { agent } => {
                self.reloading.ask(agent, Some(reply), self.supervisor.state(), actions);
            }
            Request::Scale { group, change } => {
                self.scaling.begin(&mut self.supervisor, &group, change, reply, now, actions);
            }
        }
    }

    fn lose_link(&mut self, id: ChildId, problem: Option<String>, now: Instant, actions: &mut Vec<Action>) {
        if let Some((slot, occupant)) = self.supervisor.occupant(id) {
            occupant.link_lost(&slot, problem, now, actions);
        }
    }

    /// A child that sends what makes no sense is no member any more, and has a moment to end.
    fn on_frame(&mut self, from: ChildId, frame: &Frame, now: Instant, actions: &mut Vec<Action>) {
        let Some(slot) = self.supervisor.slot_of(from).cloned() else {
            return;
        };
        if let Err(problem) = self.take(from, &slot, frame, now, actions) {
            self.forget(from, actions);
            self.lose_link(from, Some(problem), now, actions);
        }
    }

    fn take(
        &mut self,
        from: ChildId,
        slot: &Slot,
        frame: &Frame,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        let greeted = self.relay.has(from);
        let Some((_, occupant)) = self.supervisor.occupant(from) else { return Ok(()) };
        occupant.heard = Some(now);
        match frame.kind() {
            Kind::Hello if greeted => return Err(format!("{slot} said hello twice")),
            Kind::Hello => self.on_hello(from, slot, frame, actions)?,
            Kind::Failed => occupant.last_words = Some(cut(read(frame)?)),
            kind if !greeted => return Err(format!("{slot} sent {kind:?} before its hello")),
            Kind::Ready => occupant.ready(slot, now, actions),
            Kind::ClusterReady => occupant.knows = Knows::Confirmed,
            Kind::Pulse => occupant.take(read(frame)?),
            Kind::Publish => self.relay.publish(from, frame, actions),
            Kind::Ack => self.relay.acknowledge(from, frame.topic(), frame.number()),
            Kind::Watch => self.readers.join(from),
            Kind::Reopened => {
                let problem = String::from_utf8_lossy(frame.payload());
                self.reopening.answered(from, frame.number(), &problem, actions);
            }
            kind if slot.is_agent() => self.on_agent_frame(kind, from, frame, actions)?,
            Kind::Retire => self.supervisor.retire(from, words(frame.payload()), now, actions),
            kind => {
                return Err(format!(
                    "{slot} sent a frame of the kind {kind:?}, which is not its own to send"
                ));
            }
        }
        Ok(())
    }

    /// What only the agent may send.
    fn on_agent_frame(
        &mut self,
        kind: Kind,
        from: ChildId,
        frame: &Frame,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        match kind {
            Kind::StandBy => {
                if let Some((_, occupant)) = self.supervisor.occupant(from) {
                    occupant.stands_by = true;
                }
            }
            Kind::Reopen => {
                self.reopening.begin(Some((from, frame.number())), self.relay.members(), actions);
            }
            Kind::Duties => self.duties = read(frame)?,
            Kind::ConfigRefused => {
                self.config_refused = read(frame)?;
                if let Some(problem) = self.config_refused.clone() {
                    actions.push(Action::Report(Report::ConfigRefused { problem }));
                }
            }
            kind => {
                return Err(format!(
                    "the agent sent a frame of the kind {kind:?}, which only the master sends"
                ));
            }
        }
        Ok(())
    }

    fn on_hello(
        &mut self,
        from: ChildId,
        slot: &Slot,
        frame: &Frame,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        let hello: Hello = read(frame)?;
        if hello.protocol != PROTOCOL {
            return Err(format!("it speaks protocol {}, and this master speaks {PROTOCOL}", hello.protocol));
        }
        if hello.slot != *slot || self.builds.get(&hello.generation) != Some(&hello.build) {
            return Err(format!("it says that it is {} of build {}", hello.slot, hello.build));
        }
        self.relay.join(from, slot.is_agent(), actions);
        let replaces = slot.is_agent() && self.supervisor.agent().occupants.len() > 1;
        let (slot, generation) = (slot.clone(), hello.generation);
        actions.push(Action::Welcome { to: from, slot, generation, replaces });
        Ok(())
    }

    fn forget(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        self.relay.leave(id);
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
            state => state,
        }
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
        Overview { supervisor: &self.supervisor, relay: &self.relay, now }
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

    /// The traffic; `queued_bytes` and `dropped` are the links' to tell.
    pub(crate) fn bus_status(&self) -> BusStatus {
        BusStatus { relayed: self.relay.relayed(), ..BusStatus::default() }
    }
}

fn read<T: serde::de::DeserializeOwned>(frame: &Frame) -> Result<T, String> {
    codec::decode(&format!("a frame of the kind {:?}", frame.kind()), frame.payload())
        .map_err(|e| e.to_string())
}

/// Last words are kept for as long as nobody else ends in the slot, so that they must have a limit.
fn cut(words: Failure) -> Failure {
    let cut = |text: String, limit| text.chars().take(limit).collect();
    Failure { reason: cut(words.reason, 2000), detail: cut(words.detail, 8000) }
}

/// What a process says in its own words, cut to a line that fits a log.
fn words(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).chars().take(500).collect::<String>().escape_debug().to_string()
}
