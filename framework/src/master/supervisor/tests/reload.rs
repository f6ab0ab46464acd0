//! A new generation takes the place of the old one, or leaves no trace.

use super::world::{FAILED, KILLED, S, World};
use super::*;
use crate::exit::Status;

fn leave(world: &mut World, name: &str) {
    world.exit(name, Status::Code(0));
}

/// The generations of the living, by their slots.
fn generations(world: &mut World) -> Vec<(String, u64)> {
    let everybody: Vec<_> = world.alive.iter().map(|(id, slot)| (*id, slot.to_string())).collect();
    everybody
        .into_iter()
        .map(|(id, name)| (name, world.supervisor.occupant(id).unwrap().1.generation))
        .collect()
}

#[test]
fn workers_are_replaced_one_after_the_other_when_their_successors_are_ready() {
    let mut world = World::up(2);
    world.reload(false);
    world.prepared(Ok(false));
    assert_eq!(world.happened(), ["spawn web.0"]);
    world.ready("web.0");
    assert_eq!(world.happened(), ["Shutdown web.0", "ClusterReady web.0"]);
    world.wait(S);
    assert_eq!(world.happened(), ["spawn web.1"], "the next one does not wait for the drain");
    world.ready("web.1");
    leave(&mut world, "web.0");
    world.wait(S);
    let happened = world.happened();
    assert!(happened.last().unwrap().starts_with("Reloaded { generation: 2"), "{happened:?}");
    leave(&mut world, "web.1");
    assert_eq!(world.last_exit("web.1").reason, Reason::Replaced);
    assert_eq!(world.supervisor.generation(), 2);
    world.exit("web.0", KILLED);
    assert!(generations(&mut world).contains(&("web.0".to_owned(), 2)), "repair is of the new generation");
}

#[test]
fn an_agent_of_a_new_program_leads_when_the_old_one_has_left() {
    let mut world = World::up(1);
    world.reload(false);
    world.prepared(Ok(true));
    assert_eq!(world.happened(), ["spawn agent"]);
    let newcomer = world.newest("agent");
    world.stand_by(newcomer);
    assert_eq!(world.happened(), ["Shutdown agent"]);
    leave(&mut world, "agent");
    assert_eq!(world.happened(), ["Lead agent"]);
    world.ready_of(newcomer);
    world.wait(S);
    assert_eq!(world.happened(), ["spawn web.0", "ClusterReady agent"]);
}

#[test]
fn an_agent_that_fails_before_it_leads_changes_nothing() {
    let mut world = World::up(1);
    world.reload(false);
    world.prepared(Ok(true));
    world.exit_of(world.newest("agent"), Status::Code(78));
    world.wait(S);
    let happened = world.happened();
    assert_eq!(happened[0], "spawn agent");
    assert!(
        happened[1].starts_with("Failed(\"nothing has changed, generation 1 serves on: agent found"),
        "{happened:?}"
    );
    assert_eq!(happened.len(), 2, "{happened:?}");
    assert_eq!(generations(&mut world), [("agent".to_owned(), 1), ("web.0".to_owned(), 1)]);
}

#[test]
fn a_worker_that_fails_takes_everything_new_down_again() {
    let mut world = World::up(2);
    world.reload(false);
    world.prepared(Ok(false));
    world.ready("web.0");
    leave(&mut world, "web.0");
    world.wait(S);
    world.happened();
    world.exit_of(world.newest("web.1"), FAILED);
    assert_eq!(world.happened(), ["spawn web.0"], "the old generation comes back first");
    world.ready("web.0");
    world.wait(S);
    let happened = world.happened();
    assert_eq!(&happened[..2], ["Shutdown web.0", "ClusterReady web.0"]);
    assert!(happened[2].contains("web.1 failed with code 1"), "{happened:?}");
    leave(&mut world, "web.0");
    assert!(generations(&mut world).iter().all(|(_, generation)| *generation == 1));
    assert_eq!(world.supervisor.state(), ClusterState::Running);
}

#[test]
fn only_where_a_next_one_comes_it_is_announced() {
    let mut world = World::up(2);
    world.reload(false);
    world.prepared(Ok(false));
    world.exit("web.1", KILLED);
    assert!(world.retries.pop().unwrap().is_some(), "one of the generation in force");
    world.exit_of(world.newest("web.0"), FAILED);
    assert_eq!(world.retries.pop().unwrap(), None, "the reload goes back");
}

#[test]
fn a_program_that_cannot_be_opened_changes_nothing() {
    let mut world = World::up(1);
    world.reload(false);
    world.prepared(Err("it is gone"));
    assert_eq!(world.happened(), ["Failed(\"nothing has changed, generation 1 serves on: it is gone\")"]);
}

#[test]
fn one_reload_waits_for_another_and_a_third_is_refused() {
    let mut world = World::up(1);
    for _ in 0..3 {
        world.reload(false);
    }
    assert_eq!(world.happened().len(), 1, "the third one is answered");
    world.prepared(Err("no"));
    assert!(world.preparing.is_some(), "the second one begins when the first has ended");
}

