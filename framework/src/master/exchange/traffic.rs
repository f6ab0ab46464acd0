//! What went by, counted by topic and by receiver. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::bus::control::Lost;
use crate::bus::peer::Address;
use crate::bus::topic::OTHERS;
use crate::master::event::{ChildId, MOST_TOPICS};
use crate::status::{PeerTraffic, TopicTraffic};

/// Of so many that have gone last it is known from where: what waited for them is taken back a little later.
const GONE: usize = 64;

/// Counts mail.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    topics: BTreeMap<Box<str>, TopicTraffic>,
    /// The topics that are not told apart.
    others: TopicTraffic,
    peers: BTreeMap<ChildId, PeerTraffic>,
    /// By slot: of those that are gone, so that no figure ever falls.
    past: BTreeMap<Address, PeerTraffic>,
    gone: VecDeque<(ChildId, Address)>,
    relayed: u64,
    dropped: u64,
}

impl Traffic {
    /// A process sent so many messages.
    pub(super) fn sent(&mut self, topic: &str, count: u64) {
        self.topic(topic).sent += count;
    }

    /// They were passed on to each of these processes.
    pub(super) fn delivered(&mut self, receivers: &[ChildId], topic: &str, count: u64, bytes: usize) {
        let (each, many) = (bytes as u64, receivers.len() as u64);
        self.relayed += count * many;
        if !topic.is_empty() && many > 0 {
            let topic = self.topic(topic);
            topic.relayed += count * many;
            topic.bytes += each * many;
        }
        for &to in receivers {
            let peer = self.peers.entry(to).or_default();
            peer.relayed += count;
            peer.bytes += each;
        }
    }

    /// They were not passed on: to this process, or because there is none.
    pub(super) fn dropped(&mut self, to: Option<ChildId>, topic: &str, count: u64) {
        self.dropped += count;
        if let Some(peer) = to.and_then(|to| self.line(to)) {
            peer.dropped += count;
        }
        if !topic.is_empty() {
            self.topic(topic).dropped += count;
        }
    }

    /// They do not get to whoever comes to this slot next, or to a group in which nobody is.
    pub(super) fn dropped_at(&mut self, slot: Option<Address>, topic: &str, count: u64) {
        self.dropped(None, topic, count);
        if let Some(slot) = slot {
            self.past.entry(slot).or_default().dropped += count;
        }
    }

    /// Their sender is told that they were not taken, and may try again: they count as nothing.
    pub(super) fn unsent(&mut self, topic: &str, count: u64) {
        let topic = self.topic(topic);
        topic.sent = topic.sent.saturating_sub(count);
    }

    /// They were passed on to this process in vain.
    pub(super) fn returned(&mut self, to: ChildId, topic: &str, count: u64, bytes: usize) {
        self.relayed = self.relayed.saturating_sub(count);
        if !topic.is_empty() {
            let topic = self.topic(topic);
            topic.relayed = topic.relayed.saturating_sub(count);
            topic.bytes = topic.bytes.saturating_sub(bytes as u64);
        }
        if let Some(peer) = self.line(to) {
            peer.relayed = peer.relayed.saturating_sub(count);
            peer.bytes = peer.bytes.saturating_sub(bytes as u64);
        }
    }

    /// A process counts as lost on a topic what is `now` more than `before`.
    pub(super) fn lost(&mut self, topic: &str, before: Lost, now: Lost) {
        if before == now {
            return;
        }
        let topic = self.topic(topic);
        topic.unheard = topic.unheard.saturating_add(now.unheard.saturating_sub(before.unheard));
        topic.missed = topic.missed.saturating_add(now.missed.saturating_sub(before.missed));
        topic.unreadable = topic.unreadable.saturating_add(now.unreadable.saturating_sub(before.unreadable));
    }

