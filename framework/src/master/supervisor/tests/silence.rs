//! Processes that fall silent, and naps of the master.

use super::world::{KILLED, S, World, crew_rules};
use super::*;
use crate::bus::control::Pulse;
use crate::master::occupant::Stage;
use crate::master::rules::CrewRules;

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
fn who_is_silent_for_longer_than_a_pulse_lags() {
    let mut world = World::up(1);
    world.pulse(world.id("web.0"), Pulse { lag_ms: 7, ..Pulse::default() });
    world.wait(3 * S);
    let now = world.now;
    let (_, occupant) = world.supervisor.occupant(world.id("web.0")).unwrap();
    let patient = crew_rules();
    let endless = CrewRules { heartbeat_timeout: None, ..patient };
    assert_eq!(occupant.lag_ms(&patient, now), 500, "a pulse is due each 2.5 seconds");
    assert_eq!([0, 15].map(|more| occupant.lag_ms(&endless, now + more * S)), [7, 8000]);
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
    assert_eq!(world.happened(), ["withdraw", "close", "Shutdown web.0", "abort agent", "abort web.0"]);
}

#[test]
fn a_stop_waits_for_no_examination() {
    // It is found to hang before the stop, or in the midst of it.
    for seconds_before in [9, 12, 14] {
        let mut world = World::up(1);
        world.pulse_all();
        for _ in 0..seconds_before {
            world.wait(S);
        }
        world.stop_within(3 * S);
        for _ in 0..3 {
            world.wait(S);
        }
        let stage = &world.post("web.0").occupants[0].stage;
        assert_eq!(*stage, Stage::Dying { blame: Reason::Hung }, "{seconds_before}");
    }
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
