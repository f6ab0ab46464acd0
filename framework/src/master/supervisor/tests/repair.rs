//! Budgets, and what becomes of slots whose processes die.

use super::world;
use super::world::{FAILED, KILLED, S, World, crew_rules};
use super::*;
use crate::bus::control::{Answer, Change};
use crate::exit::Status;
use crate::master::event::Reply;
use crate::master::scaling::Scaling;

#[test]
fn slots_that_are_given_up_do_not_make_a_wish_for_fewer_fail() {
    let mut world = World::up(2);
    for _ in 0..11 {
        world.until_filled("web.1");
        world.exit("web.1", FAILED);
    }
    world.until_filled("web.1");
    assert!(world.post("web.1").gave_up);
    let (mut scaling, mut actions, now) = (Scaling::default(), Vec::new(), world.now);
    let reply = Reply(tokio::sync::mpsc::channel(9).0);
    scaling.begin(&mut world.supervisor, "web", Change::To(1), reply, now, &mut actions);
    scaling.settle(world.supervisor.groups(), false, now, &mut actions);
    assert!(!actions.iter().any(|action| matches!(action, Action::Reply { .. })), "{actions:?}");
    world.exit("web.1", FAILED);
    scaling.settle(world.supervisor.groups(), false, now, &mut actions);
    let done = |action: &Action| matches!(action, Action::Reply { answer: Answer::Scaled { to: 1, .. }, .. });
    assert!(actions.iter().any(done), "{actions:?}");
}

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

/// Lives for `hours`: every process of `name` is ended by `status` once it has booted for `boot`. Returns its deaths.
fn endure(world: &mut World, name: &str, boot: u32, status: Status, hours: u32) -> usize {
    let (mut deaths, mut booted) = (0, 0);
    for _ in 0..hours * 3600 {
        if world.outcome.is_some()
            || world.alive.values().all(Slot::is_agent) && world.seen.contains(&"Shutdown agent".to_owned())
        {
            break;
        }
        world.pulse_all();
        world.wait(S);
        booted = if world.alive.values().any(|slot| slot.to_string() == name) { booted + 1 } else { 0 };
        if booted >= boot {
            world.exit(name, status);
            (deaths, booted) = (deaths + 1, 0);
        }
    }
    deaths
}

#[test]
fn a_lone_slot_gives_up_although_it_dies_seldom() {
    for boot in [1, 5, 29] {
        let mut world = World::up(1);
        for _ in 0..61 {
            world.pulse_all();
            world.wait(S);
        }
        world.exit("web.0", KILLED);
        let deaths = endure(&mut world, "web.0", boot, FAILED, 2);
        assert!(deaths <= 12, "{deaths} deaths with {boot} s to boot");
        assert!(world.happened().contains(&"gave up web".to_owned()));
    }
}

#[test]
fn slots_that_retry_in_turn_do_not_keep_a_dead_cluster_alive() {
    let mut world = World::up(8);
    let workers: Vec<ChildId> = world.alive.keys().copied().skip(1).collect();
    for id in workers {
        world.exit_of(id, FAILED);
    }
    for _ in 0..4 * 3600 {
        if world.seen.contains(&"Shutdown agent".to_owned()) {
            return;
        }
        world.pulse_all();
        world.wait(S);
        while let Some(id) = world.condemned.first().copied() {
            world.exit_of(id, KILLED);
        }
    }
    panic!("nothing has served for 4 hours");
}

#[test]
fn a_cluster_whose_only_group_rests_goes_on() {
    let mut world = World::with(crew_rules(), &[("jobs", 1)]);
    world.raise();
    world.scale("jobs", 0);
    world.exit("jobs.0", Status::Code(0));
    world.exit("agent", KILLED);
    assert!(world.happened().contains(&"spawn agent".to_owned()));
    assert_eq!(world.supervisor.state(), ClusterState::Degraded);
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
fn what_was_given_up_is_forgotten_when_a_process_works_and_nobody_has_died_for_a_while() {
    let mut world = World::up(2);
    for _ in 0..11 {
        world.until_filled("web.0");
        world.exit("web.0", FAILED);
    }
    assert!(world.post("web.0").gave_up);
    world.until_filled("web.0");
    // Recycled each few seconds, nobody is ever stable.
    for _ in 0..12 {
        world.ready("web.0");
        world.pulse_all();
        world.wait(5 * S);
        world.retire(world.newest("web.0"));
        world.calm_slot("web.0");
    }
    assert!(!world.post("web.0").gave_up);
}

#[test]
fn a_wish_to_be_replaced_and_the_end_after_it_count_once() {
    let mut world = World::up(1);
    let restarts = world.post("web.0").restarts;
    world.retire(world.id("web.0"));
    world.exit_of(world.newest("web.0"), FAILED);
    assert_eq!(world.post("web.0").restarts, restarts, "the one that works was not replaced by force");
    let before = world.supervisor.groups()[0].due();
    world.exit("web.0", Status::Code(0));
    let due = world.supervisor.groups()[0].due().unwrap() - world.now;
    assert!(due <= 300 * world::MS, "{due:?}, before {before:?}");
}

#[test]
fn news_of_being_ready_that_crosses_the_wish_to_leave_gives_time_to_finish() {
    let mut world = World::up(1);
    world.scale("web", 2);
    world.scale("web", 1);
    assert_eq!(world.happened(), ["spawn web.1", "Shutdown web.1"]);
    world.ready("web.1");
    for _ in 0..29 {
        world.pulse_all();
        world.wait(S);
    }
    assert_eq!(world.happened(), [""; 0]);
    world.wait(2 * S);
    assert_eq!(world.happened(), ["kill web.1"]);
}
