//! Asking another process, and waiting for its answer.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Errand, Messenger, SendError};
use crate::bus::control::Unanswered;
use crate::bus::frame::{Frame, Kind};
use crate::bus::head::Route;
use crate::bus::{CodecError, Peer, Topic, codec};
use crate::process::{MasterGone, Process};

/// A message that wants an answer.
///
/// ```
/// # use serde::{Serialize, Deserialize};
/// #[derive(Serialize, Deserialize)]
/// struct Lookup { article: String }
///
/// impl hatchery::Topic for Lookup {
///     const NAME: &'static str = "lookup";
/// }
///
/// impl hatchery::Request for Lookup {
///     type Reply = Option<u64>;
/// }
/// ```
pub trait Request: Topic {
    /// The answer.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

/// A question that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The question was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// There was no answer in time; who was asked is told to stop.
    #[error(
        "{peer} did not answer `{topic}` within {patience:?}: look whether it is at work, ask with more time by `ask_within`, or \
         raise bus.ask_timeout"
    )]
    Deadline {
        /// Who was asked.
        peer: Peer,
        /// The topic's name.
        topic: &'static str,
        /// How long was waited.
        patience: Duration,
    },
    /// The process that was asked is gone.
    #[error(
        "{peer} was asked `{topic}`, and is gone: ask again if it may be answered twice",
        peer = .0.peer, topic = .0.topic
    )]
    Gone(Errand),
    /// Too much waits for who was asked, or it answers as many as it can.
    #[error(
        "{peer} was asked `{topic}`, and has too much to do: ask later, or let it answer more at a time by `answer_within`",
        peer = .0.peer, topic = .0.topic
    )]
    Busy(Errand),
    /// Who was asked has no function that answers such questions.
    #[error("{peer} does not answer `{topic}`")]
    NobodyAnswers {
        /// Who was asked.
        peer: Peer,
        /// The topic's name.
        topic: &'static str,
    },
    /// Who was asked says no, in its own words.
    #[error("{peer}: {reason}")]
    Refused {
        /// Who was asked.
        peer: Peer,
        /// Why.
        reason: String,
    },
    /// The function that answers panicked; where it ran, the panic is in the log.
    #[error("{peer} was asked, and its function that answers `{topic}` panicked")]
    Panicked {
        /// Who was asked.
        peer: Peer,
        /// The topic's name.
        topic: &'static str,
    },
    /// The other side could not read the question or write its answer.
    #[error("{peer}: {problem}")]
    Misunderstood {
        /// Who was asked.
        peer: Peer,
        /// What was wrong.
        problem: String,
    },
    /// The answer is of another type.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Messenger {
    /// Asks a process, and waits for its answer for as long as `bus.ask_timeout` says. While the process is being
    /// replaced, the question waits for the next one; when it dies with the question, that is known at once. When the
    /// call is dropped, who was asked is told to stop. An agent asks workers when it has said ready: at a start there
    /// are none before, and the question waits until its time is up.
    ///
    /// # Errors
    /// When there is no answer, for each reason that there can be.
    pub async fn ask<Q: Request>(&self, peer: &Peer, question: &Q) -> Result<Q::Reply, AskError> {
        self.ask_within(self.process.launch().bus.ask_timeout, peer, question).await
    }

    /// Like [`ask`](Self::ask), but waits for so long.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub async fn ask_within<Q: Request>(
        &self,
        patience: Duration,
        peer: &Peer,
        question: &Q,
    ) -> Result<Q::Reply, AskError> {
        let to = self.process.roll().address(peer).map_err(SendError::from)?;
        let frame = self.frame(Kind::Ask, to, question)?;
        let answered = self.process.mail().await_answer(frame.number());
        let (topic, question) = (Q::NAME, (frame.number(), frame.route().time));
        let ending = Some(Cow::Borrowed("nobody waits for it any more"));
        let mut open = Open { process: &self.process, peer, topic, question, is_answered: false, ending };
        let tracer = self.process.mail().tracer();
        tracer.sent(&frame);
        let asking = async {
            self.process.send(frame).await.map_err(SendError::from)?;
            answered.await.map_err(|_| AskError::from(SendError::from(MasterGone)))
        };
        let Ok(outcome) = tokio::time::timeout(patience, asking).await else {
            open.ending = Some("its time was up".into());
            self.warn_of_order(peer, topic);
            return Err(AskError::Deadline { peer: peer.clone(), topic, patience });
        };
        let outcome = outcome.inspect_err(|gone| open.ending = Some(gone.to_string().into()))?;
        open.is_answered = true;
        open.ending = outcome.as_ref().err().map(Unanswered::why);
        match outcome {
            Ok(answer) => {
                tracer.got_answer(topic, question, peer, answer.len());
                Ok(codec::decode_shared(topic, &answer)?)
            }
            Err(problem) => Err(explain(problem, peer.clone(), topic)),
        }
    }
}

impl Messenger {
    /// An agent that waits for workers before it says ready may wait for what only its ready brings about.
    fn warn_of_order(&self, peer: &Peer, topic: &str) {
        let is_early = self.process.role().slot.is_agent() && !self.process.said_ready();
        if is_early && !matches!(peer, Peer::Agent | Peer::Process(_)) {
            tracing::warn!(
                "`{topic}` was asked of {peer} before this agent said ready, and at a start no worker exists until \
                 then: ask later"
            );
        }
    }
}

fn explain(problem: Unanswered, peer: Peer, topic: &'static str) -> AskError {
    match problem {
        Unanswered::NoSuchPeer(problem) => SendError::NoSuchPeer(peer, problem).into(),
        Unanswered::Gone => AskError::Gone(Errand { peer, topic }),
        Unanswered::Busy => AskError::Busy(Errand { peer, topic }),
        Unanswered::Nobody => AskError::NobodyAnswers { peer, topic },
        Unanswered::Refused(reason) => AskError::Refused { peer, reason },
        Unanswered::Panicked => AskError::Panicked { peer, topic },
        Unanswered::Codec(problem) => AskError::Misunderstood { peer, problem },
    }
}

/// A question that was asked. At its end, who was asked is told that nobody waits any more, if the answer is still to come,
/// and the trace has why there is none.
struct Open<'a> {
    process: &'a Process,
    peer: &'a Peer,
    topic: &'static str,
    /// Its number, and when it was asked.
    question: (u64, u64),
    is_answered: bool,
    /// Why there is no answer.
    ending: Option<Cow<'static, str>>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let (mail, number) = (self.process.mail(), self.question.0);
        if !self.is_answered && mail.forget_answer(number) {
            let route = Route { from: mail.address(), ..Route::default() };
            self.process.push(Frame::new(Kind::Cancel, number, vec![]).on(route));
        }
        if let Some(why) = &self.ending {
            mail.tracer().unanswered(self.topic, self.question, self.peer, why);
        }
    }
}
