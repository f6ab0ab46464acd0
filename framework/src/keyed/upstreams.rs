//! Which upstream of a keyed state runs, rests or ends: one per key that is wanted, for a while longer than it is
//! wanted, and never two. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;

const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) };

/// An upstream that ran this long has recovered: its next failure counts as the first.
const RECOVERED: Duration = Duration::from_secs(60);

/// How long a key that was refused is not tried again.
const REFUSED: Duration = Duration::from_secs(30);

/// The upstreams of one state.
#[derive(Debug)]
pub(super) struct Upstreams {
    /// How long one goes on when nobody wants it.
    linger: Duration,
    keys: BTreeMap<String, Upstream>,
}

#[derive(Debug)]
struct Upstream {
    /// The number of the last wish.
    wish: u64,
    /// When it ends, if it is not wanted again.
    lingers_until: Option<Instant>,
    stage: Stage,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running {
        since: Instant,
    },
    /// It failed, or refused its key, and is tried again then.
    Resting {
        until: Instant,
    },
    /// It has returned: there is nothing more to come.
    Finished,
    /// It was told to end and has not yet.
    Ending,
}

/// What is to be done about the upstream of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Start(String),
    /// Drop it where it waits.
    End(String),
    /// Somebody else wants it now, and the master has forgotten its last value.
    Republish(String),
    /// It is over.
    Forget(String),
}

impl Upstreams {
    pub(super) fn new(linger: Duration) -> Self {
        Self { linger, keys: BTreeMap::new() }
    }

    /// A key is wanted, by a wish of this number.
    pub(super) fn want(&mut self, key: &str, wish: u64, now: Instant) -> Option<Step> {
        let Some(upstream) = self.keys.get_mut(key) else {
            let stage = Stage::Running { since: now };
            self.keys.insert(key.to_owned(), Upstream { wish, lingers_until: None, stage, failures: 0 });
            return Some(Step::Start(key.to_owned()));
        };
        upstream.lingers_until = None;
        let is_other = std::mem::replace(&mut upstream.wish, wish) != wish;
        (is_other && upstream.stage != Stage::Ending).then(|| Step::Republish(key.to_owned()))
    }

    /// A key is not wanted any more.
    pub(super) fn release(&mut self, key: &str, now: Instant) {
        if let Some(upstream) = self.keys.get_mut(key) {
            upstream.lingers_until.get_or_insert(now + self.linger);
        }
    }

    /// An upstream has ended by itself, with success, or because it was told to.
    pub(super) fn ended(&mut self, key: &str, now: Instant) -> Option<Step> {
        let upstream = self.keys.get_mut(key)?;
        if upstream.stage != Stage::Ending {
            upstream.stage = Stage::Finished;
            return None;
        }
        if upstream.lingers_until.is_none() {
            upstream.stage = Stage::Running { since: now };
            upstream.failures = 0;
            return Some(Step::Start(key.to_owned()));
        }
        self.keys.remove(key);
        Some(Step::Forget(key.to_owned()))
    }

    /// An upstream has ended by itself, and refuses its key; it may think better of it later.
    pub(super) fn refused(&mut self, key: &str, now: Instant) -> Option<Step> {
        let step = self.ended(key, now);
        if let Some(upstream) = self.keys.get_mut(key).filter(|upstream| upstream.stage == Stage::Finished) {
            upstream.failures = 0;
            upstream.stage = Stage::Resting { until: now + REFUSED };
        }
        step
    }

    /// An upstream has failed. Returns the delay until it is tried again, unless it was to end in any case.
    pub(super) fn failed(&mut self, key: &str, now: Instant) -> Option<Duration> {
        let upstream = self.keys.get_mut(key)?;
        let Stage::Running { since } = upstream.stage else { return None };
        let recovered = now.saturating_duration_since(since) >= RECOVERED;
        upstream.failures = if recovered { 1 } else { upstream.failures.saturating_add(1) };
        let delay = BACKOFF.delay(upstream.failures, upstream.wish);
        upstream.stage = Stage::Resting { until: now + delay };
        Some(delay)
    }

    /// When `tick` has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.keys.values().filter_map(Upstream::due).min()
    }

    /// What time alone brings about.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Step> {
        let due = |upstream: &Upstream| upstream.due().is_some_and(|due| due <= now);
        let keys: Vec<String> =
            self.keys.iter().filter(|(_, it)| due(it)).map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| self.advance(key, now)).collect()
    }

    fn advance(&mut self, key: String, now: Instant) -> Option<Step> {
        let upstream = self.keys.get_mut(&key)?;
        let is_over = upstream.lingers_until.is_some_and(|until| until <= now);
        match upstream.stage {
            Stage::Running { .. } if is_over => {
                upstream.stage = Stage::Ending;
                Some(Step::End(key))
            }
            Stage::Resting { .. } | Stage::Finished if is_over => {
                self.keys.remove(&key);
                Some(Step::Forget(key))
            }
            Stage::Resting { until } if until <= now => {
                upstream.stage = Stage::Running { since: now };
                Some(Step::Start(key))
            }
            _ => None,
        }
    }
}

