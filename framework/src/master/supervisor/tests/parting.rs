//! Processes that take leave without being asked.

use super::world::World;
use super::*;

/// The process takes leave.
fn part(world: &mut World, id: ChildId) {
    world.step(|supervisor, _, actions| supervisor.occupant(id).unwrap().1.part(actions));
}

#[test]
fn a_process_gets_one_farewell_however_often_it_takes_leave() {
    let mut world = World::up(2);
    let id = world.id("web.0");
    (0..3).for_each(|_| part(&mut world, id));
    assert_eq!(world.happened(), ["Farewell web.0"]);
}

#[test]
fn one_that_takes_leave_unasked_drains_and_nobody_counts_it_as_ready() {
    let mut world = World::up(2);
    let id = world.id("web.0");
    let seen = |world: &mut World| {
        let state = world.supervisor.occupant(id).unwrap().1.state();
        (state, world.supervisor.groups()[0].ready(), world.supervisor.state())
    };
    assert_eq!(seen(&mut world), (ProcessState::Ready, 2, ClusterState::Running));
    part(&mut world, id);
    assert_eq!(seen(&mut world), (ProcessState::Draining, 1, ClusterState::Degraded));
    assert!(!world.post("web.0").is_ready() && world.post("web.1").is_ready());
}

#[test]
fn a_reload_is_not_done_while_a_new_worker_takes_leave() {
    let mut world = World::up(1);
    world.reload(false);
    world.prepared(Ok(false));
    let new = world.newest("web.0");
    world.ready_of(new);
    assert!(world.supervisor.workers_are_of(2));
    part(&mut world, new);
    assert!(!world.supervisor.workers_are_of(2));
}

#[test]
fn a_cluster_whose_last_worker_takes_leave_is_announced_as_ready_no_more() {
    let mut world = World::up(1);
    let id = world.id("web.0");
    part(&mut world, id);
    assert_eq!(world.happened(), ["Farewell web.0", "withdraw"]);
}
