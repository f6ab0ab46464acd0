//! The states that the master keeps: numbers the versions, keeps the latest, chooses the receivers. Pure, and
//! the payload stays closed.

use std::collections::BTreeMap;

use super::event::{Action, ChildId};
use crate::bus::codec;
use crate::bus::control::PublishAnswer;
use crate::bus::frame::{Frame, Kind};
use crate::bus::topic::{self, RESERVED_PREFIX};
use crate::role::Slot;
use crate::status::StateStatus;

/// The most bytes of all retained states together.
const RETAINED: usize = 256 << 20;

/// Passes states from the agent to everybody.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The most bytes of all retained states together.
    limit: usize,
    members: BTreeMap<ChildId, Member>,
    /// The latest version of each state, as the frame that carries it.
    states: BTreeMap<String, Frame>,
    relayed: u64,
}

#[derive(Debug)]
struct Member {
    slot: Slot,
    /// The version of each state that it runs.
    runs: BTreeMap<String, u64>,
}

impl Member {
    fn may_publish(&self) -> bool {
        self.slot.is_agent()
    }

    /// Whether a state of this name concerns it.
    fn may_have(&self, topic: &str) -> bool {
        self.slot.is_agent() || topic::is_for(self.slot.group(), topic)
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self { limit: RETAINED, members: BTreeMap::new(), states: BTreeMap::new(), relayed: 0 }
    }
}

impl Relay {
    /// A process said hello: it gets the latest version of every state that concerns it, and each new one from now on.
    pub(crate) fn join(&mut self, id: ChildId, slot: &Slot, actions: &mut Vec<Action>) {
        let member = Member { slot: slot.clone(), runs: BTreeMap::new() };
        for frame in self.states.values().filter(|frame| member.may_have(frame.topic())) {
            self.relayed += 1;
            actions.push(Action::Send { to: id, frame: frame.clone() });
        }
        self.members.insert(id, member);
    }

    pub(crate) fn leave(&mut self, id: ChildId) {
        self.members.remove(&id);
    }

    /// Whether a process has said hello.
    pub(crate) fn has(&self, id: ChildId) -> bool {
        self.members.contains_key(&id)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = ChildId> {
        self.members.keys().copied()
    }

    /// A new value: it gets the next version, goes to everybody but its publisher, and is acknowledged.
    pub(crate) fn publish(&mut self, from: ChildId, frame: &Frame, actions: &mut Vec<Action>) {
        let answer = match self.number(from, frame) {
            Ok(state) => {
                self.spread(from, &state, actions);
                PublishAnswer::Version(state.number())
            }
            Err(problem) => PublishAnswer::Refused(problem),
        };
        let body = codec::encode("the answer to a publish request", &answer).unwrap_or_default();
        actions.push(Action::Send { to: from, frame: Frame::new(Kind::Published, frame.number(), body) });
    }

    fn number(&mut self, from: ChildId, frame: &Frame) -> Result<Frame, String> {
        let topic = frame.topic();
        if topic.is_empty() {
            return Err("a state needs a topic".to_owned());
        }
        if !self.members.get(&from).is_some_and(Member::may_publish) {
            return Err(format!("only the agent may publish the state `{topic}`"));
        }
        let others: usize =
            self.states.values().filter(|state| state.topic() != topic).map(Frame::wire_length).sum();
        if others + frame.wire_length() > self.limit {
            return Err(format!("with the state `{topic}` all states together pass {} bytes", self.limit));
        }
        let version = self.states.get(topic).map_or(0, Frame::number) + 1;
        let state = frame.readdressed(Kind::State, version);
        self.states.insert(topic.to_owned(), state.clone());
        Ok(state)
    }

    fn spread(&mut self, publisher: ChildId, state: &Frame, actions: &mut Vec<Action>) {
        for (&to, member) in &mut self.members {
            if to == publisher {
                member.runs.insert(state.topic().to_owned(), state.number());
            } else if member.may_have(state.topic()) {
                self.relayed += 1;
                actions.push(Action::Send { to, frame: state.clone() });
            }
        }
    }

    /// A process runs a version of a state.
    pub(crate) fn acknowledge(&mut self, from: ChildId, topic: &str, version: u64) {
        let known = self.states.get(topic).is_some_and(|state| version <= state.number());
        if let Some(member) = self.members.get_mut(&from).filter(|_| known) {
            let runs = member.runs.entry(topic.to_owned()).or_default();
            *runs = version.max(*runs);
        }
    }

    /// The version of each state that a process runs.
    pub(crate) fn runs(&self, id: ChildId) -> BTreeMap<String, u64> {
        self.members.get(&id).map(|member| member.runs.clone()).unwrap_or_default()
    }

    pub(crate) fn version(&self, topic: &str) -> u64 {
        self.states.get(topic).map_or(0, Frame::number)
    }

    pub(crate) fn relayed(&self) -> u64 {
        self.relayed
    }

    /// The states, and whether all of `workers` run the latest version of each.
    pub(crate) fn states(&self, workers: &[ChildId]) -> Vec<StateStatus> {
        let runs =
            |id, topic| self.members.get(id).and_then(|member: &Member| member.runs.get(topic)).copied();
        self.states
            .iter()
            .filter(|(name, _)| !name.starts_with(RESERVED_PREFIX))
            .map(|(name, frame)| StateStatus {
                name: name.clone(),
                version: frame.number(),
                bytes: frame.payload().len() as u64,
                converged: !workers.is_empty()
                    && workers.iter().all(|id| runs(id, name) == Some(frame.number())),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
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

    fn sends(actions: &[Action]) -> Vec<(u64, Kind, u64)> {
        let send = |action: &Action| match action {
            Action::Send { to, frame } => (to.0, frame.kind(), frame.number()),
            other => panic!("{other:?}"),
        };
        actions.iter().map(send).collect()
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
        relay.leave(AGENT);
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
        relay.leave(AGENT);
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
        relay.acknowledge(workers[0], "flags", 1);
        assert!(!converged(&relay));
        relay.acknowledge(workers[1], "flags", 1);
        assert!(converged(&relay));
        publish(&mut relay, AGENT, "flags", b"b");
        assert!(!converged(&relay));
        relay.acknowledge(workers[0], "flags", 900);
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
                    1 => { seen.remove(&id); relay.leave(ChildId(id)); vec![] }
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
}
