//! When idle connections are closed while a worker drains: left alone first, then spread over time. Pure: it reads no
//! clock.

use std::time::Duration;

/// At a stop nobody waits longer than this for a next question.
const STOP: Window = Window { from: Duration::from_secs(1), until: Duration::from_secs(2) };

/// Why a worker drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Occasion {
    /// Nobody comes after it: idle clients must not hold up the end.
    #[default]
    Stop,
    /// A successor serves: there is time for every client to ask once more, and to hear that it should connect anew.
    Succession,
}

/// The part of a drain in which idle connections are closed, counted from its begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    from: Duration,
    until: Duration,
}

impl Window {
    /// The window of a drain that may take `patience`, and leaves idle connections alone for `grace` if there is a
    /// successor. It is over a little before the deadline, so that nobody idle is cut there.
    pub(super) fn new(occasion: Occasion, grace: Duration, patience: Duration) -> Self {
        let until = patience * 9 / 10;
        let wanted = match occasion {
            Occasion::Stop => STOP,
            Occasion::Succession => Self { from: grace, until },
        };
        Self { from: wanted.from.min(patience / 2), until: wanted.until.min(until) }
    }

    /// How long a connection is left alone at least, also one that became idle later.
    pub(super) fn grace(self) -> Duration {
        self.from
    }

    /// When the `nth` connection is closed if it is still idle. Those of neighbouring numbers lie far apart, and any
    /// number of them in a row is spread evenly.
    pub(super) fn moment(self, nth: u64) -> Duration {
        // Steps of the golden ratio around a circle of 2^64 never come close to each other.
        let place = nth.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let share = u32::try_from(place).unwrap_or_default();
        self.from + self.until.saturating_sub(self.from).mul_f64(f64::from(share) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn succession(grace: Duration, patience: Duration) -> Window {
        Window::new(Occasion::Succession, grace, patience)
    }

    #[test]
    fn with_a_successor_the_window_goes_from_the_grace_towards_the_deadline() {
        let window = succession(15 * SECOND, 30 * SECOND);
        assert_eq!((window.from, window.until), (15 * SECOND, 27 * SECOND));
    }

    #[test]
    fn a_grace_beyond_the_deadline_leaves_half_the_time_for_closing() {
        let window = succession(60 * SECOND, 10 * SECOND);
        assert_eq!((window.from, window.until), (5 * SECOND, 9 * SECOND));
        assert_eq!(succession(SECOND, Duration::ZERO).moment(7), Duration::ZERO);
    }

    #[test]
    fn a_stop_does_not_wait_for_idle_clients() {
        let window = Window::new(Occasion::Stop, 15 * SECOND, 30 * SECOND);
        assert_eq!((window.from, window.until), (SECOND, 2 * SECOND));
        assert!(Window::new(Occasion::Stop, 15 * SECOND, SECOND).moment(3) < SECOND);
    }

    #[test]
    fn connections_in_a_row_are_closed_evenly() {
        let window = succession(10 * SECOND, 100 * SECOND);
        for first in [0, 12_345, u64::MAX - 500] {
            let mut tenths = [0; 10];
            for nth in 0..1000 {
                let moment = window.moment(first.wrapping_add(nth)) - window.from;
                tenths[(moment.as_secs_f64() / 8.0) as usize % 10] += 1;
            }
            assert!(tenths.iter().all(|count| (95..=105).contains(count)), "{tenths:?}");
        }
    }
}
