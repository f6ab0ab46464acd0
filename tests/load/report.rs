//! What a load has come to: how many were asked and answered, who answered, and every failure by its kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::line::Past;

/// How many failures are told in full.
const EXAMPLES: usize = 8;

/// Why a request has no good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// Nobody listens.
    Refused,
    /// The connection was reset before the first byte of an answer, or while it was being made.
    ResetBeforeAnswer,
    /// The connection was closed in order before the first byte of an answer.
    ClosedBeforeAnswer,
    /// The connection was reset within the answer.
    ResetWithinAnswer,
    /// The connection was closed in order within the answer: a body shorter than announced, no last chunk.
    Truncated,
    /// Nothing was heard for as long as the client is patient.
    TimedOut,
    /// Another status than wanted.
    WrongStatus(u16),
    /// Another body than wanted.
    WrongBody,
    /// What came does not follow the protocol.
    Garbled,
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Failed(Failure),
    /// The server has handed it back in order, and it is asked again elsewhere: by GOAWAY, by a close with 1001,
    /// by the end of a stream of events.
    HandedBack,
}

impl From<Failure> for Loss {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// How one request ended: with a good answer, of this worker if it has said its name, or without.
pub(super) type Outcome = Result<Option<Worker>, Loss>;

/// Who has answered, as `/whoami` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Worker {
    pub(super) pid: u32,
    pub(super) generation: u64,
}

impl Worker {
    pub(super) fn read(body: &[u8]) -> Result<Self, Loss> {
        serde_json::from_slice(body).map_err(|_| Failure::WrongBody.into())
    }
}

/// What one worker has answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) generation: u64,
    pub(crate) answers: u64,
}

/// One request as its client has seen it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) outcome: Outcome,
    /// Since the load began.
    pub(super) at: Duration,
    pub(super) took: Duration,
    /// What its connection had brought before.
    pub(super) past: Past,
}

/// What a load has come to. `sent` is the sum of `answered`, `handed_back` and all failures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) handed_back: u64,
    pub(crate) failures: BTreeMap<Failure, u64>,
    /// Failures by the worker that answered on the same connection before; `None` for the first request of one.
    pub(crate) failed_on: BTreeMap<Option<u32>, u64>,
    /// The longest time that a good answer took.
    pub(crate) slowest: Duration,
    /// Answers by the pid of the worker, as far as workers have said their names.
    pub(crate) by_pid: BTreeMap<u32, Share>,
    examples: Vec<String>,
}

impl Report {
    pub(super) fn add(&mut self, seen: &Seen) {
        self.sent += 1;
        match seen.outcome {
            Ok(worker) => {
                self.answered += 1;
                self.slowest = self.slowest.max(seen.took);
                if let Some(Worker { pid, generation }) = worker {
                    let share = self.by_pid.entry(pid).or_default();
                    *share = Share { generation, answers: share.answers + 1 };
                }
            }
            Err(Loss::HandedBack) => self.handed_back += 1,
            Err(Loss::Failed(failure)) => self.fail(failure, seen),
        }
    }

    fn fail(&mut self, failure: Failure, seen: &Seen) {
        *self.failures.entry(failure).or_default() += 1;
        *self.failed_on.entry(seen.past.worker.map(|worker| worker.pid)).or_default() += 1;
        if self.examples.len() < EXAMPLES {
            let Seen { at, took, past, .. } = *seen;
            let on = past.worker.map_or(String::new(), |Worker { pid, generation }| {
                format!(" of process {pid}, generation {generation}")
            });
            let example = format!(
                "{at:.1?}: {failure:?} after {took:.1?}; {} answers on its connection{on}",
                past.answers
            );
            self.examples.push(example);
        }
    }

    /// How many requests have failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The generations of those that have answered.
    pub(crate) fn generations(&self) -> BTreeSet<u64> {
        self.by_pid.values().map(|share| share.generation).collect()
    }

    /// # Panics
    /// When a request has failed, or none was answered; says which and how.
    #[track_caller]
    pub(crate) fn assert_flawless(&self) {
        assert!(self.failed() == 0 && self.answered > 0, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, answered, handed_back, slowest, .. } = self;
        writeln!(
            f,
            "{sent} sent, {answered} answered, {} failed, {handed_back} handed back; slowest {slowest:.1?}",
            self.failed()
        )?;
        for (failure, count) in &self.failures {
            writeln!(f, "  {count} × {failure:?}")?;
        }
        for example in &self.examples {
            writeln!(f, "  at {example}")?;
        }
        for (pid, Share { generation, answers }) in &self.by_pid {
            writeln!(f, "  {answers} answers of process {pid}, generation {generation}")?;
        }
        Ok(())
    }
}
