//! How many deaths a group may have within a time. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Deaths within a period, as many as it takes to tell whether there were too many.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    period: Duration,
    deaths: VecDeque<Instant>,
}

impl Budget {
    /// A budget of `limit` deaths within `period`.
    pub(crate) fn new(limit: u32, period: Duration) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), period, deaths: VecDeque::new() }
    }

    /// Notes a death, and tells whether it is one too many.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        while self.deaths.front().is_some_and(|then| now.saturating_duration_since(*then) >= self.period) {
            self.deaths.pop_front();
        }
        if self.deaths.len() < self.limit {
            self.deaths.push_back(now);
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_by_one_death_more_than_its_limit_within_its_period() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut budget = Budget::new(2, Duration::from_secs(60));
        assert_eq!([0, 1, 2, 59].map(|second| budget.spend(at(second))), [false, false, true, true]);
        assert_eq!([60, 60].map(|second| budget.spend(at(second))), [false, true]);
        assert!(budget.deaths.len() <= 2);
    }

    #[test]
    fn a_budget_of_none_is_spent_at_once() {
        assert!(Budget::new(0, Duration::from_secs(60)).spend(Instant::now()));
    }
}
