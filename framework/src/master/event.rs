//! The master's vocabulary: everything that can happen to it, and everything that it can do.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};

use crate::bus::control::{Answer, Request};
use crate::bus::frame::Frame;
use crate::bus::link::Sender;
use crate::bus::parcel::Parcel;
use crate::bus::topic::OTHERS;
use crate::error::{BoxError, Ending, chain};
use crate::events::ClusterEvent;
use crate::exit::{Ended, Exit, Reason};
use crate::role::Slot;

/// One spawned process. Never used twice, unlike a process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChildId(pub(crate) u64);

/// How many messages, by topic.
pub(crate) type Topics = BTreeMap<Box<str>, u64>;

/// How many topics are told apart; all others are counted as one.
pub(crate) const MOST_TOPICS: usize = 256;

/// Adds so many messages on a topic.
pub(crate) fn add(topics: &mut Topics, topic: &str, count: u64) {
    let is_told_apart = topics.len() < MOST_TOPICS || topics.contains_key(topic);
    let name = if is_told_apart { topic } else { OTHERS };
    match topics.get_mut(name) {
        Some(known) => *known += count,
        None => _ = topics.insert(name.into(), count),
    }
}

/// The program on disk, for a new generation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) build: String,
    /// Whether it is another file than the one in force.
    pub(crate) changed: bool,
}

/// The way back to a caller on the control socket.
#[derive(Debug, Clone)]
pub(crate) struct Reply(pub(crate) mpsc::Sender<Answer>);

impl Reply {
    /// Whether the caller has left.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

/// Where it is told, once mail was passed on, which links are crowded.
pub(crate) type Taken = oneshot::Sender<Vec<Sender>>;

/// Everything that can happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// The master can begin.
    Started,
    /// A child runs.
    Spawned { id: ChildId, pid: u32 },
    /// A child could not be started.
    NotSpawned { id: ChildId, problem: String, at: DateTime<Utc> },
    /// A child sent a frame.
    Frame { from: ChildId, frame: Frame },
    /// A child's link is closed or broken while the child may still live.
    LinkLost { id: ChildId, problem: Option<String> },
    /// A child ended; nothing comes from it any more.
    Exited { id: ChildId, ended: Ended, at: DateTime<Utc> },
    /// A signal wants the cluster to stop; while it is stopping, to do so at once.
    StopSignal { fast: bool },
    /// A signal wants one worker of the first group more or less.
    ScaleSignal { by: i32 },
    /// A signal wants a reload.
    ReloadSignal,
    /// What there is on disk for a new generation.
    Prepared { generation: u64, outcome: Result<Prepared, String> },
    /// A process sent mail for others; it sends no more before it has been told for whom much waits already.
    Mail { from: ChildId, parcels: Vec<Parcel>, taken: Option<Taken> },
    /// What was to be delivered did not fit.
    Undelivered { to: ChildId, parcel: Parcel },
    /// What was queued for a process, or met its link, was not written before that was closed.
    Left { by: ChildId, parcels: Vec<Parcel> },
    /// All that became of message `number` of a process is known.
    Confirm { to: ChildId, number: u64 },
    /// There is room again for mail to a process.
    Room { id: ChildId },
    /// Somebody renamed the log files.
    ReopenLogs,
    /// The command line asks.
    Control { request: Request, reply: Reply },
    /// The time that the cluster asked to be woken at has come.
    Timer,
}

impl Event {
    /// The event, and where a sender of mail waits, apart.
    pub(crate) fn split_off_taken(mut self) -> (Self, Option<Taken>) {
        let taken = match &mut self {
            Self::Mail { taken, .. } => taken.take(),
            _ => None,
        };
        (self, taken)
    }
}

