//! What the status says of the traffic between the processes.

use serde::{Deserialize, Serialize};

/// The traffic between the processes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BusStatus {
    /// Frames that the master passed on.
    pub relayed: u64,
    /// Frames that could not be passed on.
    pub dropped: u64,
    /// Bytes that wait for slow receivers, and for those who are to come.
    pub queued_bytes: u64,
    /// The mail by topic.
    #[serde(default)]
    pub topics: Vec<TopicTraffic>,
    /// The topics that every process tells of in its log.
    #[serde(default)]
    pub traced: Vec<String>,
}

/// The mail that went to one process, and to those before it in its slot. Of two that share a slot for a while, the newer one
/// has that of the older, too: these are figures of the slot, which never fall, and are not to be added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerTraffic {
    /// Messages, questions and answers that were passed on to it.
    pub relayed: u64,
    /// Those that were not, because too much waited for it.
    pub dropped: u64,
    /// The bytes that were passed on.
    pub bytes: u64,
    /// The bytes that wait for it; of a slot in which nobody is, for who comes next.
    pub queued_bytes: u64,
    /// Messages that came to it on topics that nobody there follows, or not any more, as it said last.
    pub unheard: u64,
    /// Messages that its subscriptions missed, because too much waited for them, as it said last.
    pub missed: u64,
    /// Messages of another type than who follows the topic there reads, as it said last.
    pub unreadable: u64,
}

impl PeerTraffic {
    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            relayed: self.relayed + other.relayed,
            dropped: self.dropped + other.dropped,
            bytes: self.bytes + other.bytes,
            queued_bytes: self.queued_bytes + other.queued_bytes,
            unheard: self.unheard + other.unheard,
            missed: self.missed + other.missed,
            unreadable: self.unreadable + other.unreadable,
        }
    }
}

/// The mail on one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicTraffic {
    /// The topic's name; `…` stands for all that are too many to be told apart.
    pub name: String,
    /// Messages and questions that were sent.
    pub sent: u64,
    /// How often they, and answers, were passed on: once for each receiver.
    pub relayed: u64,
    /// How often they were not.
    pub dropped: u64,
    /// The bytes that were passed on.
    pub bytes: u64,
    /// How many wait in the master, for processes that are there or are to come. Of those topics that are not told apart it is
    /// not known.
    pub queued: u64,
    /// How often they came to a process that does not follow the topic, or not any more, as the processes said last.
    pub unheard: u64,
    /// How often a subscription missed them, because too much waited for it, as the processes said last.
    pub missed: u64,
    /// How often they were of another type than who followed the topic reads, as the processes said last.
    pub unreadable: u64,
}
