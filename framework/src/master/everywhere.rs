//! Who wants to know when every worker runs a version of a state. Pure.

use super::event::{Action, ChildId};
use crate::bus::codec;
use crate::bus::frame::{Frame, Kind};

/// The most questions that may wait.
const QUESTIONS: usize = 1024;

/// The questions that wait for their answer.
#[derive(Debug, Default)]
pub(crate) struct Everywhere {
    questions: Vec<Question>,
}

#[derive(Debug)]
struct Question {
    asker: ChildId,
    number: u64,
    topic: String,
    version: u64,
}

impl Everywhere {
    /// An agent asks, or takes back what it has asked.
    pub(crate) fn ask(
        &mut self,
        asker: ChildId,
        frame: &Frame,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        let number = frame.number();
        if frame.payload().is_empty() {
            self.questions.retain(|question| (question.asker, question.number) != (asker, number));
            return Ok(());
        }
        let version = codec::decode("a version", frame.payload()).map_err(|error| error.to_string())?;
        if self.questions.len() >= QUESTIONS {
            let reason = format!("{QUESTIONS} questions for versions wait already, which are the most");
            actions.push(answer(asker, number, reason.as_bytes()));
            return Ok(());
        }
        self.questions.push(Question { asker, number, topic: frame.topic().to_owned(), version });
        Ok(())
    }

    pub(crate) fn leave(&mut self, id: ChildId) {
        self.questions.retain(|question| question.asker != id);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.questions.is_empty()
    }

    /// Answers what is so by now, given the workers that count and the version of a topic that each runs.
    pub(crate) fn settle(
        &mut self,
        workers: &[ChildId],
        runs: impl Fn(ChildId, &str) -> u64,
        actions: &mut Vec<Action>,
    ) {
        let is_so = |question: &Question| {
            workers.iter().all(|worker| runs(*worker, &question.topic) >= question.version)
        };
        self.questions.retain(|question| {
            let is_so = is_so(question);
            if is_so {
                actions.push(answer(question.asker, question.number, &[]));
            }
            !is_so
        });
    }
}

fn answer(to: ChildId, number: u64, problem: &[u8]) -> Action {
    Action::Send { to, frame: Frame::new(Kind::Everywhere, number, problem.to_vec()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const AGENT: ChildId = ChildId(1);

    fn ask(everywhere: &mut Everywhere, number: u64, version: u64) -> Vec<Action> {
        let (body, mut actions) = (codec::encode("a version", &version).unwrap(), Vec::new());
        let frame = Frame::about(Kind::Everywhere, "flags", number, &body);
        everywhere.ask(AGENT, &frame, &mut actions).unwrap();
        actions
    }

    fn settle(everywhere: &mut Everywhere, runs: &[(u64, u64)]) -> Vec<u64> {
        let runs: BTreeMap<ChildId, u64> =
            runs.iter().map(|(id, version)| (ChildId(*id), *version)).collect();
        let workers: Vec<ChildId> = runs.keys().copied().collect();
        let mut actions = Vec::new();
        everywhere.settle(&workers, |id, _| runs[&id], &mut actions);
        let number = |action: &Action| match action {
            Action::Send { to: AGENT, frame } if frame.payload().is_empty() => frame.number(),
            other => panic!("{other:?}"),
        };
        actions.iter().map(number).collect()
    }

    #[test]
    fn a_question_is_answered_when_every_worker_runs_the_version_or_a_later_one() {
        let mut everywhere = Everywhere::default();
        assert!(ask(&mut everywhere, 1, 5).is_empty());
        assert!(ask(&mut everywhere, 2, 7).is_empty());
        assert_eq!(settle(&mut everywhere, &[(2, 5), (3, 4)]), [0; 0]);
        assert_eq!(settle(&mut everywhere, &[(2, 9), (3, 5)]), [1]);
        assert_eq!(settle(&mut everywhere, &[(2, 9)]), [2], "the dead hold nobody up");
        assert!(everywhere.is_idle());
        ask(&mut everywhere, 3, 99);
        assert_eq!(settle(&mut everywhere, &[]), [3]);
    }

    #[test]
    fn what_is_taken_back_or_whose_asker_is_gone_is_forgotten() {
        let mut everywhere = Everywhere::default();
        ask(&mut everywhere, 1, 5);
        ask(&mut everywhere, 2, 5);
        everywhere.ask(AGENT, &Frame::new(Kind::Everywhere, 1, vec![]), &mut Vec::new()).unwrap();
        assert_eq!(everywhere.questions.len(), 1);
        everywhere.leave(AGENT);
        assert!(everywhere.is_idle());
    }

    #[test]
    fn more_questions_than_are_kept_are_refused() {
        let mut everywhere = Everywhere::default();
        for number in 0..QUESTIONS as u64 {
            ask(&mut everywhere, number, 5);
        }
        let refused = ask(&mut everywhere, 5000, 5);
        assert!(matches!(&refused[..], [Action::Send { frame, .. }] if !frame.payload().is_empty()));
        assert_eq!(everywhere.questions.len(), QUESTIONS);
    }
}
