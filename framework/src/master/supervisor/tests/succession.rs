//! Replacing a process that works: its successor is ready first. Growing and shrinking.

use bytesize::ByteSize;

use super::world::{FAILED, KILLED, MS, S, World, crew_rules};
use super::*;
use crate::bus::control::Pulse;
use crate::exit::Status;
use crate::master::recycling::Limits;
use crate::master::rules::CrewRules;
use crate::master::settings::ClusterSettings;

fn leave(world: &mut World, name: &str) {
    world.exit(name, Status::Code(0));
}

#[test]
fn a_worker_that_retires_works_until_its_successor_does() {
    let mut world = World::up(2);
    world.wait(60 * S);
    world.pulse_all();
    world.retire(world.id("web.0"));
    assert_eq!(world.happened(), ["spawn web.0"]);
    assert_eq!(world.supervisor.state(), ClusterState::Running);
    world.retire(world.id("web.0"));
    assert_eq!(world.happened(), [""; 0], "asking twice changes nothing");
    world.ready("web.0");
    assert_eq!(world.happened(), ["Shutdown web.0", "ClusterReady web.0"]);
    leave(&mut world, "web.0");
    assert_eq!(world.happened(), [""; 0]);
    assert_eq!(world.last_exit("web.0").reason, Reason::Retired);
    assert_eq!(world.post("web.0").restarts, 0, "nobody died");
}

#[test]
fn workers_that_retire_again_and_again_wait_longer_and_longer_for_a_successor() {
    let mut world = World::up(1);
    let mut delays = Vec::new();
    for _ in 0..4 {
        world.retire(world.newest("web.0"));
        let mut waited = Duration::ZERO;
        while world.happened().is_empty() {
            world.wait(10 * MS);
            waited += 10 * MS;
        }
        delays.push(waited);
        world.ready("web.0");
        leave(&mut world, "web.0");
        world.happened();
    }
    assert!(delays[0] <= 10 * MS && delays[1] >= 90 * MS && delays[3] >= 350 * MS, "{delays:?}");
}

#[test]
fn one_worker_of_a_group_is_replaced_at_a_time() {
    let mut world = World::up(3);
    for name in ["web.0", "web.1", "web.2"] {
        world.retire(world.id(name));
    }
    assert_eq!(world.happened(), ["spawn web.0"]);
    world.ready("web.0");
    assert_eq!(world.happened(), ["Shutdown web.0", "ClusterReady web.0"]);
    leave(&mut world, "web.0");
    assert_eq!(world.happened(), ["spawn web.1"]);
}

#[test]
fn a_successor_that_fails_leaves_the_one_that_works_alone_and_is_tried_again() {
    let mut world = World::up(1);
    world.retire(world.id("web.0"));
    world.happened();
    for _ in 0..3 {
        world.exit_of(world.newest("web.0"), FAILED);
        assert_eq!(world.happened(), [""; 0]);
        assert!(world.post("web.0").is_ready());
        world.wait(S);
        assert_eq!(world.happened(), ["spawn web.0"]);
    }
}

#[test]
fn one_that_dies_while_its_successor_starts_needs_no_other() {
    let mut world = World::up(1);
    world.retire(world.id("web.0"));
    world.happened();
    world.exit("web.0", KILLED);
    world.wait(S);
    assert_eq!(world.happened(), ["withdraw"]);
    world.ready("web.0");
    assert_eq!(world.alive.len(), 2);
}

#[test]
fn one_that_does_not_leave_in_time_is_killed_beside_its_successor() {
    let mut world = World::up(1);
    world.retire(world.id("web.0"));
    world.ready("web.0");
    world.happened();
    world.wait(31 * S);
    assert_eq!(world.happened(), ["kill web.0"]);
    world.exit("web.0", KILLED);
    assert_eq!(world.last_exit("web.0").reason, Reason::DrainDeadline);
    assert_eq!(world.happened(), [""; 0]);
}

fn limited(settings: &ClusterSettings) -> CrewRules {
    CrewRules { limits: Limits::from(settings), ..crew_rules() }
}

#[test]
fn workers_are_recycled_one_after_the_other() {
    let settings = ClusterSettings { max_requests: 1000, ..ClusterSettings::default() };
    let mut world = World::with(limited(&settings), &[("web", 2)]);
    world.raise();
    let tired = Pulse { requests: 1200, ..Pulse::default() };
    for name in ["web.0", "web.1"] {
        world.pulse(world.id(name), tired.clone());
    }
    assert_eq!(world.happened(), ["spawn web.0"]);
    world.ready("web.0");
    leave(&mut world, "web.0");
    assert_eq!(world.happened(), ["Shutdown web.0", "ClusterReady web.0", "spawn web.1"]);
    world.ready("web.1");
    leave(&mut world, "web.1");
    world.wait(5 * S);
    assert_eq!(world.happened(), ["Shutdown web.1", "ClusterReady web.1"]);
    assert_eq!(world.last_exit("web.1").reason, Reason::Recycled);
}

