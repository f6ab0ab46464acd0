//! How long senders are held up by a receiver for whom much waits: in all a moment, which it earns anew by what it takes.
//! One that takes too little holds nobody up again before it has taken everything. Pure.

use std::time::{Duration, Instant};

/// How long senders wait for a receiver that takes nothing.
const MOMENT: Duration = Duration::from_millis(250);

/// Who takes this part of its limit in a moment is fast enough to be waited for all the time.
const PART: usize = 2;

/// What is left of the patience with one receiver.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
    /// Until when waiting is accounted for; several wait at the same time.
    known: Option<Instant>,
    is_over: bool,
    /// As many bytes earn a moment.
    worth: usize,
}

impl Patience {
    /// With a receiver for whom `limit` bytes may wait.
    pub(super) fn new(limit: usize) -> Self {
        Self { left: MOMENT, known: None, is_over: false, worth: (limit / PART).max(1) }
    }

    /// Whether nobody waits for this receiver any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Somebody has waited since `begun`. Returns how long waiting may go on; `None` when it is over.
    pub(super) fn wait(&mut self, begun: Instant, now: Instant) -> Option<Duration> {
        let from = self.known.map_or(begun, |known| known.max(begun));
        self.left = self.left.saturating_sub(now.saturating_duration_since(from));
        self.known = Some(now);
        self.is_over |= self.left.is_zero();
        (!self.is_over).then_some(self.left)
    }

    /// The receiver has taken so many bytes, and so many still wait.
    pub(super) fn note_taken(&mut self, bytes: usize, waiting: usize) {
        if waiting == 0 {
            (self.left, self.is_over) = (MOMENT, false);
        } else {
            let earned = MOMENT.as_nanos() * bytes as u128 / self.worth as u128;
            let earned = Duration::from_nanos(u64::try_from(earned).unwrap_or(u64::MAX));
            self.left = self.left.saturating_add(earned).min(MOMENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4 << 20;

    /// Has somebody wait for a receiver that takes so many bytes each 10 ms; after how many milliseconds that is over.
    fn held_up(bytes: usize) -> Option<u64> {
        let (mut patience, start) = (Patience::new(LIMIT), Instant::now());
        (0..10_000).step_by(10).find(|&at| {
            let at = start + Duration::from_millis(at);
            let is_over = patience.wait(at, at + Duration::from_millis(10)).is_none();
            patience.note_taken(bytes, LIMIT / 2);
            is_over
        })
    }

    #[test]
    fn who_takes_too_little_holds_nobody_up_for_long_and_who_takes_enough_always() {
        assert_eq!(held_up(0), Some(240));
        assert_eq!(held_up(50_000), Some(600));
        assert_eq!(held_up(LIMIT / 40), None);
    }

    #[test]
    fn one_that_was_given_up_is_waited_for_again_when_it_has_taken_everything() {
        let (mut patience, start) = (Patience::new(LIMIT), Instant::now());
        assert_eq!(patience.wait(start, start + MOMENT), None);
        patience.note_taken(LIMIT, 1);
        assert!(patience.is_over());
        patience.note_taken(1, 0);
        assert_eq!(patience.wait(start + MOMENT, start + MOMENT), Some(MOMENT));
    }

    #[test]
    fn several_who_wait_at_the_same_time_wait_once() {
        let (mut patience, start) = (Patience::new(LIMIT), Instant::now());
        for _ in 0..5 {
            assert_eq!(patience.wait(start, start + MOMENT / 2), Some(MOMENT / 2));
        }
    }
}
