//! The section `[cpu]` of the configuration. Pure.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::number;

/// The section `[cpu]`: how much heavy work a worker takes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CpuSettings {
    /// How many threads one worker may have for heavy work: a number, or `auto` for its share of the processors.
    /// Default `auto`.
    pub threads: CpuThreads,
    /// How many jobs of one worker may wait for a thread; further ones are refused at once. Default 1024.
    pub queue_limit: usize,
    /// How long a job may wait for a thread; then it is refused. Default 10 s.
    #[serde(with = "crate::duration::positive")]
    pub queue_timeout: Duration,
}

impl Default for CpuSettings {
    fn default() -> Self {
        Self { threads: CpuThreads::Auto, queue_limit: 1024, queue_timeout: Duration::from_secs(10) }
    }
}

/// How many threads for heavy work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuThreads {
    /// The processors that this process may use, shared among the workers, and at least 1.
    Auto,
    /// So many, at least 1.
    Exactly(u16),
}

/// The most threads of one worker.
const MOST_THREADS: u16 = 1024;

impl CpuThreads {
    /// The number, given how many processors and how many workers there are.
    #[must_use]
    pub fn resolve(self, processors: usize, workers: u32) -> usize {
        let workers = usize::try_from(workers).unwrap_or(usize::MAX).max(1);
        match self {
            Self::Auto => (processors / workers).clamp(1, usize::from(MOST_THREADS)),
            Self::Exactly(count) => usize::from(count).max(1),
        }
    }
}

impl Serialize for CpuThreads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Exactly(count) => serializer.serialize_u16(*count),
        }
    }
}

impl<'de> Deserialize<'de> for CpuThreads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number::or_text(
            deserializer,
            format_args!("a number of threads from 1 to {MOST_THREADS}, or `auto`"),
            |count| {
                u16::try_from(count)
                    .ok()
                    .filter(|count| (1..=MOST_THREADS).contains(count))
                    .map(Self::Exactly)
            },
            |text| (text == "auto").then_some(Self::Auto),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(text: &str) -> Result<CpuThreads, String> {
        let line = format!("threads = {text}");
        toml::from_str::<CpuSettings>(&line).map(|s| s.threads).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn a_number_of_threads_is_a_number_or_auto() {
        assert_eq!(threads("4"), Ok(CpuThreads::Exactly(4)));
        assert_eq!(threads("\"3\""), Ok(CpuThreads::Exactly(3)));
        assert_eq!(threads("\"auto\""), Ok(CpuThreads::Auto));
        for wrong in ["0", "-1", "1025", "\"many\"", "true"] {
            let error = threads(wrong).unwrap_err();
            assert!(error.contains("a number of threads from 1 to 1024, or `auto`"), "{error}");
        }
    }

    #[test]
    fn the_processors_are_shared_among_the_workers() {
        let auto = |processors, workers| CpuThreads::Auto.resolve(processors, workers);
        assert_eq!((auto(8, 1), auto(8, 2), auto(8, 3), auto(8, 8), auto(8, 32)), (8, 4, 2, 1, 1));
        assert_eq!(auto(2, 0), 2);
        assert_eq!(CpuThreads::Exactly(3).resolve(1, 8), 3);
    }
}
