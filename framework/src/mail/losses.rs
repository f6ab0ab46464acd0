//! What was lost of the mail that came, as the status shows it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bus::control::{Lost, MOST_TOPICS, Pulse};
use crate::bus::topic::OTHERS;

/// Counts from the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    counts: Mutex<Counts>,
    /// What subscriptions left that were given up while the process took leave, by topic: what waited, and what was missed.
    left_behind: Mutex<BTreeMap<&'static str, (u64, u64)>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: Lost,
    /// As many as a pulse tells of, with those that are not told apart.
    topics: BTreeMap<String, Lost>,
}

impl Counts {
    fn note(&mut self, topic: &str, add: impl Fn(&mut Lost)) {
        add(&mut self.all);
        let is_told_apart = self.topics.len() < MOST_TOPICS - 1 || self.topics.contains_key(topic);
        let name = if is_told_apart { topic } else { OTHERS };
        match self.topics.get_mut(name) {
            Some(lost) => add(lost),
            None => {
                let mut lost = Lost::default();
                add(&mut lost);
                self.topics.insert(name.to_owned(), lost);
            }
        }
    }
}

impl Losses {
    /// So many messages were on a topic that nobody here follows, or not any more.
    pub(super) fn note_unheard(&self, topic: &str, count: u64) {
        self.note(topic, |lost| lost.unheard += count);
    }

    /// So many messages were missed by a subscription that was too slow.
    pub(super) fn note_missed(&self, topic: &str, count: u64) {
        self.note(topic, |lost| lost.missed += count);
    }

    /// A message was of another type than its topic's.
    pub(crate) fn note_unreadable(&self, topic: &str) {
        self.note(topic, |lost| lost.unreadable += 1);
    }

    fn note(&self, topic: &str, add: impl Fn(&mut Lost)) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).note(topic, add);
    }

    /// A subscription was given up while the process took leave: so many messages waited, and so many more were missed.
    pub(super) fn note_left_behind(&self, topic: &'static str, waiting: u64, missed: u64) {
        let mut left = self.lock();
        let left = left.entry(topic).or_default();
        *left = (left.0 + waiting, left.1 + missed);
    }

    /// What was left so.
    pub(super) fn left_behind(&self) -> BTreeMap<&'static str, (u64, u64)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, (u64, u64)>> {
        self.left_behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures with these.
    pub(crate) fn count(&self, pulse: Pulse) -> Pulse {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Lost { unheard, missed, unreadable } = counts.all;
        Pulse { unheard, missed, unreadable, topics: counts.topics.clone(), ..pulse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_told_apart_until_they_are_too_many() {
        let losses = Losses::default();
        losses.note_unreadable("topic-0");
        (0..100).for_each(|nth| losses.note_unheard(&format!("topic-{nth}"), 2));
        losses.note_missed("topic-0", 3);
        losses.note_unheard("topic-0", 0);
        let pulse = losses.count(Pulse::default());
        assert_eq!((pulse.unheard, pulse.missed, pulse.unreadable), (200, 3, 1));
        assert_eq!(pulse.topics["topic-0"], Lost { unheard: 2, missed: 3, unreadable: 1 });
        assert_eq!((pulse.topics.len(), pulse.topics[OTHERS].unheard), (MOST_TOPICS, 200 - 2 * 31));
        assert_eq!(pulse.clone().bounded(), pulse);
    }
}
