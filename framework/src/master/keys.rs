//! Keyed states: who observes which key, what the agent is asked for, and the last value of each key that somebody
//! observes. Pure, and the payload stays closed.

use std::collections::BTreeMap;

use super::courier::Courier;
use super::event::{Action, ChildId};
use crate::bus::frame::{Frame, Kind};
use crate::bus::topic;
use crate::status::StateStatus;

/// The most keys that are observed at a time: the agent can be asked for all of them at once.
const KEYS: usize = 16_384;

/// The most names that the status tells of.
const NAMES: usize = 256;

/// All keys that somebody observes.
#[derive(Debug)]
pub(crate) struct Keys {
    limit: usize,
    /// The highest version that any key ever had: one that is observed anew never falls behind.
    last_version: u64,
    /// Who is asked for the values.
    leader: Option<ChildId>,
    topics: BTreeMap<String, Key>,
    /// The bytes of all values.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Key {
    /// Who observes it, and the version that it runs.
    watchers: BTreeMap<ChildId, u64>,
    /// The latest version, as the frame that carries it, and its bytes.
    state: Option<(Frame, usize)>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { limit: KEYS, last_version: 0, leader: None, topics: BTreeMap::new(), bytes: 0 }
    }
}

impl Keys {
    /// A process observes a key: it gets the last value at once, and each new one from now on. Saying so again is
    /// asking for the last value.
    pub(crate) fn observe(
        &mut self,
        from: ChildId,
        topic: &str,
        courier: &mut Courier,
        actions: &mut Vec<Action>,
    ) {
        let is_new = !self.topics.contains_key(topic);
        if is_new && self.topics.len() >= self.limit {
            let reason = format!("{} keys are observed in this cluster, which are the most", self.limit);
            let frame = Frame::about(Kind::Unobserve, topic, 0, reason.as_bytes());
            return actions.push(Action::Send { to: from, frame });
        }
        let key = self.topics.entry(topic.to_owned()).or_default();
        key.watchers.entry(from).or_default();
        if let Some((state, _)) = &key.state {
            courier.deliver(from, state, actions);
        }
        if is_new {
            self.tell(Kind::Wanted, topic, actions);
        }
    }

    /// A process observes a key no more.
    pub(crate) fn unobserve(&mut self, from: ChildId, topic: &str, actions: &mut Vec<Action>) {
        let Some(key) = self.topics.get_mut(topic) else { return };
        if key.watchers.remove(&from).is_some() && key.watchers.is_empty() {
            let state = self.topics.remove(topic).and_then(|key| key.state);
            self.bytes -= state.map_or(0, |(_, bytes)| bytes);
            self.tell(Kind::Unwanted, topic, actions);
        }
    }

    /// This agent leads from now on, and is asked for all that is observed.
    pub(crate) fn lead(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        self.leader = Some(id);
        let wanted = self.topics.keys().map(|topic| Frame::about(Kind::Wanted, topic, 0, &[]));
        actions.extend(wanted.map(|frame| Action::Send { to: id, frame }));
    }

    pub(crate) fn leave(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        self.leader = self.leader.filter(|leader| *leader != id);
        let watched = self.topics.iter().filter(|(_, key)| key.watchers.contains_key(&id));
        let topics: Vec<String> = watched.map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            self.unobserve(id, &topic, actions);
        }
    }

    fn tell(&self, kind: Kind, topic: &str, actions: &mut Vec<Action>) {
        if let Some(to) = self.leader {
            actions.push(Action::Send { to, frame: Frame::about(kind, topic, 0, &[]) });
        }
    }

    /// A new value of `bytes` bytes: it gets the next version of all, and goes to the observers but its publisher. What
    /// nobody observes is not kept.
    pub(crate) fn publish(
        &mut self,
        from: ChildId,
        frame: &Frame,
        bytes: usize,
        courier: &mut Courier,
        actions: &mut Vec<Action>,
    ) -> Result<u64, String> {
        if self.leader != Some(from) {
            return Err("only the agent that leads may publish keyed states".to_owned());
        }
        self.last_version += 1;
        let version = self.last_version;
        if let Some(key) = self.topics.get_mut(frame.topic()) {
            let state = frame.kept().readdressed(Kind::State, version);
            for (&to, runs) in &mut key.watchers {
                if to == from {
                    *runs = version;
                } else {
                    courier.deliver(to, &state, actions);
                }
            }
            self.bytes += bytes;
            self.bytes -= key.state.replace((state, bytes)).map_or(0, |(_, bytes)| bytes);
        }
        Ok(version)
    }

    /// A process runs a version of a key.
    pub(crate) fn acknowledge(&mut self, from: ChildId, topic: &str, version: u64) {
        if let Some(runs) = self.topics.get_mut(topic).and_then(|key| key.watchers.get_mut(&from)) {
            *runs = version.min(self.last_version).max(*runs);
        }
    }

    /// The last value of a key, if this process observes it.
    pub(crate) fn latest(&self, watcher: ChildId, topic: &str) -> Option<&Frame> {
        let key = self.topics.get(topic).filter(|key| key.watchers.contains_key(&watcher))?;
        key.state.as_ref().map(|(frame, _)| frame)
    }

    /// The bytes of all values but that of `topic`.
    pub(crate) fn bytes_without(&self, topic: &str) -> usize {
        let own = self.topics.get(topic).and_then(|key| key.state.as_ref()).map_or(0, |(_, bytes)| *bytes);
        self.bytes - own
    }

    /// A line for each name.
    pub(crate) fn statuses(&self) -> Vec<StateStatus> {
        let mut names: BTreeMap<&str, StateStatus> = BTreeMap::new();
        for (topic, key) in &self.topics {
            let Some((name, _)) = topic::split(topic) else { continue };
            if names.len() >= NAMES && !names.contains_key(name) {
                break;
            }
            let status = names.entry(name).or_insert_with(|| StateStatus {
                name: name.to_owned(),
                version: 0,
                bytes: 0,
                converged: true,
                keys: Some(0),
            });
            let version = key.state.as_ref().map(|(frame, _)| frame.number());
            status.version = status.version.max(version.unwrap_or_default());
            status.bytes +=
                key.state.as_ref().and_then(|(frame, _)| frame.payload_length()).unwrap_or_default();
            status.converged &=
                version.is_some_and(|version| key.watchers.values().all(|runs| *runs >= version));
            status.keys = status.keys.map(|keys| keys + 1);
        }
        names.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
