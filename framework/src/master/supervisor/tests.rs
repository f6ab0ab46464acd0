//! The supervisor against tables of events, and against a small world with random ones.

mod parting;
mod random;
mod reload;
mod repair;
mod silence;
mod succession;
mod world;

use super::*;
use crate::error::Ending;
use crate::exit::Status;
use crate::status::ProcessState;

use world::{FAILED, KILLED, MS, S, World};

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
    assert_eq!(world.happened(), ["ClusterReady agent", "ClusterReady web.0", "ClusterReady web.1"]);
    world.confirm();
    assert_eq!(world.happened(), ["announce"], "when all know it");
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
    assert_eq!(world.post("web.0").empty_state(true), ProcessState::BackingOff);
    world.wait(89 * MS);
    assert_eq!(world.happened(), [""; 0]);
    assert!(world.supervisor.deadline().is_some_and(|due| due - world.now <= 21 * MS));
    world.wait(21 * MS);
    assert_eq!(world.happened(), ["spawn web.0"]);
    assert_eq!(world.post("web.0").restarts, 2);
}

#[test]
fn a_replacement_that_fails_is_replaced_however_often() {
    let mut world = World::up(2);
    for _ in 0..1000 {
        world.exit("web.0", FAILED);
        if world.alive.len() == 2 {
            world.wait(33 * S);
        }
        assert!(world.happened().contains(&"spawn web.0".to_owned()));
    }
    assert_eq!(world.post("web.0").restarts, 1000);
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
    assert_eq!(world.happened(), ["ClusterReady web.1"]);
    world.wait(S);
    assert_eq!(
        world.happened(),
        ["announce"],
        "who does not say that it knows holds this up for a second only"
    );
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
    assert_eq!(world.happened(), ["close", "Shutdown agent"]);
    world.exit("agent", Status::Code(0));
    let outcome = world.outcome.unwrap();
    assert_eq!(outcome.ending, Ending::StartFailed);
    assert_eq!(outcome.reason, "the start failed after 3 attempts: web.0 failed with code 1");
}

#[test]
fn a_configuration_error_is_not_tried_again_and_is_told_in_its_own_words() {
    let mut world = World::new(2);
    let id = world.id("agent");
    world.confess(id, "config/default.toml:1:1: no", "the line");
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
    assert_eq!(world.happened(), ["withdraw", "close", "Shutdown web.0", "Shutdown web.1"]);
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
    assert_eq!(world.happened(), ["withdraw", "close", "Shutdown web.0"]);
    world.wait(S);
    assert_eq!(world.happened(), ["kill web.0"]);
    world.exit("web.0", KILLED);
    assert_eq!(world.last_exit("web.0").reason, Reason::DrainDeadline);
    world.wait(21 * S);
    assert_eq!(world.happened(), ["Shutdown agent", "kill agent"]);
}

#[test]
fn an_announced_stop_begins_after_its_delay_and_takes_no_longer_for_it() {
    let mut world = World::up(1);
    world.supervisor.rules.stop_delay = 5 * S;
    world.stop(false);
    // To those who work, the announcement is a frame of the same kind.
    assert_eq!(world.happened(), ["withdraw", "Shutdown web.0"]);
    world.wait(4 * S);
    assert_eq!(world.happened(), [""; 0]);
    world.wait(S);
    assert_eq!(world.happened(), ["close", "Shutdown web.0"]);
    world.wait(15 * S);
    assert_eq!(world.happened(), [""; 0]);
    world.wait(S);
    assert_eq!(world.happened(), ["kill web.0"]);
}

#[test]
fn an_announced_stop_begins_at_once_when_nobody_works_or_has_time() {
    let up = || {
        let mut world = World::up(1);
        world.supervisor.rules.stop_delay = 60 * S;
        world.stop(false);
        world.happened();
        world
    };
    let mut world = up();
    world.stop(true);
    assert_eq!(world.happened(), ["close", "Shutdown agent", "Shutdown web.0"]);
    let mut world = up();
    world.exit("web.0", KILLED);
    assert_eq!(world.happened(), ["close", "Shutdown agent"]);
    let mut world = up();
    world.step(|supervisor, now, actions| supervisor.stop(false, Some(2 * S), now, actions));
    world.wait(S);
    assert_eq!(world.happened(), ["close", "Shutdown web.0"]);
    world.wait(2 * S);
    assert_eq!(world.happened(), ["kill web.0"], "the delay is part of the time, also of a shorter one");
    let mut world = up();
    world.wait(10 * S);
    assert_eq!(world.happened(), ["close", "Shutdown web.0"], "half the time is the most");
}

#[test]
fn a_stop_hurries_who_leaves_for_a_successor() {
    let mut world = World::up(1);
    world.scale("web", 0);
    world.happened();
    world.stop(false);
    assert_eq!(world.happened(), ["withdraw", "close", "Shutdown web.0"]);
    world.wait(S);
    assert_eq!(world.happened(), [""; 0], "once");
}

#[test]
fn a_time_without_end_is_a_long_time() {
    let mut world = World::up(1);
    world.step(|supervisor, now, actions| supervisor.stop(false, Some(Duration::MAX), now, actions));
    world.wait(24 * 3600 * S);
    assert_eq!(world.happened(), ["withdraw", "close", "Shutdown web.0"]);
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
    world.lose_link(id);
    world.wait(S);
    assert_eq!(world.happened(), ["kill web.0"]);
    world.exit("web.0", KILLED);
    assert_eq!(world.last_exit("web.0").reason, Reason::LinkLost);
    assert_eq!(world.happened(), ["spawn web.0"]);
}

#[test]
fn the_end_of_one_that_was_cut_off_tells_why() {
    let mut world = World::up(1);
    let id = world.id("web.0");
    world.cut_off(id, "nothing is left for it");
    world.exit("web.0", Status::Code(0));
    assert_eq!(world.last_exit("web.0").to_string(), "was cut off: nothing is left for it");
}

#[test]
fn a_stop_during_the_start_ends_it() {
    let mut world = World::new(2);
    world.stop(false);
    assert_eq!(world.happened(), ["spawn agent", "close", "Shutdown agent"]);
    world.exit("agent", Status::Code(0));
    assert_eq!(world.outcome.unwrap(), Outcome::done());
}
