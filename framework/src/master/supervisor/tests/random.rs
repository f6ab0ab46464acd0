//! Random events in a random order keep every promise.

use proptest::prelude::*;

use super::world::{FAILED, KILLED, S, World, crew_rules};
use super::*;
use crate::bus::control::Pulse;
use crate::exit::Status;
use crate::master::recycling::Limits;
use crate::master::rules::CrewRules;
use crate::master::settings::ClusterSettings;

/// What may happen in a random world; numbers choose among the living.
#[derive(Debug, Clone)]
enum Chance {
    Ready(usize),
    Exit(usize, Status),
    LinkLost(usize),
    Pulse(usize, u64),
    PulseAll,
    Retire(usize),
    Scale(u32),
    Reload(bool),
    Prepared(bool),
    StandBy,
    Nap(u64),
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
        2 => (any::<usize>(), 0u64..2000).prop_map(|(nth, requests)| Chance::Pulse(nth, requests)),
        4 => Just(Chance::PulseAll),
        1 => any::<usize>().prop_map(Chance::Retire),
        1 => (1u32..6).prop_map(Chance::Scale),
        1 => any::<bool>().prop_map(Chance::Reload),
        2 => any::<bool>().prop_map(Chance::Prepared),
        2 => Just(Chance::StandBy),
        1 => (2_000u64..100_000).prop_map(Chance::Nap),
        3 => (0u64..40_000).prop_map(Chance::Wait),
        2 => Just(Chance::KillArrives),
        1 => any::<usize>().prop_map(Chance::NotSpawned),
        1 => any::<usize>().prop_map(Chance::LastWords),
        1 => prop_oneof![9 => Just(None), 1 => any::<bool>().prop_map(Some)]
            .prop_map(|fast| fast.map_or(Chance::KillArrives, Chance::Stop)),
    ]
}

impl World {
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
                    self.confess(id, "words", "");
                }
            }
            Chance::Pulse(nth, requests) => {
                if let Some(id) = self.nth(nth) {
                    self.pulse(id, Pulse { requests, ..Pulse::default() });
                }
            }
            Chance::PulseAll => self.pulse_all(),
            Chance::Retire(nth) => {
                if let Some(id) = self.nth(nth).filter(|id| !self.alive[id].is_agent()) {
                    self.retire(id);
                }
            }
            Chance::Reload(agent) => self.reload(agent),
            Chance::Prepared(good) => {
                if self.preparing.is_some() {
                    self.prepared(if good { Ok(true) } else { Err("no") });
                }
            }
            Chance::StandBy => self.nth(0).into_iter().for_each(|id| self.stand_by(id)),
            Chance::Scale(to) => self.scale("web", to),
            Chance::Nap(milliseconds) => {
                let nap = Duration::from_millis(milliseconds);
                self.now += nap;
                self.step(|supervisor, _, _| supervisor.forgive(nap));
            }
            Chance::Stop(fast) => self.stop(fast),
            Chance::Exit(nth, status) => {
                if let Some(id) = self.nth(nth) {
                    self.exit_of(id, status);
                }
            }
            Chance::LinkLost(nth) => {
                if let Some(id) = self.nth(nth) {
                    self.lose_link(id);
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
        let settings = ClusterSettings { max_requests: 1000, ..ClusterSettings::default() };
        let rules = CrewRules { limits: Limits::from(&settings), ..crew_rules() };
        let mut world = World::with(rules, &[("web", workers), ("jobs", 1)]);
        for chance in &chances {
            if world.outcome.is_some() {
                break;
            }
            world.happen(chance);
        }
        if world.outcome.is_none() && world.supervisor.state() != ClusterState::Stopping {
            world.calm_down();
            if world.supervisor.state() != ClusterState::Stopping {
                prop_assert!(world.supervisor.groups().iter().all(Crew::is_settled), "one process in each slot");
                prop_assert_eq!(world.supervisor.state(), ClusterState::Running);
            }
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
