//! The bodies of the framework's own frames.

use serde::{Deserialize, Serialize};

use crate::role::Slot;
use crate::status::Status;

/// A child's first words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The version of the protocol that it speaks.
    pub(crate) protocol: u32,
    /// The build that it runs.
    pub(crate) build: String,
    /// Where it belongs; what it was told when it was spawned.
    pub(crate) slot: Slot,
    /// The generation that spawned it.
    pub(crate) generation: u64,
}

/// A process's last words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// One line.
    pub(crate) reason: String,
    /// More lines, such as the place in a file; may be empty.
    pub(crate) detail: String,
}

/// The figures of a process, sent each second by the loop that does its work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pulse {
    pub(crate) connections: u64,
    pub(crate) accepted: u64,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
    pub(crate) panics: u64,
    pub(crate) lost_log_lines: u64,
}

/// The answer to a publish request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PublishAnswer {
    /// The version that the value got.
    Version(u64),
    /// The sender may not publish this.
    Refused(String),
}

/// What the command line asks of a running master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Tell the status.
    Status,
    /// Stop; the connection closes when the master is gone.
    Stop {
        /// Cut everything short.
        fast: bool,
        /// Replaces the configured time for draining, in milliseconds.
        timeout_ms: Option<u64>,
    },
}

/// What the master answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The status.
    Status(Box<Status>),
    /// The master is stopping.
    Stopping,
    /// The request was wrong.
    Refused(String),
}
