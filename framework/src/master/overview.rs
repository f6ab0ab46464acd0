//! What the status says of agent, groups and workers, without their usage. Pure.

use std::time::Instant;

use super::crew::Crew;
use super::exchange::Exchange;
use super::occupant::Occupant;
use super::post::Post;
use super::relay::Relay;
use super::supervisor::Supervisor;
use crate::bus::control::Pulse;
use crate::bus::peer::Roll;
use crate::status::{
    AgentStatus, ClusterState, DutyStatus, GroupStatus, PeerTraffic, ProcessStatus, Usage, WorkerStatus,
};

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overview<'a> {
    pub(crate) supervisor: &'a Supervisor,
    pub(crate) relay: &'a Relay,
    pub(crate) exchange: &'a Exchange,
    pub(crate) roll: &'a Roll,
    pub(crate) now: Instant,
}

impl Overview<'_> {
    pub(crate) fn agent(&self, duties: &[DutyStatus]) -> AgentStatus {
        let crew = self.supervisor.agent_crew();
        let post = self.supervisor.agent();
        let occupant = post.occupants.last();
        AgentStatus {
            process: self.process(post, occupant),
            lag_ms: self.lag_ms(crew, occupant),
            duties: duties.to_vec(),
        }
    }

    /// The slots that a failed reload could not give back yet.
    pub(crate) fn stranded(&self) -> Vec<String> {
        self.supervisor.stranded().iter().map(ToString::to_string).collect()
    }

    pub(crate) fn groups(&self) -> Vec<GroupStatus> {
        let group = |crew: &Crew| GroupStatus {
            name: crew.name.clone(),
            wanted: crew.wanted(),
            ready: crew.ready(),
            gave_up: crew.posts.iter().any(|post| post.gave_up),
        };
        self.supervisor.groups().iter().map(group).collect()
    }

    /// A line for each process, and for each slot without one.
    pub(crate) fn workers(&self) -> Vec<WorkerStatus> {
        let mut workers = Vec::new();
        let groups = self.supervisor.groups().iter();
        for (crew, post) in groups.flat_map(|crew| crew.posts.iter().map(move |post| (crew, post))) {
            if post.occupants.is_empty() {
                workers.push(self.worker(crew, post, None));
            }
            workers.extend(post.occupants.iter().map(|occupant| self.worker(crew, post, Some(occupant))));
        }
        workers
    }

    fn lag_ms(&self, crew: &Crew, occupant: Option<&Occupant>) -> u64 {
        occupant.map_or(0, |occupant| occupant.lag_ms(&crew.rules, self.now))
    }

    fn worker(&self, crew: &Crew, post: &Post, occupant: Option<&Occupant>) -> WorkerStatus {
        let pulse = occupant.map(|occupant| occupant.pulse.clone()).unwrap_or_default();
        WorkerStatus {
            group: post.slot.group().to_owned(),
            index: post.slot.index(),
            process: self.process(post, occupant),
            connections: pulse.connections,
            requests: pulse.requests,
            accepted: pulse.accepted,
            refused: pulse.refused,
            turned_away: pulse.turned_away,
            timed_out: pulse.timed_out,
            panics: pulse.panics,
            lost_log_lines: pulse.lost_log_lines,
            lag_ms: self.lag_ms(crew, occupant),
            jobs: pulse.jobs,
            states: occupant.map(|occupant| self.relay.runs(occupant.id)).unwrap_or_default(),
        }
    }

    fn process(&self, post: &Post, occupant: Option<&Occupant>) -> ProcessStatus {
        let retrying = self.supervisor.state() != ClusterState::Stopping;
        let uptime =
            occupant.map(|occupant| self.now.saturating_duration_since(occupant.since)).unwrap_or_default();
        ProcessStatus {
            pid: occupant.and_then(|occupant| occupant.pid),
            state: occupant.map_or_else(|| post.empty_state(retrying), Occupant::state),
            generation: occupant.map_or(self.supervisor.generation(), |occupant| occupant.generation),
            restarts: post.restarts,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            usage: Usage::default(),
            bus: self.traffic(post, occupant),
            last_exit: post.last_exit.clone(),
        }
    }

    /// What went to a process, and to all before it in its slot, also to one that is still there: so no figure of a slot falls
    /// when a process comes, or goes.
    fn traffic(&self, post: &Post, occupant: Option<&Occupant>) -> PeerTraffic {
        let slot = self.roll.slot(&post.slot).ok();
        let past = slot.map(|slot| self.exchange.past(slot)).unwrap_or_default();
        let place = post.occupants.iter().position(|it| Some(it.id) == occupant.map(|occupant| occupant.id));
        let count = place.map_or(0, |place| place + 1);
        // What waits for whoever comes next is shown once.
        let last = slot.filter(|_| count == post.occupants.len());
        let queued_bytes = last.map_or(0, |slot| self.exchange.waiting_bytes(Some(slot)));
        let so_far = post.occupants.iter().take(count);
        so_far.fold(PeerTraffic { queued_bytes, ..past }, |sum, it| {
            sum.plus(self.exchange.of(it.id)).plus(own_words(&it.pulse))
        })
    }
}

/// What a process says of the mail that came to it.
pub(crate) fn own_words(pulse: &Pulse) -> PeerTraffic {
    let &Pulse { unheard, missed, unreadable, .. } = pulse;
    PeerTraffic { unheard, missed, unreadable, ..PeerTraffic::default() }
}
