//! What happens in a cluster, as an author's functions may hear of it: the equivalents of Node's `fork`,
//! `online`, `listening`, `disconnect`, `exit`. Pure; the master says these, children only listen.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::role::Slot;

/// One process of a cluster, as events name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `agent`, or the worker's group.
    pub group: String,
    /// The index in the group; 0 for the agent.
    pub index: u32,
    /// Its process id, if it ever ran.
    pub pid: Option<u32>,
    /// The generation that spawned it.
    pub generation: u64,
}

impl Member {
    pub(crate) fn new(slot: &Slot, pid: Option<u32>, generation: u64) -> Self {
        Self { group: slot.group().to_owned(), index: slot.index(), pid, generation }
    }
}

/// As in logs: `agent`, `web.0`.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.as_str() {
            "agent" => f.write_str("agent"),
            group => write!(f, "{group}.{}", self.index),
        }
    }
}

/// One process that is there, as [`members`](crate::Messenger::members) tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// Which.
    pub member: Member,
    /// Whether it works.
    pub standing: Standing,
}

/// How far a process is that is there. Later versions may add variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Standing {
    /// It has not said ready.
    Starting,
    /// It does its work.
    Ready,
    /// It finishes what it has, and gets nothing new.
    Leaving,
    /// What an older process does not know.
    #[serde(other)]
    Unknown,
}

/// Something that happened in the cluster. Later versions may add variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A process was started.
    Spawned {
        /// Which.
        member: Member,
    },
    /// A process said that it can do its work.
    Ready {
        /// Which.
        member: Member,
        /// How long that took, in milliseconds.
        took_ms: u64,
    },
    /// A process is to be replaced and does its work until its successor is ready.
    Retiring {
        /// Which.
        member: Member,
        /// Why, such as `it has served 12000 requests` or the panic.
        why: String,
    },
    /// A process was asked to leave and finishes what is in flight.
    Draining {
        /// Which.
        member: Member,
    },
    /// A process ended.
    Exited {
        /// Which.
        member: Member,
        /// How.
        exit: Exit,
        /// When the next one is started, in milliseconds from now, if it is not there already, and the end of this one does
        /// not end a reload.
        retry_in_ms: Option<u64>,
    },
    /// A group, or the agent, has spent its budget of restarts; it is tried again, but slowly.
    GaveUp {
        /// `agent`, or the group.
        group: String,
        /// What its last process said or how it ended.
        problem: String,
    },
    /// The wanted number of workers has changed.
    Scaled {
        /// The group.
        group: String,
        /// The number before.
        from: u32,
        /// The number from now on.
        to: u32,
    },
    /// A reload is done.
    Reloaded {
        /// The generation that serves now.
        generation: u64,
    },
    /// A reload failed. It has changed nothing, except where something remains of it.
    ReloadFailed {
        /// The generation that serves on.
        generation: u64,
        /// What failed.
        problem: String,
        /// The slots, such as `web.0`, that could not go back to that generation yet; they do as soon as one of it is ready
        /// there.
        #[serde(default)]
        remaining: Vec<String>,
    },
    /// The cluster is stopping.
    Stopping,
    /// So many events came faster than this process took them, and are lost to it.
    Missed {
        /// How many.
        count: u64,
    },
}
