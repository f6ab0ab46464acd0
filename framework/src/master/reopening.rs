//! Rounds of opening the log files anew: everybody is asked, and who asked for the round hears of its end
//! when the last has answered or died. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Action, ChildId};
use crate::bus::frame::{Frame, Kind};

/// The rounds that are under way.
#[derive(Debug, Default)]
pub(crate) struct Reopening {
    rounds: BTreeMap<u64, Round>,
    last: u64,
}

#[derive(Debug)]
struct Round {
    /// Who asked and the number of its request; nobody when a signal asked.
    asker: Option<(ChildId, u64)>,
    waiting: BTreeSet<ChildId>,
    problems: Vec<String>,
}

impl Reopening {
    /// Asks the master itself and all `members`.
    pub(crate) fn begin(
        &mut self,
        asker: Option<(ChildId, u64)>,
        members: impl Iterator<Item = ChildId>,
        actions: &mut Vec<Action>,
    ) {
        // What a new round does covers an older one that nobody waits for.
        self.rounds.retain(|_, round| round.asker.is_some());
        self.last += 1;
        let waiting: BTreeSet<_> = members.collect();
        actions.push(Action::ReopenOwnLogs);
        let ask = |&to| Action::Send { to, frame: Frame::new(Kind::Reopen, self.last, vec![]) };
        actions.extend(waiting.iter().map(ask));
        self.rounds.insert(self.last, Round { asker, waiting, problems: Vec::new() });
        self.close_finished(actions);
    }

    /// A process has done it, or says why it could not.
    pub(crate) fn answered(&mut self, from: ChildId, number: u64, problem: &str, actions: &mut Vec<Action>) {
        if let Some(round) = self.rounds.get_mut(&number)
            && round.waiting.remove(&from)
            && !problem.is_empty()
        {
            round.problems.push(problem.to_owned());
        }
        self.close_finished(actions);
    }

    /// A process is gone: nobody waits for it any more.
    pub(crate) fn leave(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        for round in self.rounds.values_mut() {
            round.waiting.remove(&id);
        }
        self.close_finished(actions);
    }

    fn close_finished(&mut self, actions: &mut Vec<Action>) {
        let finished = self.rounds.extract_if(.., |_, round| round.waiting.is_empty());
        for (_, round) in finished {
            if let Some((to, request)) = round.asker {
                let frame = Frame::new(Kind::Reopened, request, round.problems.join("; ").into_bytes());
                actions.push(Action::Send { to, frame });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(actions: &[Action]) -> Vec<(u64, u64, String)> {
        let answer = |action: &Action| match action {
            Action::Send { to, frame } if frame.kind() == Kind::Reopened => {
                Some((to.0, frame.number(), String::from_utf8_lossy(frame.payload()).into_owned()))
            }
            _ => None,
        };
        actions.iter().filter_map(answer).collect()
    }

    #[test]
    fn the_asker_hears_of_the_end_when_the_last_has_answered_or_died() {
        let mut reopening = Reopening::default();
        let mut actions = Vec::new();
        reopening.begin(Some((ChildId(1), 42)), [1, 2, 3].map(ChildId).into_iter(), &mut actions);
        assert_eq!(actions.len(), 4);
        reopening.answered(ChildId(1), 1, "", &mut actions);
        reopening.answered(ChildId(2), 1, "no space", &mut actions);
        reopening.answered(ChildId(2), 1, "again", &mut actions);
        assert_eq!(answers(&actions), []);
        reopening.leave(ChildId(3), &mut actions);
        assert_eq!(answers(&actions), [(1, 42, "no space".to_owned())]);
        assert!(reopening.rounds.is_empty());
    }

    #[test]
    fn rounds_do_not_mix() {
        let mut reopening = Reopening::default();
        let mut actions = Vec::new();
        for _ in 0..1000 {
            reopening.begin(None, std::iter::once(ChildId(2)), &mut actions);
        }
        assert_eq!(reopening.rounds.len(), 1);
        reopening = Reopening::default();
        reopening.begin(Some((ChildId(1), 7)), std::iter::once(ChildId(2)), &mut actions);
        reopening.begin(None, std::iter::once(ChildId(2)), &mut actions);
        reopening.answered(ChildId(2), 2, "", &mut actions);
        assert_eq!(answers(&actions), []);
        reopening.answered(ChildId(2), 1, "", &mut actions);
        assert_eq!(answers(&actions), [(1, 7, String::new())]);
    }
}
