//! The section `[cluster]`, and the rules of supervision made of it. Pure.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::backoff::Backoff;
use crate::identity::Account;

/// The section `[cluster]`: how many processes, and how patient to be with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// How many workers serve: a number, or `auto` for one per processor that the process may use
    /// (affinity and the container's quota counted). Default `auto`.
    pub workers: WorkerCount,
    /// How long a process may take to say ready. Default 30 s.
    #[serde(with = "crate::duration::positive")]
    pub ready_timeout: Duration,
    /// How long workers may take to finish their requests at a stop, and then the agent. Default 30 s.
    #[serde(with = "crate::duration")]
    pub stop_timeout: Duration,
    /// The delay before the second replacement of a process that dies again and again; it doubles each
    /// time. The first replacement is made at once. Default 100 ms.
    #[serde(with = "crate::duration")]
    pub restart_delay: Duration,
    /// The longest such delay. Default 30 s.
    #[serde(with = "crate::duration")]
    pub restart_delay_max: Duration,
    /// A process that was ready this long is stable: its death counts as the first again. Default 60 s.
    #[serde(with = "crate::duration")]
    pub stable_after: Duration,
    /// Whom the agent and the workers run as, if the master is root. Default: as the master.
    pub user: Option<Account>,
    /// Their group. Default: the first group of `user`.
    pub group: Option<Account>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            workers: WorkerCount::Auto,
            ready_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(30),
            restart_delay: Duration::from_millis(100),
            restart_delay_max: Duration::from_secs(30),
            stable_after: Duration::from_secs(60),
            user: None,
            group: None,
        }
    }
}

/// How many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCount {
    /// One per processor that this process may use.
    Auto,
    /// So many, at least 1.
    Exactly(u32),
}

/// The most workers of one group.
const MOST_WORKERS: u32 = 1024;

impl WorkerCount {
    /// The number, given how many processors there are.
    #[must_use]
    pub fn resolve(self, processors: usize) -> u32 {
        match self {
            Self::Auto => u32::try_from(processors).unwrap_or(MOST_WORKERS).clamp(1, MOST_WORKERS),
            Self::Exactly(count) => count,
        }
    }
}

impl Serialize for WorkerCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Exactly(count) => serializer.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for WorkerCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl de::Visitor<'_> for CountVisitor {
    type Value = WorkerCount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number of workers from 1 to {MOST_WORKERS}, or `auto`")
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<WorkerCount, E> {
        match u32::try_from(count) {
            Ok(count @ 1..=MOST_WORKERS) => Ok(WorkerCount::Exactly(count)),
            _ => Err(E::invalid_value(de::Unexpected::Unsigned(count), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<WorkerCount, E> {
        match u64::try_from(count) {
            Ok(count) => self.visit_u64(count),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(count), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<WorkerCount, E> {
        match text.parse() {
            Ok(count) => self.visit_u64(count),
            Err(_) if text == "auto" => Ok(WorkerCount::Auto),
            Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

/// The rules of supervision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) ready_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    /// How long after its time for leaving a process is killed.
    pub(crate) kill_margin: Duration,
    /// How long a process may live on without its link.
    pub(crate) link_grace: Duration,
    pub(crate) stable_after: Duration,
    /// Deaths of one slot before the first cluster-ready that end the start.
    pub(crate) boot_attempts: u32,
    pub(crate) backoff: Backoff,
}

impl From<&ClusterSettings> for Rules {
    fn from(settings: &ClusterSettings) -> Self {
        Self {
            ready_timeout: settings.ready_timeout,
            stop_timeout: settings.stop_timeout,
            kill_margin: Duration::from_secs(2),
            link_grace: Duration::from_secs(1),
            stable_after: settings.stable_after,
            boot_attempts: 3,
            backoff: Backoff { first: settings.restart_delay, most: settings.restart_delay_max },
        }
    }
}

/// `now + duration`, or a year from now for those who mean for ever: an `Instant` cannot be arbitrarily far.
pub(crate) fn later(now: Instant, duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    now + duration.min(YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(text: &str) -> Result<WorkerCount, String> {
        let line = format!("workers = {text}");
        toml::from_str::<ClusterSettings>(&line).map(|s| s.workers).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn a_worker_count_is_a_number_or_auto() {
        assert_eq!(workers("4").unwrap().resolve(2), 4);
        assert_eq!(workers("\"auto\"").unwrap().resolve(2), 2);
        assert_eq!(workers("\"3\"").unwrap().resolve(2), 3);
        for wrong in ["0", "-1", "1025", "\"many\"", "true"] {
            let error = workers(wrong).unwrap_err();
            assert!(error.contains("a number of workers from 1 to 1024, or `auto`"), "{error}");
        }
    }
}
