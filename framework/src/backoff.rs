//! How long to wait before something that failed is tried again: at once, then longer and longer. Pure.

use std::time::Duration;

/// Nothing is tried less often, whatever the configuration says.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A rising delay with an upper limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The delay before the second try; the first is made at once.
    pub(crate) first: Duration,
    /// The longest delay.
    pub(crate) most: Duration,
}

impl Backoff {
    /// The delay after `failures` in a row (1 or more). `seed` spreads equal failures over ±10 %, so that
    /// what fell together does not rise together.
    pub(crate) fn delay(&self, failures: u32, seed: u64) -> Duration {
        let Some(doublings) = failures.checked_sub(2) else {
            return Duration::ZERO;
        };
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let plain = self.first.saturating_mul(factor).min(self.most).min(LONGEST);
        plain.mul_f64(spread(seed))
    }
}

/// A factor from 0.9 to 1.1 that differs from seed to seed.
pub(crate) fn spread(seed: u64) -> f64 {
    0.9 + 0.2 * fraction(seed)
}

/// A number in 0..1 that looks random (the finalizer of splitmix64, by Sebastiano Vigna).
fn fraction(seed: u64) -> f64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_end_is_a_day() {
        let backoff = Backoff { first: Duration::MAX, most: Duration::MAX };
        assert!(backoff.delay(3, 1) <= LONGEST.mul_f64(1.1));
    }

    #[test]
    fn the_first_try_is_at_once_and_the_others_double_up_to_the_limit() {
        let backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) };
        for (failures, plain) in [(0, 0), (1, 0), (2, 100), (3, 200), (4, 400), (11, 30_000), (500, 30_000)] {
            let plain = Duration::from_millis(plain);
            for seed in 0..50 {
                let delay = backoff.delay(failures, seed);
                assert!(delay >= plain.mul_f64(0.9) && delay <= plain.mul_f64(1.1), "{failures}: {delay:?}");
            }
        }
    }
}