    /// A process is gone from its slot.
    pub(super) fn leave(&mut self, id: ChildId, slot: Address) {
        if let Some(traffic) = self.peers.remove(&id) {
            self.add_past(slot, traffic);
            self.gone.push_front((id, slot));
            self.gone.truncate(GONE);
        }
    }

    /// What is counted of a process, or of its slot when it is gone.
    fn line(&mut self, id: ChildId) -> Option<&mut PeerTraffic> {
        if self.peers.contains_key(&id) {
            return self.peers.get_mut(&id);
        }
        let slot = self.slot_of_gone(id)?;
        self.past.get_mut(&slot)
    }

    /// From where a process has gone, if that was not long ago and anything went to it.
    pub(super) fn slot_of_gone(&self, id: ChildId) -> Option<Address> {
        self.gone.iter().find(|(gone, _)| *gone == id).map(|(_, slot)| *slot)
    }

    /// What is known of one that is gone from a slot.
    pub(super) fn add_past(&mut self, slot: Address, traffic: PeerTraffic) {
        let past = self.past.entry(slot).or_default();
        *past = past.plus(traffic);
    }

    /// Of those that are gone from a slot.
    pub(super) fn past(&self, slot: Address) -> PeerTraffic {
        self.past.get(&slot).copied().unwrap_or_default()
    }

    /// How many processes are known.
    #[cfg(test)]
    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn topics(&self) -> Vec<TopicTraffic> {
        let others = TopicTraffic { name: OTHERS.to_owned(), ..self.others.clone() };
        let others = (self.others != TopicTraffic::default()).then_some(others);
        self.topics.values().cloned().chain(others).collect()
    }

    pub(super) fn of(&self, id: ChildId) -> PeerTraffic {
        self.peers.get(&id).copied().unwrap_or_default()
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        (self.relayed, self.dropped)
    }

    fn topic(&mut self, name: &str) -> &mut TopicTraffic {
        if self.topics.len() < MOST_TOPICS && name != OTHERS && !self.topics.contains_key(name) {
            let fresh = TopicTraffic { name: name.to_owned(), ..TopicTraffic::default() };
            self.topics.insert(name.into(), fresh);
        }
        self.topics.get_mut(name).unwrap_or(&mut self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::peer::Form;

    #[test]
    fn what_processes_say_that_they_lost_adds_up_by_topic() {
        let mut traffic = Traffic::default();
        let lost = |unheard| Lost { unheard, missed: 1, unreadable: 0 };
        traffic.lost("words", Lost::default(), lost(3));
        traffic.lost("words", lost(3), lost(5));
        traffic.lost("words", Lost::default(), lost(u64::MAX - 9));
        traffic.lost(OTHERS, Lost::default(), lost(1));
        let topics = traffic.topics();
        let found: Vec<_> = topics.iter().map(|it| (&*it.name, it.unheard, it.missed)).collect();
        assert_eq!(found, [("words", u64::MAX - 4, 2), (OTHERS, 1, 1)]);
        traffic.lost("words", Lost::default(), lost(100));
        assert_eq!(traffic.topics()[0].unheard, u64::MAX, "a process that lies breaks nothing");
    }

    #[test]
    fn what_is_taken_back_of_one_that_is_gone_counts_for_its_slot() {
        let (mut traffic, id, slot) = (Traffic::default(), ChildId(7), Address::to(Form::Agent));
        traffic.delivered(&[id], "words", 10, 1000);
        traffic.leave(id, slot);
        traffic.returned(id, "words", 5, 500);
        traffic.dropped(Some(id), "words", 2);
        let past = traffic.past(slot);
        assert_eq!((past.relayed, past.dropped, past.bytes), (5, 2, 500));
        assert_eq!(traffic.totals(), (5, 2));
        (0..100).for_each(|id| {
            traffic.delivered(&[ChildId(id)], "words", 1, 1);
            traffic.leave(ChildId(id), slot);
        });
        assert_eq!(traffic.gone.len(), GONE);
    }
}
