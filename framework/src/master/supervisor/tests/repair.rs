//! Budgets, silence, and naps of the master.

use super::world::{FAILED, KILLED, S, World, crew_rules};
use super::*;
use crate::exit::Status;

#[test]
fn a_spent_budget_is_told_once_and_the_slot_is_tried_on_slowly() {
    let mut world = World::up(2);
    let mut deaths = 0;
    while !world.happened().contains(&"gave up web".to_owned()) {
        world.exit("web.0", FAILED);
        deaths += 1;
        if world.seen.contains(&"gave up web".to_owned()) {
            continue;
        }
        while !world.alive.values().any(|slot| slot.to_string() == "web.0") {
            let due = world.supervisor.deadline().unwrap().saturating_duration_since(world.now);
            world.wait(due.min(S));
            world.pulse_all();
        }
    }
    assert!(deaths <= 11, "{deaths}");
    assert_eq!(world.post("web.0").empty_state(true), ProcessState::GaveUp);
    for _ in 0..5 {
        for _ in 0..26 {
            world.pulse_all();
            world.wait(S);
            assert_eq!(world.happened(), [""; 0]);
        }
        for _ in 0..8 {
            world.pulse_all();
            world.wait(S);
        }
        assert_eq!(world.happened(), ["spawn web.0"], "never given up for good");
        world.exit("web.0", FAILED);
    }
}

#[test]
fn a_slot_recovers_when_its_process_is_stable() {
    let mut world = World::up(2);
    for _ in 0..11 {
        if world.alive.values().any(|slot| slot.to_string() == "web.0") {
            world.exit("web.0", FAILED);
        }
        for _ in 0..34 {
            world.pulse_all();
            world.wait(S);
            if world.alive.values().any(|slot| slot.to_string() == "web.0") {
                break;
            }
        }
    }
    let rules = world.supervisor.groups()[0].rules;
    world.ready("web.0");
    for _ in 0..61 {
        world.pulse_all();
        world.wait(S);
    }
    assert!(!world.post("web.0").gave_up, "{rules:?}");
}

#[test]
fn deaths_of_stable_processes_cost_no_budget() {
    let mut world = World::up(64);
    for _ in 0..60 {
        world.pulse_all();
        world.wait(S);
    }
    let workers: Vec<ChildId> = world.alive.keys().copied().skip(1).collect();
    for id in workers {
        world.exit_of(id, KILLED);
    }
    let happened = world.happened();
    assert_eq!(happened.iter().filter(|line| line.starts_with("spawn")).count(), 64);
    assert!(!happened.contains(&"gave up web".to_owned()));
}

#[test]
fn when_nothing_serves_and_the_budget_is_spent_the_master_gives_up() {
    let mut world = World::up(1);
    for _ in 0..12 {
        if world.alive.values().any(|slot| slot.to_string() == "web.0") {
            world.exit("web.0", FAILED);
        }
        while world.outcome.is_none()
            && !world.seen.contains(&"Shutdown agent".to_owned())
            && !world.alive.values().any(|slot| slot.to_string() == "web.0")
        {
            world.pulse_all();
            world.wait(S);
        }
    }
    world.exit("agent", Status::Code(0));
    let outcome = world.outcome.unwrap();
    assert_eq!(outcome.ending, Ending::GaveUp);
    assert!(outcome.reason.contains("web.0 failed with code 1"), "{}", outcome.reason);
}

#[test]
fn other_groups_serve_on_when_one_gives_up() {
    let mut world = World::with(crew_rules(), &[("web", 1), ("jobs", 1)]);
    world.raise();
    for _ in 0..400 {
        if world.alive.values().any(|slot| slot.to_string() == "jobs.0") {
            world.exit("jobs.0", FAILED);
        }
        world.pulse_all();
        world.wait(S);
    }
    let happened = world.happened();
    assert_eq!(happened.iter().filter(|line| *line == "gave up jobs").count(), 1);
    assert!(world.outcome.is_none());
    assert!(happened.iter().filter(|line| *line == "spawn jobs.0").count() > 15, "never given up for good");
}

#[test]
fn a_silent_process_is_aborted_then_killed_then_replaced() {
    let mut world = World::up(2);
    world.pulse_all();
    for _ in 0..9 {
        world.wait(S);
        let others = [world.id("agent"), world.id("web.1")];
        others.into_iter().for_each(|id| world.pulse(id, Default::default()));
    }
    assert_eq!(world.happened(), [""; 0], "busy is not dead");
    world.wait(S);
    assert_eq!(world.happened(), ["abort web.0"]);
    world.pulse_all();
    world.wait(5 * S);
    assert_eq!(world.happened(), ["kill web.0"]);
    world.exit("web.0", KILLED);
    assert_eq!(world.last_exit("web.0").reason, Reason::Hung);
    assert_eq!(world.happened(), ["spawn web.0"]);
}

#[test]
fn a_silent_process_that_dies_of_its_abort_was_hung() {
    let mut world = World::up(1);
    world.pulse_all();
    world.wait(10 * S);
    assert_eq!(world.happened(), ["abort agent", "abort web.0", "withdraw"]);
    world.exit("web.0", Status::Signal(6));
    assert_eq!(world.last_exit("web.0").reason, Reason::Hung);
}

#[test]
fn silence_counts_while_a_process_starts_and_while_it_leaves() {
    let mut world = World::new(1);
    world.pulse_all();
    world.wait(10 * S);
    assert_eq!(world.happened(), ["spawn agent", "abort agent"]);

    let mut world = World::up(1);
    world.pulse_all();
    world.stop(false);
    world.wait(10 * S);
    assert_eq!(world.happened(), ["withdraw", "Shutdown web.0", "abort agent", "abort web.0"]);
}

#[test]
fn nobody_is_blamed_for_the_time_that_the_master_slept() {
    let mut world = World::up(1);
    world.pulse_all();
    world.retire(world.id("web.0"));
    world.happened();
    world.now += 3600 * S;
    world.step(|supervisor, _, _| supervisor.forgive(3600 * S));
    assert_eq!(world.happened(), [""; 0]);
    world.wait(9 * S);
    assert_eq!(world.happened(), [""; 0]);
    world.wait(S);
    assert_eq!(world.happened(), ["abort agent", "abort web.0", "withdraw"], "but for their own");
}
