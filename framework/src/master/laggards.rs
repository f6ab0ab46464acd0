//! Processes that take too little, so that messages for them are dropped: what the log tells of that, and how often. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::event::{Action, ChildId, Report, Topics, add};
use crate::role::Slot;

/// What is dropped for one process within this time is told together.
const PERIOD: Duration = Duration::from_secs(10);

/// Those for which messages were dropped lately.
#[derive(Debug, Default)]
pub(crate) struct Laggards {
    known: BTreeMap<ChildId, Lag>,
}

#[derive(Debug)]
struct Lag {
    slot: Slot,
    until: Instant,
    topics: Topics,
}

impl Laggards {
    /// These messages for a process were dropped. That it begins is told at once, and how many there were in the end.
    pub(crate) fn note(
        &mut self,
        id: ChildId,
        slot: &Slot,
        dropped: Topics,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let lag = self.known.entry(id).or_insert_with(|| {
            actions.push(Action::Report(Report::Lagging { slot: slot.clone() }));
            Lag { slot: slot.clone(), until: now + PERIOD, topics: Topics::new() }
        });
        for (topic, count) in dropped {
            add(&mut lag.topics, &topic, count);
        }
    }

    /// Tells of those whose time is over; of all, when the end has come.
    pub(crate) fn settle(&mut self, now: Instant, at_end: bool, actions: &mut Vec<Action>) {
        let over: Vec<ChildId> =
            self.known.iter().filter(|(_, lag)| at_end || lag.until <= now).map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.leave(id, actions));
    }

    /// A process is gone, or its time is over.
    pub(crate) fn leave(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        if let Some(Lag { slot, topics, .. }) = self.known.remove(&id) {
            actions.push(Action::Report(Report::Lagged { slot, topics }));
        }
    }

    /// When there is something to tell.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.known.values().map(|lag| lag.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_told_when_they_begin_and_together_when_their_time_is_over() {
        let (mut laggards, now, slot) = (Laggards::default(), Instant::now(), Slot::worker("web", 1));
        let one = || Topics::from([("words".into(), 1)]);
        let mut actions = Vec::new();
        for _ in 0..3 {
            laggards.note(ChildId(7), &slot, one(), now, &mut actions);
        }
        laggards.settle(now, false, &mut actions);
        assert_eq!(laggards.deadline(), Some(now + PERIOD));
        laggards.settle(now + PERIOD, false, &mut actions);
        laggards.note(ChildId(8), &slot, one(), now, &mut actions);
        laggards.settle(now, true, &mut actions);
        let reports: Vec<_> = actions
            .iter()
            .map(|action| match action {
                Action::Report(Report::Lagging { .. }) => None,
                Action::Report(Report::Lagged { topics, .. }) => Some(topics["words"]),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(reports, [None, Some(3), None, Some(1)]);
        assert_eq!(laggards.deadline(), None);
    }
}
