//! The states that the master keeps: numbers the versions, keeps the latest, chooses the receivers. `keys` answers for
//! those with keys. Pure, and the payload stays closed.

use std::collections::BTreeMap;

use super::courier::Courier;
use super::event::{Action, ChildId};
use super::keys::Keys;
use crate::bus::codec;
use crate::bus::control::PublishAnswer;
use crate::bus::frame::{Frame, Kind};
use crate::bus::payload::RETAINED;
use crate::bus::topic::{self, RESERVED_PREFIX};
use crate::role::Slot;
use crate::status::StateStatus;

/// Passes states from the agent to everybody.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The most bytes of all retained states together.
    limit: usize,
    members: BTreeMap<ChildId, Member>,
    /// The latest version of each state, as the frame that carries it.
    states: BTreeMap<String, Frame>,
    keys: Keys,
    courier: Courier,
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
        Self {
            limit: RETAINED,
            members: BTreeMap::new(),
            states: BTreeMap::new(),
            keys: Keys::default(),
            courier: Courier::default(),
        }
    }
}

impl Relay {
    /// A process said hello: it gets the latest version of every state that concerns it, and each new one from now on.
    pub(crate) fn join(&mut self, id: ChildId, slot: &Slot, actions: &mut Vec<Action>) {
        let member = Member { slot: slot.clone(), runs: BTreeMap::new() };
        for frame in self.states.values().filter(|frame| member.may_have(frame.topic())) {
            self.courier.deliver(id, frame, actions);
        }
        self.members.insert(id, member);
    }

    pub(crate) fn leave(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        self.members.remove(&id);
        self.courier.leave(id);
        self.keys.leave(id, actions);
    }

    /// This agent leads from now on.
    pub(crate) fn lead(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        self.keys.lead(id, actions);
    }

    /// A process observes a keyed state.
    pub(crate) fn observe(
        &mut self,
        from: ChildId,
        topic: &str,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        if topic::split(topic).is_none() {
            return Err(format!("it observes `{topic}`, which has no key"));
        }
        self.keys.observe(from, topic, &mut self.courier, actions);
        Ok(())
    }

    /// A process observes a keyed state no more: what waits of it goes, or one that reads nothing would pile up keys.
    pub(crate) fn unobserve(&mut self, from: ChildId, topic: &str, actions: &mut Vec<Action>) {
        if topic::split(topic).is_some() {
            actions.push(Action::Recall { to: from, topic: topic.to_owned() });
        }
        self.keys.unobserve(from, topic, actions);
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
        let published = self.check(from, frame).and_then(|bytes| {
            if topic::split(frame.topic()).is_some() {
                return self.keys.publish(from, frame, bytes, &mut self.courier, actions);
            }
            let state = self.number(frame);
            self.spread(from, &state, actions);
            Ok(state.number())
        });
        let answer = published.map_or_else(PublishAnswer::Refused, PublishAnswer::Version);
        let body = codec::encode("the answer to a publish request", &answer).unwrap_or_default();
        actions.push(Action::Send { to: from, frame: Frame::new(Kind::Published, frame.number(), body) });
    }

    /// Whether this may be published, and how many bytes it is.
    fn check(&self, from: ChildId, frame: &Frame) -> Result<usize, String> {
        let topic = frame.topic();
        if topic.is_empty() {
            return Err("a state needs a topic".to_owned());
        }
        let name = topic::display(topic);
        if !self.members.get(&from).is_some_and(Member::may_publish) {
            return Err(format!("only the agent may publish the state `{name}`"));
        }
        if frame.lost_descriptors() {
            return Err(format!(
                "the memory of the state `{name}` found no place in the master, whose limit of open files is reached: \
                 raise that limit, or publish again later"
            ));
        }
        let bytes = weight(frame)
            .ok_or_else(|| format!("the value of the state `{name}` is not in sealed memory, as it says"))?;
        let others = self.states.values().filter(|state| state.topic() != topic).filter_map(weight);
        let sum = others.sum::<usize>() + self.keys.bytes_without(topic) + bytes;
        if sum > self.limit {
            let limit = self.limit;
            return Err(format!(
                "with the {bytes} bytes of `{name}` all states together have {sum}, and {limit} are the most"
            ));
        }
        Ok(bytes)
    }

    fn number(&mut self, frame: &Frame) -> Frame {
        let topic = frame.topic();
        let version = self.states.get(topic).map_or(0, Frame::number) + 1;
        let state = frame.kept().readdressed(Kind::State, version);
        self.states.insert(topic.to_owned(), state.clone());
        state
    }

    fn spread(&mut self, publisher: ChildId, state: &Frame, actions: &mut Vec<Action>) {
        for (&to, member) in &mut self.members {
            if to == publisher {
                member.runs.insert(state.topic().to_owned(), state.number());
            } else if member.may_have(state.topic()) {
                self.courier.deliver(to, state, actions);
            }
        }
    }

    /// A process has taken a version of a state, and runs it unless it says why not.
    pub(crate) fn acknowledge(&mut self, from: ChildId, frame: &Frame, actions: &mut Vec<Action>) {
        let (topic, version) = (frame.topic(), frame.number());
        let owed = self.courier.taken(from, topic, version);
        // Who says that it was lost asks for it again.
        if owed.is_some_and(|owed| owed || frame.lost_descriptors())
            && let Some(latest) = self.states.get(topic).or_else(|| self.keys.latest(from, topic))
        {
            self.courier.deliver(from, latest, actions);
        }
        if !frame.payload().is_empty() {
            return;
        }
        self.keys.acknowledge(from, topic, version);
        let known = self.states.get(topic).is_some_and(|state| version <= state.number());
        if let Some(member) = self.members.get_mut(&from).filter(|_| known) {
            let runs = member.runs.entry(topic.to_owned()).or_default();
            *runs = version.max(*runs);
        }
    }

    /// The version of a state that a process runs; 0 for none.
    pub(crate) fn running(&self, id: ChildId, topic: &str) -> u64 {
        self.members.get(&id).and_then(|member| member.runs.get(topic)).copied().unwrap_or_default()
    }

    /// The version of each state that a process runs.
    pub(crate) fn runs(&self, id: ChildId) -> BTreeMap<String, u64> {
        self.members.get(&id).map(|member| member.runs.clone()).unwrap_or_default()
    }

    pub(crate) fn version(&self, topic: &str) -> u64 {
        self.states.get(topic).map_or(0, Frame::number)
    }

    pub(crate) fn relayed(&self) -> u64 {
        self.courier.sent()
    }

    /// The states, and whether all of `workers` run the latest version of each.
    pub(crate) fn states(&self, workers: &[ChildId]) -> Vec<StateStatus> {
        let states = self.states.iter().filter(|(name, _)| !name.starts_with(RESERVED_PREFIX));
        let plain = states.map(|(name, frame)| StateStatus {
            name: name.clone(),
            version: frame.number(),
            bytes: frame.payload_length().unwrap_or_default(),
            converged: !workers.is_empty()
                && workers.iter().all(|id| self.running(*id, name) == frame.number()),
            keys: None,
        });
        plain.chain(self.keys.statuses()).collect()
    }
}

/// The bytes that a retained state takes; `None` if its memory is not what it should be.
fn weight(frame: &Frame) -> Option<usize> {
    let memory = if frame.is_in_memory() { usize::try_from(frame.payload_length()?).ok()? } else { 0 };
    Some(frame.wire_length() + memory)
}

#[cfg(test)]
mod tests;
