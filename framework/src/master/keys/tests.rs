//! Observers and agents come, go and die; what each is told of a key.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const AGENT: ChildId = ChildId(1);
const NEXT_AGENT: ChildId = ChildId(9);
const EU: &str = "price\0eu";
const US: &str = "price\0us";

/// To whom, what, and its number.
type Sent = (u64, Kind, u64);

/// Keys, their courier, and what was told to whom.
#[derive(Default)]
struct World {
    keys: Keys,
    courier: Courier,
}

impl World {
    fn led() -> Self {
        let mut world = Self::default();
        world.keys.lead(AGENT, &mut Vec::new());
        world
    }

    fn observe(&mut self, id: u64, topic: &str) -> Vec<Sent> {
        let mut actions = Vec::new();
        self.keys.observe(ChildId(id), topic, &mut self.courier, &mut actions);
        sends(&actions)
    }

    fn publish(&mut self, from: ChildId, topic: &str, payload: &[u8]) -> (Result<u64, String>, Vec<Sent>) {
        let mut actions = Vec::new();
        let frame = Frame::about(Kind::Publish, topic, 1, payload);
        let version = self.keys.publish(from, &frame, payload.len(), &mut self.courier, &mut actions);
        (version, sends(&actions))
    }

    fn act(&mut self, act: impl FnOnce(&mut Keys, &mut Vec<Action>)) -> Vec<Sent> {
        let mut actions = Vec::new();
        act(&mut self.keys, &mut actions);
        sends(&actions)
    }
}

fn sends(actions: &[Action]) -> Vec<Sent> {
    let send = |action: &Action| match action {
        Action::Send { to, frame } => (to.0, frame.kind(), frame.number()),
        other => panic!("{other:?}"),
    };
    actions.iter().map(send).collect()
}

#[test]
fn the_agent_is_asked_for_a_key_once_however_many_observe_it() {
    let mut world = World::led();
    assert_eq!(world.observe(2, EU), [(1, Kind::Wanted, 0)]);
    assert_eq!(world.observe(3, EU), []);
    assert_eq!(world.publish(AGENT, EU, b"a").1, [(2, Kind::State, 1), (3, Kind::State, 1)]);
    assert_eq!(world.observe(4, EU), [(4, Kind::State, 1)], "a late observer has the last value at once");
    assert_eq!(world.act(|keys, actions| keys.unobserve(ChildId(2), EU, actions)), []);
    assert_eq!(world.act(|keys, actions| keys.leave(ChildId(3), actions)), []);
    assert_eq!(world.act(|keys, actions| keys.leave(ChildId(4), actions)), [(1, Kind::Unwanted, 0)]);
    assert_eq!((world.keys.topics.len(), world.keys.bytes), (0, 0));
}

#[test]
fn versions_never_fall_even_of_a_key_that_was_forgotten() {
    let mut world = World::led();
    world.observe(2, EU);
    assert_eq!(world.publish(AGENT, EU, b"a").0, Ok(1));
    world.act(|keys, actions| keys.unobserve(ChildId(2), EU, actions));
    assert_eq!(world.publish(AGENT, EU, b"b"), (Ok(2), vec![]), "what nobody observes is not kept");
    assert_eq!(world.observe(2, EU), [(1, Kind::Wanted, 0)]);
    assert_eq!(world.publish(AGENT, EU, b"c"), (Ok(3), vec![(2, Kind::State, 3)]));
}

#[test]
fn a_new_agent_is_asked_for_all_keys_when_it_leads_and_the_values_stay_meanwhile() {
    let mut world = World::led();
    world.observe(2, EU);
    let _ = world.publish(AGENT, EU, b"a");
    assert_eq!(world.act(|keys, actions| keys.leave(AGENT, actions)), []);
    assert_eq!(world.observe(3, US), [], "there is nobody to be asked");
    assert_eq!(world.observe(3, EU), [(3, Kind::State, 1)]);
    assert!(world.publish(NEXT_AGENT, EU, b"b").0.is_err(), "it does not lead yet");
    let wanted = world.act(|keys, actions| keys.lead(NEXT_AGENT, actions));
    assert_eq!(wanted, [(9, Kind::Wanted, 0), (9, Kind::Wanted, 0)]);
    assert_eq!(world.publish(NEXT_AGENT, EU, b"b").0, Ok(2));
}

