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
mod tests;