#[test]
fn a_worker_is_recycled_when_its_time_has_come_without_any_other_event() {
    let settings = ClusterSettings { max_age: 100 * S, ..ClusterSettings::default() };
    let rules = CrewRules { heartbeat_timeout: None, ..limited(&settings) };
    let mut world = World::with(rules, &[("web", 1)]);
    world.raise();
    let due = world.supervisor.deadline().expect("its age") - world.now;
    assert!((89 * S..=111 * S).contains(&due), "{due:?}");
    world.wait(due);
    assert_eq!(world.happened(), ["spawn web.0"]);
}

#[test]
fn memory_counts_after_three_samples() {
    let settings = ClusterSettings { max_memory: ByteSize::mib(10), ..ClusterSettings::default() };
    let mut world = World::with(limited(&settings), &[("web", 1)]);
    world.raise();
    let large = Pulse { rss_bytes: 12 << 20, ..Pulse::default() };
    for _ in 0..2 {
        world.pulse(world.id("web.0"), large.clone());
    }
    assert_eq!(world.happened(), [""; 0]);
    world.pulse(world.id("web.0"), large);
    assert_eq!(world.happened(), ["spawn web.0"]);
}

#[test]
fn a_group_grows_and_shrinks_at_its_end() {
    let mut world = World::up(2);
    world.scale("web", 4);
    assert_eq!(world.happened(), ["spawn web.2", "spawn web.3"]);
    assert_eq!(world.supervisor.state(), ClusterState::Degraded);
    world.ready("web.2");
    world.scale("web", 1);
    assert_eq!(
        world.happened(),
        ["ClusterReady web.2", "Shutdown web.1", "Shutdown web.2", "Shutdown web.3"]
    );
    for name in ["web.1", "web.2", "web.3"] {
        leave(&mut world, name);
    }
    assert_eq!(world.supervisor.groups()[0].posts.len(), 1);
    assert_eq!(world.supervisor.state(), ClusterState::Running);
    assert_eq!(world.happened(), [""; 0]);
}

#[test]
fn a_slot_that_is_wanted_again_does_not_wait_for_the_one_that_leaves() {
    let mut world = World::up(2);
    world.scale("web", 1);
    world.scale("web", 2);
    assert_eq!(world.happened(), ["Shutdown web.1", "spawn web.1"]);
    leave(&mut world, "web.1");
    assert_eq!(world.last_exit("web.1").reason, Reason::ScaledDown);
    world.ready("web.1");
    assert_eq!(world.supervisor.state(), ClusterState::Running);
}

#[test]
fn groups_have_counts_of_their_own() {
    let mut world = World::with(crew_rules(), &[("web", 1), ("jobs", 2)]);
    world.ready("agent");
    assert_eq!(world.happened(), ["spawn agent", "spawn web.0", "spawn jobs.0", "spawn jobs.1"]);
    world.ready("web.0");
    world.ready("jobs.0");
    assert_eq!(world.supervisor.state(), ClusterState::Starting);
    world.ready("jobs.1");
    assert_eq!(world.supervisor.state(), ClusterState::Running);
    world.scale("jobs", 0);
    leave(&mut world, "jobs.0");
    leave(&mut world, "jobs.1");
    assert_eq!(world.supervisor.state(), ClusterState::Running);
}

#[test]
fn a_successor_that_wants_to_be_succeeded_relieves_the_one_before_it_first() {
    let mut world = World::up(2);
    world.retire(world.id("web.0"));
    world.retire(world.newest("web.0"));
    world.retire(world.id("web.1"));
    world.happened();
    world.ready("web.0");
    assert_eq!(world.happened(), ["Shutdown web.0", "ClusterReady web.0"]);
    for _ in 0..30 {
        if world.alive.values().filter(|slot| slot.to_string() == "web.0").count() > 1 {
            leave(&mut world, "web.0");
        }
        world.pulse_all();
        world.wait(S);
        for id in world.alive.keys().copied().collect::<Vec<_>>() {
            world.ready_of(id);
        }
        if world.alive.values().filter(|slot| slot.to_string() == "web.1").count() > 1 {
            leave(&mut world, "web.1");
        }
    }
    assert!(world.supervisor.groups()[0].is_settled());
}

#[test]
fn a_slot_has_two_processes_at_most_however_often_it_is_scaled() {
    let mut world = World::up(2);
    for _ in 0..5 {
        world.scale("web", 1);
        world.scale("web", 2);
    }
    assert_eq!(world.alive.values().filter(|slot| slot.to_string() == "web.1").count(), 2);
}

#[test]
fn a_group_that_begins_to_work_does_not_make_the_others_unready() {
    let mut world = World::with(crew_rules(), &[("web", 1), ("jobs", 0)]);
    world.raise();
    world.scale("jobs", 1);
    assert_eq!(world.happened(), ["spawn jobs.0"]);
    world.ready("jobs.0");
    world.exit("jobs.0", KILLED);
    assert_eq!(world.happened(), ["ClusterReady jobs.0", "spawn jobs.0", "withdraw"]);
}
