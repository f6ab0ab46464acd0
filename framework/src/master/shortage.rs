//! A shortage that lasts is said now and then, and not each time when it is met. Pure.

use std::time::{Duration, Instant};

/// How long nothing is said again.
const SILENCE: Duration = Duration::from_secs(1);

/// When it was said last.
#[derive(Debug, Default)]
pub(super) struct Shortage(Option<Instant>);

impl Shortage {
    /// It is met; whether that is to be said.
    pub(super) fn is_news(&mut self, now: Instant) -> bool {
        let news = self.0.is_none_or(|then| now.saturating_duration_since(then) >= SILENCE);
        if news {
            self.0 = Some(now);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_said_once_a_second() {
        let (mut shortage, begin) = (Shortage::default(), Instant::now());
        let said = [0, 1, 999, 1000, 1001, 1999, 2500];
        let said = said.map(|later| shortage.is_news(begin + Duration::from_millis(later)));
        assert_eq!(said, [true, false, false, true, false, false, true]);
    }
}
