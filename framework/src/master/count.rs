//! How many workers a group has, as it is written: a number, or `auto`. Pure.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::number;

/// How many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerCount {
    /// One per processor that this process may use.
    Auto,
    /// So many, at least 1 in the group `web`.
    Exactly(u32),
}

/// The most workers of one group.
pub(crate) const MOST_WORKERS: u32 = 1024;

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
        count_from(1, deserializer)
    }
}

/// For a group that may rest: a number from 0, or `auto`; it may be left out.
pub(crate) mod or_none {
    use super::{Deserializer, Serialize, Serializer, WorkerCount};

    pub(crate) fn serialize<S: Serializer>(
        count: &Option<WorkerCount>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        count.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<WorkerCount>, D::Error> {
        super::count_from(0, deserializer).map(Some)
    }
}

fn count_from<'de, D: Deserializer<'de>>(least: u32, deserializer: D) -> Result<WorkerCount, D::Error> {
    let possible = |count: &u32| (least..=MOST_WORKERS).contains(count);
    number::or_text(
        deserializer,
        format_args!("a number of workers from {least} to {MOST_WORKERS}, or `auto`"),
        |count| u32::try_from(count).ok().filter(possible).map(WorkerCount::Exactly),
        |text| (text == "auto").then_some(WorkerCount::Auto),
    )
}

/// So many workers, in words.
pub(super) fn crew(workers: u32) -> String {
    format!("{workers} {}", if workers == 1 { "worker" } else { "workers" })
}

#[cfg(test)]
mod tests {
    use super::super::settings::ClusterSettings;
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
