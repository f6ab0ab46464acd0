//! The whole cluster as the master knows it: takes every event, asks the rooms that answer for it, and
//! returns what is to be done. Pure.

use std::collections::BTreeMap;
use std::time::Instant;

use super::event::{Action, ChildId, Event, Report};
use super::post::Post;
use super::relay::Relay;
use super::reopening::Reopening;
use super::rules::Rules;
use super::supervisor::Supervisor;
use crate::bus::codec;
use crate::bus::control::{Answer, Hello, Pulse, Request};
use crate::bus::frame::{Frame, Kind, PROTOCOL};
use crate::bus::topic::CONFIG;
use crate::role::Slot;
use crate::status::{
    AgentStatus, BusStatus, ClusterState, ConfigStatus, DutyState, DutyStatus, ProcessState, ProcessStatus,
    StateStatus, Usage, WorkerStatus,
};

/// All that the master knows and decides.
#[derive(Debug)]
pub(crate) struct Cluster {
    supervisor: Supervisor,
    relay: Relay,
    reopening: Reopening,
    build: String,
    pulses: BTreeMap<ChildId, Pulse>,
    duties: Vec<DutyStatus>,
    config_refused: Option<String>,
}

impl Cluster {
    /// A cluster in which nothing runs yet. `build` is what every child must say that it runs.
    pub(crate) fn new(
        rules: Rules,
        workers: impl IntoIterator<Item = Slot>,
        build: String,
        now: Instant,
    ) -> Self {
        Self {
            supervisor: Supervisor::new(rules, workers, now),
            relay: Relay::default(),
            reopening: Reopening::default(),
            build,
            pulses: BTreeMap::new(),
            duties: Vec::new(),
            config_refused: None,
        }
    }

    /// Takes one event and returns what is to be done, in this order.
    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Started | Event::Timer => {}
            Event::Spawned { id, pid } => self.supervisor.spawned(id, pid),
            Event::NotSpawned { id, problem, at } => {
                self.supervisor.not_spawned(id, problem, at, now, &mut actions);
            }
            Event::Frame { from, frame } => self.on_frame(from, &frame, now, &mut actions),
            Event::LinkLost { id, problem } => self.supervisor.link_lost(id, problem, now, &mut actions),
            Event::Exited { id, ended, at } => {
                self.forget(id, &mut actions);
                self.supervisor.exited(id, ended, at, now, &mut actions);
            }
            Event::StopSignal { fast } => {
                let again = self.supervisor.state() == ClusterState::Stopping;
                self.supervisor.stop(fast || again, None, &mut actions);
            }
            Event::ReopenLogs => self.reopening.begin(None, self.relay.members(), &mut actions),
            Event::Control { request: Request::Status, reply } => actions.push(Action::ReplyStatus { reply }),
            Event::Control { request: Request::Stop { fast, timeout_ms }, reply } => {
                actions.push(Action::Reply { reply, answer: Answer::Stopping });
                let timeout = timeout_ms.map(std::time::Duration::from_millis);
                self.supervisor.stop(fast, timeout, &mut actions);
            }
        }
        self.supervisor.converge(now, &mut actions);
        actions
    }

    /// When a `Timer` event is wanted, if time alone can change anything.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.supervisor.deadline()
    }

    /// A child that sends what makes no sense is no member any more, and has a moment to end.
    fn on_frame(&mut self, from: ChildId, frame: &Frame, now: Instant, actions: &mut Vec<Action>) {
        let Some(slot) = self.supervisor.slot_of(from).cloned() else {
            return;
        };
        if let Err(problem) = self.take(from, &slot, frame, now, actions) {
            self.forget(from, actions);
            self.supervisor.link_lost(from, Some(problem), now, actions);
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
        match frame.kind() {
            Kind::Hello if greeted => return Err(format!("{slot} said hello twice")),
            Kind::Hello => self.on_hello(from, slot, frame, actions)?,
            Kind::Failed => self.supervisor.confessed(from, read(frame)?),
            kind if !greeted => return Err(format!("{slot} sent {kind:?} before its hello")),
            Kind::Ready => self.supervisor.ready(from, now, actions),
            Kind::Publish => self.relay.publish(from, frame, actions),
            Kind::Ack => self.relay.acknowledge(from, frame.topic(), frame.number()),
            Kind::Pulse => {
                self.pulses.insert(from, read(frame)?);
            }
            Kind::Reopened => {
                let problem = String::from_utf8_lossy(frame.payload());
                self.reopening.answered(from, frame.number(), &problem, actions);
            }
            kind if slot.is_agent() => self.on_agent_frame(kind, from, frame, actions)?,
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
        if hello.slot != *slot || hello.build != self.build {
            return Err(format!("it says that it is {} of build {}", hello.slot, hello.build));
        }
        self.relay.join(from, slot.is_agent(), actions);
        actions.push(Action::Welcome { to: from, slot: slot.clone() });
        Ok(())
    }

    fn forget(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        self.relay.leave(id);
        self.reopening.leave(id, actions);
        self.pulses.remove(&id);
        if self.supervisor.slot_of(id).is_some_and(Slot::is_agent) {
            self.duties.iter_mut().for_each(|duty| duty.state = DutyState::BackingOff);
        }
    }

    pub(crate) fn state(&self) -> ClusterState {
        self.supervisor.state()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.supervisor.generation()
    }

    /// The agent's part of the status, without its usage.
    pub(crate) fn agent_status(&self, now: Instant) -> AgentStatus {
        AgentStatus {
            process: self.process_status(&self.supervisor.posts()[0], now),
            duties: self.duties.clone(),
        }
    }

    /// The workers' part of the status, without their usage.
    pub(crate) fn worker_statuses(&self, now: Instant) -> Vec<WorkerStatus> {
        self.supervisor.posts().iter().filter_map(|post| self.worker_status(post, now)).collect()
    }

    fn worker_status(&self, post: &Post, now: Instant) -> Option<WorkerStatus> {
        let Slot::Worker { group, index } = &post.slot else {
            return None;
        };
        let id = post.occupant.as_ref().map(|occupant| occupant.id);
        let pulse = id.and_then(|id| self.pulses.get(&id)).copied().unwrap_or_default();
        Some(WorkerStatus {
            group: group.clone(),
            index: *index,
            process: self.process_status(post, now),
            connections: pulse.connections,
            requests: pulse.requests,
            accepted: pulse.accepted,
            refused: pulse.refused,
            timed_out: pulse.timed_out,
            panics: pulse.panics,
            lost_log_lines: pulse.lost_log_lines,
            states: id.map(|id| self.relay.runs(id)).unwrap_or_default(),
        })
    }

    fn process_status(&self, post: &Post, now: Instant) -> ProcessStatus {
        let occupant = post.occupant.as_ref();
        let uptime =
            occupant.map(|occupant| now.saturating_duration_since(occupant.since)).unwrap_or_default();
        ProcessStatus {
            pid: occupant.and_then(|occupant| occupant.pid),
            state: post.state(self.state() != ClusterState::Stopping),
            generation: occupant.map_or(self.generation(), |occupant| occupant.generation),
            restarts: post.restarts,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            usage: Usage::default(),
            last_exit: post.last_exit.clone(),
        }
    }

    pub(crate) fn state_statuses(&self) -> Vec<StateStatus> {
        let ready_workers: Vec<ChildId> = self
            .supervisor
            .posts()
            .iter()
            .filter(|post| !post.slot.is_agent() && post.state(true) == ProcessState::Ready)
            .filter_map(|post| post.occupant.as_ref().map(|occupant| occupant.id))
            .collect();
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
