//! How answers leave this process: what they are made of, and what is said where there is none.

use std::sync::Arc;

use crate::bus::codec;
use crate::bus::control::Unanswered;
use crate::bus::frame::{Frame, Kind};
use crate::bus::head::Route;
use crate::bus::link::{SendError, Sender};
use crate::bus::peer::Address;

/// The encoded answer, or why there is none.
pub(crate) type Outcome = Result<Vec<u8>, Unanswered>;

/// The most characters of the words in which somebody says why there is no answer; all else of an answer has a limit, too.
const WORDS: usize = 4000;

/// Sends answers in the name of this process.
#[derive(Debug)]
pub(super) struct Office {
    /// This process, as the others see it.
    pub(super) address: Address,
    pub(super) sender: Sender,
}

impl Office {
    /// Sends what became of question `number`, waiting for room. Cancel safe.
    pub(super) async fn answer(&self, number: u64, outcome: Outcome, to: Address) {
        // If the master is gone, so is the asker.
        let _ = self.sender.send(self.frame(number, outcome, to)).await;
    }

    /// Says why a question has no answer.
    pub(super) fn refuse(self: &Arc<Self>, question: &Frame, problem: Unanswered) {
        let frame = self.frame(question.number(), Err(problem), question.route().from);
        if matches!(self.sender.push(&frame), Err(SendError::Full(_))) {
            let office = Arc::clone(self);
            // Nobody is held up by a queue towards the master that is full.
            tokio::spawn(async move { office.sender.send(frame).await });
        }
    }

    fn frame(&self, number: u64, outcome: Outcome, to: Address) -> Frame {
        let (kind, body) = match outcome {
            Ok(answer) => (Kind::Reply, answer),
            Err(problem) => (Kind::Refusal, codec::encode("a refusal", &cut(problem)).unwrap_or_default()),
        };
        Frame::new(kind, number, body).on(Route { to, from: self.address, time: 0 })
    }
}

fn cut(problem: Unanswered) -> Unanswered {
    let cut = |words: String| words.chars().take(WORDS).collect();
    match problem {
        Unanswered::Refused(words) => Unanswered::Refused(cut(words)),
        Unanswered::Codec(words) => Unanswered::Codec(cut(words)),
        other => other,
    }
}
