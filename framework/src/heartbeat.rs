//! The sign of life of a process, with its figures: sent by the loop that does its work, so that a stuck loop is
//! silent. What follows from silence is the master's to decide.

use std::collections::VecDeque;
use std::time::Duration;

use procfs::process::Process as Proc;
use tokio::time::Instant;

use crate::bus::control::Pulse;
use crate::process::Process;

/// How often the figures are looked at, at most.
const PERIOD: Duration = Duration::from_secs(1);

/// For how long a late loop is remembered.
const MEMORY: Duration = Duration::from_secs(10);

/// Sends the `figures` for as long as the process lives: when they have changed, and often enough to be a sign of
/// life when they have not.
pub(crate) async fn beat(process: Process, figures: impl Fn() -> Pulse) {
    let most = Pulse::period(process.launch().heartbeat);
    let tick = most.min(PERIOD);
    let mut ticks = tokio::time::interval(tick);
    // After a suspension one is enough.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut lag, mut sent): (_, Option<(Instant, Pulse)>) = (Lag::default(), None);
    loop {
        let scheduled = ticks.tick().await;
        let now = Instant::now();
        process.mail().tracer().settle();
        let mut pulse = process.mail().losses().count(figures());
        pulse.lag_ms = lag.note(now.saturating_duration_since(scheduled), now);
        // Only if the next look is soon enough: who is not heard of in time counts as late.
        if sent.as_ref().is_some_and(|(then, last)| *last == pulse && now - *then + tick <= most) {
            continue;
        }
        sent = Some((now, pulse.clone()));
        process.pulse(Pulse { rss_bytes: resident(), ..pulse });
    }
}

/// Resident memory in bytes; 0 when unknown.
fn resident() -> u64 {
    let statm = Proc::myself().and_then(|own| own.statm());
    statm.map(|statm| statm.resident * procfs::page_size()).unwrap_or_default()
}

/// How late the loop came lately.
#[derive(Debug, Default)]
struct Lag {
    /// Rising times, falling delays: whoever is behind a larger delay is never the largest again.
    delays: VecDeque<(Instant, u64)>,
}

impl Lag {
    /// Notes a delay, and returns the worst of those that are remembered, in milliseconds.
    fn note(&mut self, delay: Duration, now: Instant) -> u64 {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        while self.delays.back().is_some_and(|(_, smaller)| *smaller <= delay) {
            self.delays.pop_back();
        }
        self.delays.push_back((now, delay));
        while self.delays.front().is_some_and(|(then, _)| now.saturating_duration_since(*then) >= MEMORY) {
            self.delays.pop_front();
        }
        self.delays.front().map_or(0, |(_, worst)| *worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_delay_is_remembered_for_ten_seconds() {
        let mut lag = Lag::default();
        let start = Instant::now();
        let delays = [(0, 1), (1, 500), (2, 3), (10, 2), (11, 2), (12, 0), (30, 0)];
        let seen = delays.map(|(second, delay)| {
            lag.note(Duration::from_millis(delay), start + Duration::from_secs(second))
        });
        assert_eq!(seen, [1, 500, 500, 500, 3, 2, 0]);
    }
}