/// Everything that the master can do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Start a process.
    Spawn { id: ChildId, slot: Slot, generation: u64 },
    /// Send a frame; a receiver that is gone or too slow is noticed elsewhere.
    Send { to: ChildId, frame: Frame },
    /// Take back what is queued of a state that a process observes no more.
    Recall { to: ChildId, topic: String },
    /// Pass on what another process sent.
    Deliver { to: ChildId, parcel: Parcel },
    /// Pass on what has waited elsewhere, however much waits for this process already.
    HandOver { to: ChildId, parcel: Parcel },
    /// Come back when it is known what became of message `number` of a process.
    Confirm { to: ChildId, number: u64 },
    /// Say when there is room again for mail to a process.
    AwaitRoom { id: ChildId },
    /// Send the welcome: who it is, how to live, and the listeners if it serves.
    Welcome { to: ChildId, slot: Slot, generation: u64, replaces: bool },
    /// From here on, what goes to a child may have many messages in one frame.
    Pack { to: ChildId },
    /// Find out what a child is stuck in, and send it SIGABRT.
    Abort { id: ChildId },
    /// SIGKILL a child and all in its process group.
    Kill { id: ChildId },
    /// Everybody is ready: leave the `ready` file, and the first time say so to whoever started us.
    AnnounceReady,
    /// Nothing serves any more: remove the `ready` file.
    WithdrawReady,
    /// Let nobody connect any more.
    CloseListeners,
    /// Open the master's own log files anew.
    ReopenOwnLogs,
    /// Open the program on disk and read the settings, for a new generation.
    PrepareGeneration { generation: u64 },
    /// Forget the programs of all generations but this one.
    SettleGeneration { generation: u64 },
    /// Tell the command line how it goes.
    Tell { to: Reply, answer: Answer },
    /// Answer the command line.
    Reply { reply: Reply, answer: Answer },
    /// Answer the command line with the status, completed by the figures that need a look at the system.
    ReplyStatus { reply: Reply },
    /// Write something down.
    Report(Report),
    /// It is over.
    Finish(Outcome),
}

/// What is worth a line in the master's log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Authors may hear of it, too.
    Event(ClusterEvent),
    Hung {
        slot: Slot,
        silence: Duration,
    },
    Killing {
        slot: Slot,
        reason: Reason,
    },
    LinkLost {
        slot: Slot,
        problem: String,
    },
    /// Messages that waited for a process, and had nobody else to go to.
    MailLost {
        slot: Slot,
        topics: Topics,
    },
    /// Messages for a process begin to be dropped, because too much waits for it.
    Lagging {
        slot: Slot,
    },
    /// So many were dropped since that was told.
    Lagged {
        slot: Slot,
        topics: Topics,
    },
    /// Messages that waited for whoever comes next, where nobody comes any more.
    MailGivenUp {
        place: String,
        topics: Topics,
    },
    Slept {
        nap: Duration,
    },
    ConfigRefused {
        problem: String,
    },
    CertificatesRefused {
        problem: String,
    },
    /// Somebody who cannot be answered wants what is not possible.
    SignalRefused {
        problem: String,
    },
    Reloading {
        generation: u64,
    },
    /// The reload has failed, and `generation` gets its slots back.
    GoingBack {
        generation: u64,
    },
}

/// How the whole run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The exit code.
    pub(crate) ending: Ending,
    /// One line for stderr; empty when all is well.
    pub(crate) reason: String,
    /// More lines; may be empty.
    pub(crate) detail: String,
}

impl Outcome {
    pub(crate) fn done() -> Self {
        Self { ending: Ending::Done, reason: String::new(), detail: String::new() }
    }

    pub(crate) fn failed(ending: Ending, error: impl Into<BoxError>) -> Self {
        let error = error.into();
        Self { ending, reason: chain(&*error), detail: String::new() }
    }

    /// Nothing serves any more, and trying again has not helped.
    pub(crate) fn gave_up(problem: &str, detail: String) -> Self {
        let reason =
            format!("gave up, because nothing serves and the budget of restarts is spent: {problem}");
        Self { ending: Ending::GaveUp, reason, detail }
    }

    /// The start failed, because of how the process in `slot` ended.
    pub(crate) fn failed_start(slot: &Slot, exit: &Exit, tries: u32, detail: String) -> Self {
        let ending = if exit.reason == Reason::Config { Ending::Config } else { Ending::StartFailed };
        let reason = match (exit.reason, &exit.message) {
            (Reason::Config, Some(message)) => message.clone(),
            (Reason::NotReady, _) => format!(
                "the start failed: {slot} {exit}; `--ready-timeout` or `cluster.ready_timeout` allow it more time"
            ),
            _ if tries > 1 => format!("the start failed after {tries} attempts: {slot} {exit}"),
            _ => format!("the start failed: {slot} {exit}"),
        };
        Self { ending, reason, detail }
    }
}
