//! What is counted, and the kinds of failure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Why a request that was sent, or for which no connection could be had, got no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Failure {
    /// Nobody listened.
    Refused,
    /// The connection was reset before the first byte of the answer.
    ResetUnanswered,
    /// The connection was closed in order, but before the first byte of the answer.
    ClosedUnanswered,
    /// The connection was reset after the first byte.
    ResetAmid,
    /// The connection was closed after the first byte and before the last.
    Truncated,
    /// There was no whole answer in time.
    TimedOut,
    /// Another status or another body than was wanted.
    Wrong,
    /// Whatever else the kernel says.
    Other,
}

/// What one client has seen, or all together.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Tally {
    /// Answered or not.
    pub(crate) requests: u64,
    /// Opened, or tried to be.
    pub(crate) connections: u64,
    /// The longest time that one request took, connecting included, be it answered or not.
    pub(crate) slowest_ms: f64,
    /// How many requests failed, by kind; kinds that did not occur are absent.
    pub(crate) failures: BTreeMap<Failure, u64>,
}

impl Tally {
    pub(crate) fn note(&mut self, failure: Option<Failure>, took: Duration) {
        self.requests += 1;
        self.slowest_ms = self.slowest_ms.max(took.as_secs_f64() * 1000.0);
        if let Some(failure) = failure {
            *self.failures.entry(failure).or_default() += 1;
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.connections += other.connections;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.note(None, Duration::from_millis(3));
        other.note(Some(Failure::Refused), Duration::from_millis(7));
        one.add(&other);
        let json = serde_json::to_string(&one).expect("numbers are JSON");
        assert_eq!(json, r#"{"requests":2,"connections":0,"slowest_ms":7.0,"failures":{"refused":1}}"#);
    }
}
