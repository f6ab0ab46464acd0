//! States and those who publish, get and run them.

use proptest::prelude::*;

use super::*;

const AGENT: ChildId = ChildId(1);
const NEXT_AGENT: ChildId = ChildId(9);

fn publish(relay: &mut Relay, from: ChildId, topic: &str, payload: &[u8]) -> Vec<Action> {
    let mut actions = Vec::new();
    relay.publish(from, &Frame::about(Kind::Publish, topic, 77, payload), &mut actions);
    actions
}

fn join(relay: &mut Relay, id: ChildId, may_publish: bool) -> Vec<Action> {
    let mut actions = Vec::new();
    relay.join(id, &if may_publish { Slot::Agent } else { Slot::worker("web", 0) }, &mut actions);
    actions
}

fn acknowledge(relay: &mut Relay, from: ChildId, version: u64) {
    relay.acknowledge(from, &Frame::about(Kind::Ack, "flags", version, &[]), &mut Vec::new());
}

fn sends(actions: &[Action]) -> Vec<(u64, Kind, u64)> {
    let send = |action: &Action| match action {
        Action::Send { to, frame } => (to.0, frame.kind(), frame.number()),
        other => panic!("{other:?}"),
    };
    actions.iter().map(send).collect()
}

#[test]
fn what_waits_of_a_key_is_taken_back_when_it_is_observed_no_more() {
    let mut relay = Relay::default();
    join(&mut relay, ChildId(2), false);
    let mut actions = Vec::new();
    relay.unobserve(ChildId(2), "price\0eu", &mut actions);
    relay.unobserve(ChildId(2), "config", &mut actions);
    let [Action::Recall { to: ChildId(2), topic }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(topic, "price\0eu");
}

#[test]
fn versions_rise_across_agent_restarts() {
    let mut relay = Relay::default();
    join(&mut relay, AGENT, true);
    join(&mut relay, ChildId(2), false);
    assert_eq!(
        sends(&publish(&mut relay, AGENT, "flags", b"a")),
        [(2, Kind::State, 1), (1, Kind::Published, 77)]
    );
    relay.leave(AGENT, &mut Vec::new());
    assert_eq!(sends(&join(&mut relay, NEXT_AGENT, true)), [(9, Kind::State, 1)]);
    let actions = publish(&mut relay, NEXT_AGENT, "flags", b"b");
    assert_eq!(sends(&actions), [(2, Kind::State, 2), (9, Kind::Published, 77)]);
}

#[test]
fn a_late_joiner_gets_the_latest_version_of_every_state() {
    let mut relay = Relay::default();
    join(&mut relay, AGENT, true);
    for (topic, payload) in [("a", b"1"), ("a", b"2"), ("b", b"1")] {
        publish(&mut relay, AGENT, topic, payload);
    }
    assert_eq!(sends(&join(&mut relay, ChildId(2), false)), [(2, Kind::State, 2), (2, Kind::State, 1)]);
}

#[test]
fn what_one_agent_leaves_for_the_next_goes_to_no_worker() {
    let mut relay = Relay::default();
    join(&mut relay, AGENT, true);
    join(&mut relay, ChildId(2), false);
    assert_eq!(sends(&publish(&mut relay, AGENT, "hatchery.reading", b"a")), [(1, Kind::Published, 77)]);
    assert_eq!(sends(&join(&mut relay, ChildId(3), false)), []);
    relay.leave(AGENT, &mut Vec::new());
    assert_eq!(sends(&join(&mut relay, NEXT_AGENT, true)), [(9, Kind::State, 1)]);
    assert!(relay.states(&[ChildId(2)]).is_empty());
}

#[test]
fn secrets_go_to_the_workers_of_their_group_and_are_not_listed() {
    let mut relay = Relay::default();
    join(&mut relay, AGENT, true);
    join(&mut relay, ChildId(2), false);
    relay.join(ChildId(3), &Slot::worker("jobs", 0), &mut Vec::new());
    let topic = topic::secrets_of("web");
    assert_eq!(
        sends(&publish(&mut relay, AGENT, &topic, b"a")),
        [(2, Kind::State, 1), (1, Kind::Published, 77)]
    );
    assert_eq!(sends(&join(&mut relay, ChildId(4), false)), [(4, Kind::State, 1)]);
    assert!(relay.states(&[ChildId(2)]).is_empty());
}

#[test]
fn all_states_together_are_bounded() {
    let mut relay = Relay { limit: 4000, ..Relay::default() };
    join(&mut relay, AGENT, true);
    let half = vec![0; 2000];
    publish(&mut relay, AGENT, "a", &half);
    publish(&mut relay, AGENT, "b", &half);
    publish(&mut relay, AGENT, "a", &half[1000..]);
    assert_eq!((relay.version("a"), relay.version("b")), (2, 0));
}

#[test]
fn a_worker_may_not_publish_a_state() {
    let mut relay = Relay::default();
    join(&mut relay, ChildId(2), false);
    let actions = publish(&mut relay, ChildId(2), "flags", b"a");
    assert_eq!(sends(&actions), [(2, Kind::Published, 77)]);
    assert_eq!(relay.version("flags"), 0);
}

#[test]
fn a_state_has_converged_when_every_worker_runs_its_latest_version() {
    let mut relay = Relay::default();
    join(&mut relay, AGENT, true);
    let workers = [ChildId(2), ChildId(3)];
    for id in workers {
        join(&mut relay, id, false);
    }
    publish(&mut relay, AGENT, "flags", b"a");
    let converged = |relay: &Relay| relay.states(&workers)[0].converged;
    acknowledge(&mut relay, workers[0], 1);
    assert!(!converged(&relay));
    acknowledge(&mut relay, workers[1], 1);
    assert!(converged(&relay));
    publish(&mut relay, AGENT, "flags", b"b");
    assert!(!converged(&relay));
    acknowledge(&mut relay, workers[0], 900);
    assert_eq!(relay.runs(workers[0])["flags"], 1, "a version that was never published is not believed");
}

proptest! {
    #[test]
    fn every_receiver_sees_rising_versions_and_ends_with_the_latest(
        steps in prop::collection::vec((0u8..4, 2u64..6), 1..60)
    ) {
        let mut relay = Relay::default();
        join(&mut relay, AGENT, true);
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        for (step, id) in steps {
            let actions = match step {
                0 => { seen.insert(id, 0); join(&mut relay, ChildId(id), false) }
                1 => { seen.remove(&id); relay.leave(ChildId(id), &mut Vec::new()); vec![] }
                _ => publish(&mut relay, AGENT, "s", b"x"),
            };
            for (to, _, version) in sends(&actions).into_iter().filter(|(_, kind, _)| *kind == Kind::State) {
                prop_assert!(version > seen[&to]);
                seen.insert(to, version);
            }
            for version in seen.values() {
                prop_assert_eq!(*version, relay.version("s"));
            }
        }
    }
}

fn in_memory(topic: &str, bytes: u64) -> Frame {
    let descriptor = std::io::pipe().unwrap().0;
    Frame::about(Kind::Publish, topic, 77, &[]).with_memory(std::sync::Arc::new(descriptor.into()), bytes)
}

#[test]
fn what_is_in_memory_counts_like_what_is_in_frames() {
    let mut relay = Relay { limit: 4000, ..Relay::default() };
    join(&mut relay, AGENT, true);
    relay.publish(AGENT, &in_memory("a", 3000), &mut Vec::new());
    relay.publish(AGENT, &in_memory("b", 3000), &mut Vec::new());
    assert_eq!((relay.version("a"), relay.version("b")), (1, 0));
    assert_eq!(relay.states(&[])[0].bytes, 3000);
}

#[test]
fn who_had_no_place_for_a_large_state_is_sent_the_newest_when_it_says_so() {
    let mut relay = Relay::default();
    join(&mut relay, AGENT, true);
    join(&mut relay, ChildId(2), false);
    relay.publish(AGENT, &in_memory("flags", 1 << 20), &mut Vec::new());
    let lost = |version| Frame::about(Kind::Ack, "flags", version, b"no place").about_loss();
    let mut again = |version| {
        let mut actions = Vec::new();
        relay.acknowledge(ChildId(2), &lost(version), &mut actions);
        sends(&actions)
    };
    assert_eq!(again(1), [(2, Kind::State, 1)]);
    assert_eq!(again(1), [(2, Kind::State, 1)], "as often as it is lost");
    assert_eq!(again(0), [], "what was never sent is not sent again");
    relay.publish(AGENT, &in_memory("flags", 1 << 20), &mut Vec::new());
    let mut actions = Vec::new();
    relay.acknowledge(ChildId(2), &lost(1), &mut actions);
    assert_eq!(sends(&actions), [(2, Kind::State, 2)]);
    assert_eq!(relay.running(ChildId(2), "flags"), 0);
}

#[test]
fn a_value_whose_memory_the_master_has_no_place_for_is_refused() {
    let mut relay = Relay::default();
    join(&mut relay, AGENT, true);
    let mut actions = Vec::new();
    relay.publish(AGENT, &Frame::about(Kind::Publish, "flags", 77, &[]).about_loss(), &mut actions);
    let [Action::Send { frame, .. }] = &actions[..] else { panic!("{actions:?}") };
    let answer = codec::decode("the answer", frame.payload()).unwrap();
    assert!(matches!(answer, PublishAnswer::Refused(why) if why.contains("limit of open files")));
    assert_eq!(relay.version("flags"), 0);
}

#[test]
fn who_cannot_read_a_large_state_does_not_run_it_and_gets_the_next_one() {
    let mut relay = Relay::default();
    join(&mut relay, AGENT, true);
    join(&mut relay, ChildId(2), false);
    for expected in [vec![(2, Kind::State, 1), (1, Kind::Published, 77)], vec![(1, Kind::Published, 77)]] {
        let mut actions = Vec::new();
        relay.publish(AGENT, &in_memory("flags", 1 << 20), &mut actions);
        assert_eq!(sends(&actions), expected);
    }
    let mut actions = Vec::new();
    relay.acknowledge(ChildId(2), &Frame::about(Kind::Ack, "flags", 1, b"not sealed"), &mut actions);
    assert_eq!(sends(&actions), [(2, Kind::State, 2)]);
    assert_eq!(relay.running(ChildId(2), "flags"), 0);
}
