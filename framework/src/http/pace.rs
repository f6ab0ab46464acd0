//! How long a client may keep a handler waiting for the body of its request. Pure: it reads no clock.

use std::time::Duration;

/// Who sends this many bytes in a second gains as much time as passes.
const BYTES_PER_SECOND: u64 = 512;

/// What a client has sent of a body, and how long it was waited for. What the handler takes for itself does not count.
#[derive(Debug)]
pub(super) struct Pace {
    timeout: Duration,
    received: u64,
    waited: Duration,
}

impl Pace {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, received: 0, waited: Duration::ZERO }
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes as u64);
    }

    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// How long the next bytes may take. Nobody saves up more than one whole time-out.
    pub(super) fn allowance(&self) -> Duration {
        let earned = Duration::from_secs(self.received / BYTES_PER_SECOND);
        (self.timeout.saturating_add(earned)).saturating_sub(self.waited).min(self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// How long a client is borne that sends `bytes` after each second.
    fn seconds_borne(bytes: usize) -> u64 {
        let mut pace = Pace::new(TIMEOUT);
        let steps = (0..3600).take_while(|_| {
            let goes_on = pace.allowance() >= Duration::from_secs(1);
            pace.waited(Duration::from_secs(1));
            pace.received(bytes);
            goes_on
        });
        steps.count() as u64
    }

    #[test]
    fn a_trickle_ends_and_a_slow_line_does_not() {
        assert_eq!(seconds_borne(0), 20);
        assert!((20..=21).contains(&seconds_borne(1)));
        assert!((30..60).contains(&seconds_borne(256)));
        assert_eq!(seconds_borne(600), 3600);
    }

    #[test]
    fn much_at_first_does_not_earn_a_long_silence() {
        let mut pace = Pace::new(TIMEOUT);
        pace.received(100 << 20);
        assert_eq!(pace.allowance(), TIMEOUT);
    }
}
