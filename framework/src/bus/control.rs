//! The bodies of the framework's own frames.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::pattern::Patterns;
use super::peer::Address;
use super::topic;
use crate::role::Slot;
use crate::status::{JobFigures, Status};

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
    /// Whether it takes many messages in one frame.
    #[serde(default)]
    pub(crate) packed: bool,
}

/// The body of an order to leave when others serve on; at a stop there is none.
pub(crate) const SUCCESSION: &[u8] = b"succession";

/// The body of an order to leave that comes later: until then everything goes on, and only `/readyz` tells of it.
pub(crate) const ANNOUNCEMENT: &[u8] = b"announcement";

/// A process's last words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// One line.
    pub(crate) reason: String,
    /// More lines, such as the place in a file; may be empty.
    pub(crate) detail: String,
}

/// How many topics a pulse tells of.
pub(crate) const MOST_TOPICS: usize = 32;

/// What was lost of the mail that came to a process, from its start on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Lost {
    /// Messages on topics that nobody in it follows, or not any more.
    pub(crate) unheard: u64,
    /// Messages that subscriptions of it missed, because too much waited.
    pub(crate) missed: u64,
    /// Messages that it could not read.
    pub(crate) unreadable: u64,
}

/// The figures of a process, and its sign of life, sent by the loop that does its work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pulse {
    pub(crate) connections: u64,
    pub(crate) accepted: u64,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) turned_away: u64,
    pub(crate) timed_out: u64,
    pub(crate) panics: u64,
    pub(crate) lost_log_lines: u64,
    /// The pool for heavy work.
    pub(crate) jobs: JobFigures,
    /// Resident memory.
    pub(crate) rss_bytes: u64,
    /// How late the loop came to something that was due, at its worst in the last seconds.
    pub(crate) lag_ms: u64,
    /// Messages on topics that nobody in it follows, or not any more.
    pub(crate) unheard: u64,
    /// Messages that subscriptions of it missed, because too much waited.
    pub(crate) missed: u64,
    /// Messages that it could not read.
    pub(crate) unreadable: u64,
    /// The same by topic.
    pub(crate) topics: BTreeMap<String, Lost>,
}

impl Pulse {
    /// Without the topics that are too many.
    pub(crate) fn bounded(mut self) -> Self {
        while self.topics.len() > MOST_TOPICS {
            self.topics.pop_last();
        }
        self.topics.retain(|name, _| topic::check(name).is_ok());
        self
    }
}

impl Pulse {
    /// How often one is sent at least, by a process that must be heard of within `heartbeat`: four chances; without such a
    /// limit, every ten seconds.
    pub(crate) fn period(heartbeat: Duration) -> Duration {
        if heartbeat.is_zero() { Duration::from_secs(10) } else { heartbeat / 4 }
    }
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

/// What became of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Receipt {
    /// For how many processes it is queued.
    pub(crate) queued: u32,
    /// The processes for which too much waits already; 0 for a slot that is empty.
    pub(crate) full: Vec<u32>,
    /// The address of each of these, as it stands in envelopes. Masters of older builds leave it out.
    pub(crate) places: Vec<[u8; 8]>,
    /// Why nobody can get it, if so.
    pub(crate) nobody: Option<String>,
}

impl Receipt {
    /// Too much waits at this place already.
    pub(crate) fn miss(&mut self, place: Address) {
        self.full.push(place.pid);
        self.places.push(place.to_bytes());
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unanswered {
    /// There is nobody at that address; with the address in words.
    NoSuchPeer(String),
    /// Who was asked is gone.
    Gone,
    /// Too much waits for who was asked, or it answers as much as it can.
    Busy,
    /// Who was asked answers no such questions.
    Nobody,
    /// Who was asked cannot read the question, or could not write its answer.
    Codec(String),
    /// Who was asked says no, for this reason.
    Refused(String),
    /// The function that answers panicked.
    Panicked,
}

impl Unanswered {
    /// Why, as the log says it; the words of who refuses are the author's, and not repeated.
    pub(crate) fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoSuchPeer(problem) => return problem.clone().into(),
            Self::Gone => "the process that was asked is gone",
            Self::Busy => "too much waits there",
            Self::Nobody => "no function there answers it",
            Self::Codec(_) => "it, or its answer, was not understood",
            Self::Refused(_) => "it was refused",
            Self::Panicked => "the function that answers it panicked",
        })
    }
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
    /// Change the number of workers; answered when it is so.
    Scale {
        /// The group.
        group: String,
        /// How.
        change: Change,
    },
    /// Replace every worker by the program and the settings on disk; answered when it is so.
    Reload {
        /// The agent, too, although its program is the same.
        agent: bool,
    },
    /// Send a message; answered when it is known who gets it.
    Post(Posting),
    /// Let every process log what goes by on these topics.
    Trace {
        /// Which topics; none, to end it.
        patterns: Patterns,
    },
}

/// A message from outside of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Posting {
    pub(crate) topic: String,
    /// To whom, as people write it.
    pub(crate) to: String,
    /// The message, encoded.
    pub(crate) payload: Bytes,
    /// When it was sent: microseconds of the Unix epoch.
    pub(crate) time: u64,
}

/// A change of a number of workers. As text: `4`, `+1`, `-2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    /// So many.
    To(u32),
    /// So many more, or fewer.
    By(i32),
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("`{text}` is no number of workers: write 4, +1 or -1");
        match text.as_bytes().first() {
            Some(b'+' | b'-') => text.parse().map(Self::By).map_err(wrong),
            _ => text.parse().map(Self::To).map_err(wrong),
        }
    }
}

/// What the master answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The status.
    Status(Box<Status>),
    /// The master is stopping.
    Stopping,
    /// The group has so many workers now.
    Scaled {
        /// How many were wanted before.
        from: u32,
        /// How many there are.
        to: u32,
    },
    /// It goes on; another answer comes.
    Progress(String),
    /// The generation that serves now.
    Reloaded {
        /// Its number.
        generation: u64,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// What became of the message.
    Posted(Receipt),
    /// Every process is told which topics to log.
    Traced,
    /// What was asked for could not be done.
    Failed(String),
    /// The request was wrong.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_tells_of_so_many_topics_and_of_none_that_cannot_be() {
        let topics = (0..100).map(|nth| (format!("topic-{nth}"), Lost::default())).collect();
        let pulse = Pulse { topics, ..Pulse::default() };
        assert_eq!(pulse.bounded().topics.len(), MOST_TOPICS);
        let wrong = [(String::new(), Lost::default()), ("x".repeat(256), Lost::default())];
        assert!(Pulse { topics: wrong.into(), ..Pulse::default() }.bounded().topics.is_empty());
    }

    #[test]
    fn a_change_is_a_number_or_a_difference() {
        let table =
            [("4", Change::To(4)), ("0", Change::To(0)), ("+1", Change::By(1)), ("-12", Change::By(-12))];
        for (text, change) in table {
            assert_eq!(text.parse(), Ok(change));
        }
        for wrong in ["", "+", "-", "x", "1.5", "4294967296"] {
            assert!(wrong.parse::<Change>().is_err(), "{wrong}");
        }
    }
}