#[test]
fn too_many_keys_are_refused_to_who_observes_them() {
    let mut world = World { keys: Keys { limit: 1, ..Keys::default() }, ..World::default() };
    world.keys.lead(AGENT, &mut Vec::new());
    world.observe(2, EU);
    assert_eq!(world.observe(3, US), [(3, Kind::Unobserve, 0)]);
    assert_eq!(world.observe(3, EU), []);
    assert_eq!(world.act(|keys, actions| keys.leave(ChildId(3), actions)), []);
}

#[test]
fn the_status_has_one_line_for_all_keys_of_a_name() {
    let mut world = World::led();
    for topic in [EU, US, "rate\0x"] {
        world.observe(2, topic);
    }
    let _ = world.publish(AGENT, EU, b"abc");
    let _ = world.publish(AGENT, US, b"de");
    let statuses = world.keys.statuses();
    let lines: Vec<_> =
        statuses.iter().map(|s| (s.name.as_str(), s.keys, s.version, s.bytes, s.converged)).collect();
    assert_eq!(lines, [("price", Some(2), 2, 5, false), ("rate", Some(1), 0, 0, false)]);
    world.keys.acknowledge(ChildId(2), EU, 1);
    world.keys.acknowledge(ChildId(2), US, 900);
    assert!(world.keys.statuses()[0].converged);
}

proptest! {
    #[test]
    fn the_agent_knows_what_is_wanted_and_observers_see_versions_rise(
        steps in prop::collection::vec((0u8..7, 2u64..6, prop::bool::ANY), 1..100)
    ) {
        let mut world = World::led();
        let (mut leader, mut wanted) = (Some(AGENT), BTreeSet::new());
        let mut seen: BTreeMap<(u64, String), u64> = BTreeMap::new();
        let mut agents = 10;
        for (step, id, which) in steps {
            let topic = if which { EU } else { US };
            let mut actions = Vec::new();
            match step {
                0 | 1 => {
                    seen.entry((id, topic.to_owned())).or_default();
                    world.keys.observe(ChildId(id), topic, &mut world.courier, &mut actions);
                }
                2 => {
                    seen.remove(&(id, topic.to_owned()));
                    world.keys.unobserve(ChildId(id), topic, &mut actions);
                }
                3 => {
                    seen.retain(|(of, _), _| *of != id);
                    world.keys.leave(ChildId(id), &mut actions);
                }
                4 => {
                    if let Some(id) = leader.take() {
                        world.keys.leave(id, &mut actions);
                        wanted.clear();
                    } else {
                        agents += 1;
                        leader = Some(ChildId(agents));
                        world.keys.lead(ChildId(agents), &mut actions);
                    }
                }
                _ => {
                    let frame = Frame::about(Kind::Publish, topic, 1, b"x");
                    let from = leader.unwrap_or(AGENT);
                    let _ = world.keys.publish(from, &frame, 1, &mut world.courier, &mut actions);
                }
            }
            for action in actions {
                let Action::Send { to, frame } = action else { panic!("{action:?}") };
                match frame.kind() {
                    Kind::Wanted => prop_assert!(Some(to) == leader && wanted.insert(frame.topic().to_owned())),
                    Kind::Unwanted => prop_assert!(Some(to) == leader && wanted.remove(frame.topic())),
                    _ => {
                        let last = seen.get_mut(&(to.0, frame.topic().to_owned())).expect("an observer");
                        prop_assert!(frame.number() >= *last);
                        *last = frame.number();
                    }
                }
            }
            let observed: BTreeSet<String> = seen.keys().map(|(_, topic)| topic.clone()).collect();
            if leader.is_some() {
                prop_assert_eq!(&wanted, &observed);
            }
            let bytes: usize = world.keys.topics.values().filter(|key| key.state.is_some()).count();
            prop_assert_eq!(world.keys.bytes, bytes);
        }
    }
}
