//! The supervisor against tables of events, and against a small world with random ones.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::backoff::Backoff;
use crate::error::Ending;
use crate::exit::Status;
use crate::status::ProcessState;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn rules() -> Rules {
    Rules {
        ready_timeout: 30 * S,
        stop_timeout: 20 * S,
        kill_margin: S,
        link_grace: S,
        stable_after: 60 * S,
        boot_attempts: 3,
        backoff: Backoff { first: 100 * MS, most: 30 * S },
    }
}

/// A supervisor, a clock, and what it has asked for.
struct World {
    supervisor: Supervisor,
    now: Instant,
    began: Instant,
    /// Living processes and where they belong.
    alive: BTreeMap<ChildId, Slot>,
    /// Living processes that were sent SIGKILL.
    condemned: Vec<ChildId>,
    /// Whether an agent has said ready, as this world saw it.
    agent_was_ready: bool,
    stopping: bool,
    seen: Vec<String>,
    outcome: Option<Outcome>,
}

impl World {
    fn new(workers: u32) -> Self {
        let now = Instant::now();
        let mut world = Self {
            supervisor: Supervisor::new(rules(), (0..workers).map(Slot::web), now),
            now,
            began: now,
            alive: BTreeMap::new(),
            condemned: Vec::new(),
            agent_was_ready: false,
            stopping: false,
            seen: Vec::new(),
            outcome: None,
        };
        world.step(|_, _, _| {});
        world
    }