impl Upstream {
    fn due(&self) -> Option<Instant> {
        let retry = match self.stage {
            Stage::Resting { until } => Some(until),
            Stage::Ending => return None,
            Stage::Running { .. } | Stage::Finished => None,
        };
        [retry, self.lingers_until].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINGER: Duration = Duration::from_secs(5);

    fn start(key: &str) -> Step {
        Step::Start(key.to_owned())
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_upstream_outlives_a_short_absence_of_its_observers() {
        let (mut upstreams, now) = (Upstreams::new(LINGER), Instant::now());
        assert_eq!(upstreams.want("eu", 1, now), Some(start("eu")));
        upstreams.release("eu", now);
        assert_eq!(upstreams.tick(now + seconds(4)), []);
        assert_eq!(upstreams.want("eu", 2, now + seconds(4)), Some(Step::Republish("eu".to_owned())));
        assert_eq!((upstreams.tick(now + seconds(60)), upstreams.due()), (vec![], None));
    }

    #[test]
    fn an_upstream_that_nobody_wants_ends_and_starts_anew_only_when_it_has_ended() {
        let (mut upstreams, now) = (Upstreams::new(LINGER), Instant::now());
        let _ = upstreams.want("eu", 1, now);
        upstreams.release("eu", now);
        let later = now + seconds(5);
        assert_eq!(upstreams.tick(later), [Step::End("eu".to_owned())]);
        assert_eq!(upstreams.want("eu", 2, later), None, "the old one is still there");
        assert_eq!(upstreams.ended("eu", later), Some(start("eu")));
        upstreams.release("eu", later);
        assert_eq!(upstreams.tick(later + LINGER), [Step::End("eu".to_owned())]);
        assert_eq!(upstreams.ended("eu", later + LINGER), Some(Step::Forget("eu".to_owned())));
        assert!(upstreams.keys.is_empty());
    }

    #[test]
    fn an_upstream_that_fails_is_tried_again_with_growing_delays() {
        let (mut upstreams, mut now) = (Upstreams::new(LINGER), Instant::now());
        let _ = upstreams.want("eu", 1, now);
        let mut delays = Vec::new();
        for _ in 0..4 {
            delays.push(upstreams.failed("eu", now).unwrap());
            now += *delays.last().unwrap();
            assert_eq!(upstreams.tick(now), [start("eu")]);
        }
        assert!(delays[0].is_zero() && delays[1] < delays[2] && delays[2] < delays[3], "{delays:?}");
        assert!(upstreams.failed("eu", now + RECOVERED).unwrap().is_zero());
        assert_eq!(upstreams.ended("eu", now), None);
    }

    #[test]
    fn a_key_that_is_refused_is_tried_again_later_for_as_long_as_it_is_wanted() {
        let (mut upstreams, now) = (Upstreams::new(LINGER), Instant::now());
        let _ = upstreams.want("eu", 1, now);
        assert_eq!(upstreams.refused("eu", now), None);
        let republish = Some(Step::Republish("eu".to_owned()));
        assert_eq!(upstreams.want("eu", 2, now + seconds(4)), republish, "who asks is told the same");
        assert_eq!(upstreams.tick(now + REFUSED), [start("eu")]);
        let later = now + REFUSED;
        assert_eq!(upstreams.refused("eu", later), None);
        upstreams.release("eu", later);
        assert_eq!(upstreams.tick(later + LINGER), [Step::Forget("eu".to_owned())]);
        assert_eq!(upstreams.want("eu", 3, later + LINGER), Some(start("eu")));
    }

    proptest! {
        #[test]
        fn there_is_never_more_than_one_upstream_of_a_key_and_none_at_the_end(
            steps in prop::collection::vec((0u8..6, 0u64..4), 1..80)
        ) {
            let (mut upstreams, mut now) = (Upstreams::new(LINGER), Instant::now());
            let (mut runs, mut ending, mut wish) = (0i32, false, 0);
            for (step, pause) in steps {
                now += seconds(pause);
                let done = match step {
                    0 | 1 => { wish += 1; upstreams.want("k", wish, now).into_iter().collect() }
                    2 => { upstreams.release("k", now); vec![] }
                    3 if runs > 0 => {
                        runs -= 1;
                        ending = false;
                        upstreams.ended("k", now).into_iter().collect()
                    }
                    4 if runs > 0 && !ending => {
                        runs -= 1;
                        let _ = upstreams.failed("k", now);
                        vec![]
                    }
                    _ => upstreams.tick(now),
                };
                for step in done {
                    match step {
                        Step::Start(_) => runs += 1,
                        Step::End(_) => { prop_assert_eq!(runs, 1); ending = true; }
                        Step::Forget(_) => prop_assert_eq!(runs, 0),
                        Step::Republish(_) => {}
                    }
                    prop_assert!((0..=1).contains(&runs));
                }
            }
            upstreams.release("k", now);
            for step in upstreams.tick(now + LINGER) {
                ending |= matches!(step, Step::End(_));
            }
            prop_assert_eq!(ending, runs > 0);
            if runs > 0 {
                let _ = upstreams.ended("k", now + LINGER);
            }
            prop_assert!(upstreams.keys.is_empty());
        }
    }
}