#[test]
fn a_reload_whose_caller_has_left_before_its_turn_is_not_begun() {
    let mut world = World::up(1);
    world.reload(false);
    world.reload(false);
    drop(world.callers.pop());
    world.prepared(Err("no"));
    assert!(world.preparing.is_none());
}

/// A reload of two slots whose second new worker fails, and from then on every one of the old generation, too.
fn reload_without_a_way_back() -> World {
    let mut world = World::up(2);
    world.reload(false);
    world.prepared(Ok(false));
    world.ready("web.0");
    leave(&mut world, "web.0");
    world.wait(S);
    world.exit_of(world.newest("web.1"), FAILED);
    for _ in 0..70 {
        let old = generations(&mut world).iter().filter(|it| **it == ("web.0".to_owned(), 1)).count();
        if old > 0 {
            world.exit_of(world.newest("web.0"), FAILED);
        }
        world.wait(S);
    }
    world
}

#[test]
fn a_reload_whose_way_back_fails_names_the_slots_that_are_not_back() {
    let mut world = reload_without_a_way_back();
    let happened = world.happened();
    let said = happened.iter().find(|line| line.starts_with("Failed")).unwrap();
    assert!(said.contains("generation 1 serves on, but not in web.0: still generation 2 there"), "{said}");
    assert_eq!(world.supervisor.stranded(), [Slot::worker("web", 0)]);
    while !generations(&mut world).contains(&("web.0".to_owned(), 1)) {
        world.wait(S);
    }
    world.ready_of(world.newest("web.0"));
    assert_eq!(world.supervisor.stranded(), []);
}

#[test]
fn a_reload_that_costs_a_slot_its_process_does_not_say_that_nothing_has_changed() {
    let mut world = World::up(2);
    world.reload(false);
    world.prepared(Ok(false));
    world.exit("web.0", KILLED);
    world.exit_of(world.newest("web.0"), FAILED);
    for _ in 0..70 {
        if world.alive.values().any(|slot| slot.to_string() == "web.0") {
            world.exit_of(world.newest("web.0"), FAILED);
        }
        world.wait(S);
    }
    let happened = world.happened();
    let said = happened.iter().find(|line| line.starts_with("Failed")).unwrap();
    assert!(said.contains("generation 1 serves on, but fewer processes work than before"), "{said}");
}

#[test]
fn what_a_failed_reload_has_left_is_replaced_by_the_next_one_under_a_number_of_its_own() {
    let mut world = reload_without_a_way_back();
    world.reload(false);
    assert_eq!(world.preparing, Some(3));
    world.prepared(Ok(false));
    world.until_filled("web.0");
    world.ready_of(world.newest("web.0"));
    world.wait(S);
    assert_eq!(world.supervisor.active_of(2), []);
}

#[test]
fn a_worker_that_dies_during_a_reload_is_replaced_by_its_own_generation() {
    let mut world = World::up(2);
    world.reload(false);
    world.prepared(Ok(false));
    world.happened();
    world.exit("web.1", KILLED);
    assert_eq!(world.happened(), ["spawn web.1"]);
    assert!(generations(&mut world).contains(&("web.1".to_owned(), 1)));
}

/// Two slots, of which `web.0` was given up, and a reload that has just found its image and settings.
fn reloading_with_a_slot_given_up() -> World {
    let mut world = World::up(2);
    for _ in 0..11 {
        world.until_filled("web.0");
        world.exit("web.0", FAILED);
    }
    world.happened();
    world.reload(false);
    world.prepared(Ok(false));
    world
}

#[test]
fn a_reload_heals_slots_that_were_given_up() {
    let mut world = reloading_with_a_slot_given_up();
    assert_eq!(world.happened(), ["spawn web.0"]);
    world.ready("web.0");
    world.wait(S);
    world.ready("web.1");
    world.wait(S);
    assert_eq!(world.supervisor.generation(), 2);
}

/// The reload is over as soon as the first process that it has started ends.
fn assert_fails_with_its_first(world: &mut World) {
    world.exit_of(world.newest("web.0"), FAILED);
    world.wait(S);
    let happened = world.happened();
    assert!(happened.iter().any(|line| line.contains("nothing has changed")), "{happened:?}");
}

#[test]
fn a_reload_that_fails_is_answered_at_once_though_a_slot_was_empty_before() {
    let mut world = reloading_with_a_slot_given_up();
    assert_fails_with_its_first(&mut world);
}

#[test]
fn a_reload_that_fails_is_answered_at_once_though_the_one_before_left_the_agent_as_it_was() {
    let mut world = World::up(1);
    world.reload(false);
    world.prepared(Ok(false));
    world.ready("web.0");
    leave(&mut world, "web.0");
    assert_eq!(world.supervisor.generation(), 2);
    world.happened();
    world.reload(false);
    world.prepared(Ok(false));
    assert_fails_with_its_first(&mut world);
}

#[test]
fn a_stop_answers_whoever_waits_for_a_reload() {
    let mut world = World::up(1);
    world.reload(false);
    world.reload(false);
    world.stop(false);
    let refused = world.happened().iter().filter(|line| line.contains("the cluster is stopping")).count();
    assert_eq!(refused, 2);
}