    /// One event, and all that follows from it.
    fn step(&mut self, event: impl FnOnce(&mut Supervisor, Instant, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        event(&mut self.supervisor, self.now, &mut actions);
        self.supervisor.converge(self.now, &mut actions);
        for action in actions {
            self.take(action);
        }
    }

    fn take(&mut self, action: Action) {
        assert!(self.outcome.is_none(), "nothing comes after the end: {action:?}");
        match action {
            Action::Spawn { id, slot, .. } => {
                assert!(!self.alive.values().any(|taken| *taken == slot), "two processes in {slot}");
                assert!(slot.is_agent() || self.agent_was_ready, "{slot} before the agent is ready");
                assert!(!self.stopping, "{slot} starts during the stop");
                self.seen.push(format!("spawn {slot}"));
                self.alive.insert(id, slot);
            }
            Action::Send { to, frame } => self.seen.push(format!("{:?} {}", frame.kind(), self.name(to))),
            Action::Kill { id } => {
                self.seen.push(format!("kill {}", self.name(id)));
                self.condemned.push(id);
            }
            Action::AnnounceReady => self.seen.push("announce".to_owned()),
            Action::WithdrawReady => self.seen.push("withdraw".to_owned()),
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

    fn id(&self, name: &str) -> ChildId {
        let found = self.alive.iter().find(|(_, slot)| slot.to_string() == name);
        *found.unwrap_or_else(|| panic!("no living {name}")).0
    }

    fn ready(&mut self, name: &str) {
        self.ready_of(self.id(name));
    }

    fn ready_of(&mut self, id: ChildId) {
        self.agent_was_ready |= self.alive[&id].is_agent();
        self.step(|supervisor, now, actions| supervisor.ready(id, now, actions));
    }

    fn exit(&mut self, name: &str, status: Status) {
        let id = self.id(name);
        self.exit_of(id, status);
    }

    fn exit_of(&mut self, id: ChildId, status: Status) {
        self.alive.remove(&id);
        self.condemned.retain(|condemned| *condemned != id);
        self.step(|supervisor, now, actions| {
            supervisor.exited(
                id,
                Ended { status, out_of_memory: false, output: None },
                Utc::now(),
                now,
                actions,
            )
        });
    }

    fn not_spawned(&mut self, id: ChildId) {
        self.alive.remove(&id);
        self.condemned.retain(|condemned| *condemned != id);
        let problem = "no memory".to_owned();
        self.step(|supervisor, now, actions| supervisor.not_spawned(id, problem, Utc::now(), now, actions));
    }

    fn stop(&mut self, fast: bool) {
        self.stopping = true;
        self.step(|supervisor, _, actions| supervisor.stop(fast, None, actions));
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.step(|_, _, _| {});
    }

    /// What has happened since the last call.
    fn happened(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    /// A cluster in which everybody is ready.
    fn up(workers: u32) -> Self {
        let mut world = Self::new(workers);
        world.ready("agent");
        for index in 0..workers {
            world.ready(&Slot::web(index).to_string());
        }
        world.happened();
        world
    }

    fn last_exit(&self, name: &str) -> Exit {
        let post = self.supervisor.posts().iter().find(|post| post.slot.to_string() == name);
        post.and_then(|post| post.last_exit.clone()).expect("an exit")
    }
}

const FAILED: Status = Status::Code(1);
const KILLED: Status = Status::Signal(9);

#[test]
fn workers_start_after_the_agent_is_ready_and_everybody_is_told_once() {
    let mut world = World::new(2);
    assert_eq!(world.happened(), ["spawn agent"]);
    assert_eq!(world.supervisor.state(), ClusterState::Starting);
    world.ready("agent");
    assert_eq!(world.happened(), ["spawn web.0", "spawn web.1"]);
    world.ready("web.1");
    assert_eq!(world.happened(), [""; 0]);
    world.ready("web.0");
    assert_eq!(
        world.happened(),
        ["ClusterReady agent", "ClusterReady web.0", "ClusterReady web.1", "announce"]
    );
    world.ready("web.0");
    assert_eq!(world.happened(), [""; 0]);
    assert_eq!(world.supervisor.state(), ClusterState::Running);
}

#[test]
fn a_dead_worker_is_replaced_at_once_and_then_after_rising_delays() {
    let mut world = World::up(2);
    world.exit("web.0", KILLED);
    assert_eq!(world.happened(), ["spawn web.0"]);
    assert_eq!(world.supervisor.state(), ClusterState::Degraded);
    world.ready("web.0");
    assert_eq!(world.happened(), ["ClusterReady web.0"]);
    world.exit("web.0", FAILED);
    assert_eq!(world.happened(), [""; 0]);
    assert_eq!(world.supervisor.posts()[1].state(true), ProcessState::BackingOff);
    world.wait(89 * MS);
    assert_eq!(world.happened(), [""; 0]);
    assert!(world.supervisor.deadline().is_some_and(|due| due - world.now <= 21 * MS));
    world.wait(21 * MS);
    assert_eq!(world.happened(), ["spawn web.0"]);
    assert_eq!(world.supervisor.posts()[1].restarts, 2);
}

#[test]
fn a_replacement_that_fails_is_replaced_however_often() {
    let mut world = World::up(2);
    for _ in 0..1000 {
        world.exit("web.0", FAILED);
        if world.alive.len() == 2 {
            world.wait(33 * S);
        }
        assert_eq!(world.happened(), ["spawn web.0"]);
    }
    assert_eq!(world.supervisor.posts()[1].restarts, 1000);
}

#[test]
fn a_stable_process_that_dies_is_replaced_at_once() {
    let mut world = World::up(2);
    for _ in 0..5 {
        world.wait(60 * S);
        world.exit("web.0", KILLED);
        assert_eq!(world.happened(), ["spawn web.0"]);
        world.ready("web.0");
        world.happened();
    }
}

#[test]
fn a_cluster_counts_as_ready_while_anybody_serves() {
    let mut world = World::up(2);
    world.exit("web.0", KILLED);
    assert_eq!(world.happened(), ["spawn web.0"]);
    world.exit("web.1", KILLED);
    assert_eq!(world.happened(), ["spawn web.1", "withdraw"]);
    world.ready("web.0");
    assert_eq!(world.happened(), ["ClusterReady web.0"]);
    world.ready("web.1");
    assert_eq!(world.happened(), ["ClusterReady web.1", "announce"]);
}

#[test]
fn workers_live_on_while_the_agent_is_replaced() {
    let mut world = World::up(2);
    world.exit("agent", KILLED);
    assert_eq!(world.happened(), ["spawn agent"]);
    world.exit("web.1", KILLED);
    assert_eq!(world.happened(), ["spawn web.1"], "a worker does not wait for the agent's second ready");
    world.ready("agent");
    assert_eq!(world.happened(), ["ClusterReady agent"]);
}

#[test]
fn the_start_fails_after_three_deaths_of_one_slot_and_leaves_nobody() {
    let mut world = World::new(1);
    world.ready("agent");
    for _ in 0..2 {
        world.exit("web.0", FAILED);
        world.wait(S);
    }
    world.happened();
    world.exit("web.0", FAILED);
    assert_eq!(world.happened(), ["Shutdown agent"]);
    world.exit("agent", Status::Code(0));
    let outcome = world.outcome.unwrap();
    assert_eq!(outcome.ending, Ending::StartFailed);
    assert_eq!(outcome.reason, "the start failed after 3 attempts: web.0 failed with code 1");
}

#[test]
fn a_configuration_error_is_not_tried_again_and_is_told_in_its_own_words() {
    let mut world = World::new(2);
    let id = world.id("agent");
    let words = Failure { reason: "config/default.toml:1:1: no".to_owned(), detail: "the line".to_owned() };
    world.step(|supervisor, _, _| supervisor.confessed(id, words));
    world.exit("agent", Status::Code(78));
    let outcome = world.outcome.unwrap();
    assert_eq!((outcome.ending, outcome.reason.as_str()), (Ending::Config, "config/default.toml:1:1: no"));
    assert_eq!(outcome.detail, "the line");
}

#[test]
fn a_process_that_is_not_ready_in_time_is_killed_and_ends_the_start() {
    let mut world = World::new(1);
    world.ready("agent");
    world.wait(30 * S);
    assert_eq!(world.happened().last().unwrap(), "kill web.0");
    world.exit("web.0", KILLED);
    world.exit("agent", Status::Code(0));
    let outcome = world.outcome.unwrap();
    assert_eq!(outcome.ending, Ending::StartFailed);
    assert!(outcome.reason.contains("web.0 was not ready in time and was killed"), "{}", outcome.reason);
}

#[test]
fn a_replacement_that_is_not_ready_in_time_is_replaced() {
    let mut world = World::up(2);
    world.exit("web.0", KILLED);
    world.wait(30 * S);
    assert_eq!(world.happened(), ["spawn web.0", "kill web.0"]);
    world.exit("web.0", KILLED);
    assert_eq!(world.last_exit("web.0").reason, Reason::NotReady);
    world.wait(S);
    assert_eq!(world.happened(), ["spawn web.0"]);
}

#[test]
fn a_stop_empties_the_workers_first_and_the_agent_last() {
    let mut world = World::up(2);
    world.stop(false);
    assert_eq!(world.happened(), ["withdraw", "Shutdown web.0", "Shutdown web.1"]);
    world.stop(false);
    assert_eq!(world.happened(), [""; 0], "asking twice changes nothing");
    world.exit("web.1", Status::Code(0));
    assert_eq!(world.happened(), [""; 0]);
    world.exit("web.0", Status::Code(0));
    assert_eq!(world.happened(), ["Shutdown agent"]);
    world.exit("agent", Status::Code(0));
    assert_eq!(world.happened(), ["finish"]);
    assert_eq!(world.outcome.unwrap(), Outcome::done());
}

#[test]
fn who_does_not_leave_in_time_is_killed() {
    let mut world = World::up(1);
    world.stop(false);
    world.wait(20 * S);
    assert_eq!(world.happened(), ["withdraw", "Shutdown web.0"]);
    world.wait(S);
    assert_eq!(world.happened(), ["kill web.0"]);
    world.exit("web.0", KILLED);
    assert_eq!(world.last_exit("web.0").reason, Reason::DrainDeadline);
    world.wait(21 * S);
    assert_eq!(world.happened(), ["Shutdown agent", "kill agent"]);
}

#[test]
fn a_time_without_end_is_a_long_time() {
    let mut world = World::up(1);
    world.step(|supervisor, _, actions| supervisor.stop(false, Some(Duration::MAX), actions));
    world.wait(24 * 3600 * S);
    assert_eq!(world.happened(), ["withdraw", "Shutdown web.0"]);
}

#[test]
fn a_fast_stop_asks_everybody_at_once_and_has_a_second_of_patience() {
    let mut world = World::up(1);
    world.stop(false);
    world.happened();
    world.stop(true);
    assert_eq!(world.happened(), ["Shutdown agent", "Shutdown web.0"]);
    world.wait(S);
    assert_eq!(world.happened(), ["kill agent", "kill web.0"]);
}

#[test]
fn a_process_without_its_link_is_killed_after_a_moment() {
    let mut world = World::up(2);
    let id = world.id("web.0");
    world.step(|supervisor, now, actions| supervisor.link_lost(id, None, now, actions));
    world.wait(S);
    assert_eq!(world.happened(), ["kill web.0"]);
    world.exit("web.0", KILLED);
    assert_eq!(world.last_exit("web.0").reason, Reason::LinkLost);
    assert_eq!(world.happened(), ["spawn web.0"]);
}

#[test]
fn a_stop_during_the_start_ends_it() {
    let mut world = World::new(2);
    world.stop(false);
    assert_eq!(world.happened(), ["spawn agent", "Shutdown agent"]);
    world.exit("agent", Status::Code(0));
    assert_eq!(world.outcome.unwrap(), Outcome::done());
}

/// What may happen in a random world; numbers choose among the living.
#[derive(Debug, Clone)]
enum Chance {
    Ready(usize),
    Exit(usize, Status),
    LinkLost(usize),
    Wait(u64),
    KillArrives,
    NotSpawned(usize),
    LastWords(usize),
    Stop(bool),
}

fn any_chance() -> impl Strategy<Value = Chance> {
    let status = prop_oneof![Just(FAILED), Just(KILLED), Just(Status::Code(0)), Just(Status::Code(101))];
    prop_oneof![
        4 => any::<usize>().prop_map(Chance::Ready),
        2 => (any::<usize>(), status).prop_map(|(nth, status)| Chance::Exit(nth, status)),
        1 => any::<usize>().prop_map(Chance::LinkLost),
        3 => (0u64..40_000).prop_map(Chance::Wait),
        2 => Just(Chance::KillArrives),
        1 => any::<usize>().prop_map(Chance::NotSpawned),
        1 => any::<usize>().prop_map(Chance::LastWords),
        1 => prop_oneof![9 => Just(None), 1 => any::<bool>().prop_map(Some)]
            .prop_map(|fast| fast.map_or(Chance::KillArrives, Chance::Stop)),
    ]
}

impl World {
    fn nth(&self, nth: usize) -> Option<ChildId> {
        (!self.alive.is_empty()).then(|| *self.alive.keys().nth(nth % self.alive.len()).unwrap())
    }

    fn happen(&mut self, chance: &Chance) {
        match *chance {
            Chance::Ready(nth) => {
                if let Some(id) = self.nth(nth) {
                    self.ready_of(id);
                }
            }
            Chance::NotSpawned(nth) => {
                if let Some(id) = self.nth(nth) {
                    self.not_spawned(id);
                }
            }
            Chance::LastWords(nth) => {
                if let Some(id) = self.nth(nth) {
                    let words = Failure { reason: "words".to_owned(), detail: String::new() };
                    self.step(|supervisor, _, _| supervisor.confessed(id, words));
                }
            }
            Chance::Stop(fast) => self.stop(fast),
            Chance::Exit(nth, status) => {
                if let Some(id) = self.nth(nth) {
                    self.exit_of(id, status);
                }
            }
            Chance::LinkLost(nth) => {
                if let Some(id) = self.nth(nth) {
                    self.step(|supervisor, now, actions| supervisor.link_lost(id, None, now, actions));
                }
            }
            Chance::Wait(milliseconds) => self.wait(Duration::from_millis(milliseconds)),
            Chance::KillArrives => {
                if let Some(id) = self.condemned.first().copied() {
                    self.exit_of(id, KILLED);
                }
            }
        }
    }

    /// Lets time pass as the loop does, with kills that work and nobody who helps.
    fn settle(&mut self) {
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

proptest! {
    /// `World::take` checks that no slot has two processes, that no worker starts before the agent is ready or
    /// during a stop, that nobody outlives the end and that nothing comes after it.
    #[test]
    fn any_order_of_events_keeps_the_promises(
        workers in 1u32..5,
        chances in prop::collection::vec(any_chance(), 0..80),
        fast in any::<bool>(),
    ) {
        let mut world = World::new(workers);
        for chance in &chances {
            if world.outcome.is_some() {
                break;
            }
            world.happen(chance);
        }
        if world.outcome.is_none() {
            world.stop(fast);
            world.settle();
        }
        let count = |word: &str| world.seen.iter().filter(|line| *line == word).count();
        prop_assert_eq!(count("announce"), count("withdraw"), "what was announced is taken back");
    }

    #[test]
    fn an_empty_slot_is_always_due_again(deaths in 1usize..40, workers in 1u32..4) {
        let mut world = World::up(workers);
        for nth in 0..deaths {
            let id = world.nth(nth).unwrap();
            world.exit_of(id, KILLED);
            let deadline = world.supervisor.deadline();
            if world.alive.len() <= workers as usize {
                let due = deadline.map(|due| due - world.now);
                prop_assert!(due.is_some_and(|due| due <= 33 * S), "{due:?}");
                world.wait(due.unwrap_or_default());
            }
            world.ready_of(*world.alive.keys().next_back().unwrap());
            prop_assert_eq!(world.alive.len(), workers as usize + 1);
        }
    }
}
