//! When a worker has served enough: by requests, age or memory, each spread by ±10 % so that workers that were
//! started together do not leave together. Pure.

use std::time::{Duration, Instant};

use bytesize::ByteSize;

use super::settings::ClusterSettings;
use crate::backoff::spread;
use crate::bus::control::Pulse;

/// So many samples in a row have to be over the limit: a peak is no growth.
const SAMPLES: u32 = 3;

/// The limits of one worker; `None` is without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    requests: Option<u64>,
    age: Option<Duration>,
    memory: Option<u64>,
}

impl From<&ClusterSettings> for Limits {
    fn from(settings: &ClusterSettings) -> Self {
        Self {
            requests: Some(settings.max_requests).filter(|&requests| requests > 0),
            age: Some(settings.max_age).filter(|age| !age.is_zero()),
            memory: Some(settings.max_memory.as_u64()).filter(|&bytes| bytes > 0),
        }
    }
}

impl Limits {
    /// These limits, spread for the process with this `seed`.
    pub(crate) fn spread(self, seed: u64) -> Self {
        let scale = |number: u64, salt| (number as f64 * spread(seed ^ salt)).round() as u64;
        Self {
            requests: self.requests.map(|requests| scale(requests, 0x5151).max(1)),
            age: self.age.map(|age| age.mul_f64(spread(seed ^ 0xa9e))),
            memory: self.memory.map(|bytes| scale(bytes, 0x3e3)),
        }
    }
}

/// How one worker stands to its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wear {
    limits: Limits,
    requests: u64,
    memory: u64,
    samples: u32,
}

impl Wear {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, requests: 0, memory: 0, samples: 0 }
    }

    pub(crate) fn take(&mut self, pulse: &Pulse) {
        (self.requests, self.memory) = (pulse.requests, pulse.rss_bytes);
        let over = self.limits.memory.is_some_and(|most| pulse.rss_bytes > most);
        self.samples = if over { self.samples + 1 } else { 0 };
    }

    /// Why this worker should be replaced, if it should.
    pub(crate) fn complaint(&self, ready_since: Instant, now: Instant) -> Option<String> {
        if self.limits.requests.is_some_and(|most| self.requests >= most) {
            return Some(format!("it has served {} requests", self.requests));
        }
        if self.samples >= SAMPLES {
            let size = ByteSize::b(self.memory).display().iec();
            return Some(format!("it has grown to {size}"));
        }
        let aged = self.age_reached(ready_since).is_some_and(|then| then <= now);
        aged.then(|| "its age".to_owned())
    }

    /// When age alone makes it due.
    pub(crate) fn age_reached(&self, ready_since: Instant) -> Option<Instant> {
        self.limits.age.map(|age| ready_since + age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wear(settings: ClusterSettings) -> Wear {
        Wear::new(Limits::from(&settings))
    }

    fn pulse(requests: u64, rss_bytes: u64) -> Pulse {
        Pulse { requests, rss_bytes, ..Pulse::default() }
    }

    #[test]
    fn nothing_is_enough_without_limits() {
        let mut wear = wear(ClusterSettings::default());
        let now = Instant::now();
        for _ in 0..9 {
            wear.take(&pulse(u64::MAX, u64::MAX));
        }
        assert_eq!(wear.complaint(now, now + Duration::from_secs(1 << 30)), None);
    }

    #[test]
    fn requests_and_age_count_at_once_and_memory_after_three_samples_in_a_row() {
        let now = Instant::now();
        let mut busy = wear(ClusterSettings { max_requests: 100, ..ClusterSettings::default() });
        busy.take(&pulse(99, 0));
        assert_eq!(busy.complaint(now, now), None);
        busy.take(&pulse(100, 0));
        assert_eq!(busy.complaint(now, now).unwrap(), "it has served 100 requests");

        let old = wear(ClusterSettings { max_age: Duration::from_secs(9), ..ClusterSettings::default() });
        assert_eq!(old.complaint(now, now + Duration::from_secs(8)), None);
        assert!(old.complaint(now, now + Duration::from_secs(9)).is_some());

        let mut large = wear(ClusterSettings { max_memory: ByteSize::b(1000), ..ClusterSettings::default() });
        for bytes in [1001, 1001, 900, 1001, 1001] {
            large.take(&pulse(0, bytes));
            assert_eq!(large.complaint(now, now), None);
        }
        large.take(&pulse(0, 2048));
        assert_eq!(large.complaint(now, now).unwrap(), "it has grown to 2.0 KiB");
    }

    #[test]
    fn limits_spread_by_a_tenth() {
        let settings = ClusterSettings { max_requests: 1000, ..ClusterSettings::default() };
        let spread: Vec<u64> =
            (0..50).map(|seed| Limits::from(&settings).spread(seed).requests.unwrap()).collect();
        assert!(spread.iter().all(|requests| (900..=1100).contains(requests)), "{spread:?}");
        assert!(spread.iter().max().unwrap() - spread.iter().min().unwrap() > 100, "{spread:?}");
    }
}
