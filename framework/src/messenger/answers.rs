//! Answering what other processes ask.

use std::fmt::Display;
use std::future::Future;

use super::sending::Sending;
use super::{Asked, Messenger, Request};
use crate::bus::codec;
use crate::bus::control::Unanswered;
use crate::bus::peer::Address;
use crate::bus::topic::{self, BadTopic};
use crate::mail::{Answering, Handler, Letter, Taken};
use crate::process::Process;

/// How many questions on one topic a process takes on; further ones are refused at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerLimits {
    /// How many are answered at the same time. Default 64, at least 1.
    pub at_once: usize,
    /// How many more may wait. Default 1024.
    pub waiting: usize,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        Self { at_once: 64, waiting: 1024 }
    }
}

/// A function that cannot answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The topic has a name that nothing may have.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// Another function answers on this topic.
    #[error("`{0}` is answered by another function of this process already: answer it in one place")]
    Taken(&'static str),
    /// The run of a duty that wants to answer has failed.
    #[error("the run of the duty that answers `{0}` has failed: the next run answers it anew")]
    Over(&'static str),
}

impl Messenger {
    /// Lets `answer` answer the questions of type `Q`, for as long as the process lives, and those that came before it
    /// said that it is ready. An error that it returns reaches the asker as words. A question whose asker waits no
    /// longer is dropped where it waits. Called on the agent that a [`Duty`](crate::Duty) was given, it answers until a run
    /// of that duty fails; what is asked before the next run answers is refused, and what was taken on is still answered.
    ///
    /// # Errors
    /// When the topic has a name that nothing may have, or is answered already.
    pub fn answer<Q, F, Fut, E>(&self, answer: F) -> Result<(), AnswerError>
    where
        Q: Request,
        F: Fn(Q) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Q::Reply, E>> + Send + 'static,
        E: Display,
    {
        self.answer_within(AnswerLimits::default(), answer)
    }

    /// Like [`answer`](Self::answer), with limits of its own.
    ///
    /// # Errors
    /// See [`answer`](Self::answer).
    pub fn answer_within<Q, F, Fut, E>(&self, limits: AnswerLimits, answer: F) -> Result<(), AnswerError>
    where
        Q: Request,
        F: Fn(Q) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Q::Reply, E>> + Send + 'static,
        E: Display,
    {
        self.answer_asked_within(limits, move |asked: Asked<Q>| answer(asked.into_inner()))
    }

    /// Like [`answer`](Self::answer), for a function that wants to know who asks, and when.
    ///
    /// # Errors
    /// See [`answer`](Self::answer).
    pub fn answer_asked<Q, F, Fut, E>(&self, answer: F) -> Result<(), AnswerError>
    where
        Q: Request,
        F: Fn(Asked<Q>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Q::Reply, E>> + Send + 'static,
        E: Display,
    {
        self.answer_asked_within(AnswerLimits::default(), answer)
    }

    /// Like [`answer_asked`](Self::answer_asked), with limits of its own.
    ///
    /// # Errors
    /// See [`answer`](Self::answer).
    pub fn answer_asked_within<Q, F, Fut, E>(
        &self,
        limits: AnswerLimits,
        answer: F,
    ) -> Result<(), AnswerError>
    where
        Q: Request,
        F: Fn(Asked<Q>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Q::Reply, E>> + Send + 'static,
        E: Display,
    {
        topic::check(Q::NAME)?;
        let limit = self.process.launch().bus.message_bytes();
        let process = self.process.clone();
        let handler: Handler = Box::new(move |Letter { payload, route, number, .. }| {
            let panic = Panic { process: &process, topic: Q::NAME, number, asker: route.from };
            let with_asker = |question| answer(Asked::new(question, Sending::of(&process, route, number)));
            let answering = codec::decode_shared::<Q>(Q::NAME, &payload).map(with_asker);
            drop(panic);
            let process = process.clone();
            Box::pin(async move {
                let _panic = Panic { process: &process, topic: Q::NAME, number, asker: route.from };
                let outcome = match answering {
                    Ok(answering) => conclude::<Q, E>(answering.await, limit),
                    Err(error) => Err(Unanswered::Codec(error.to_string())),
                };
                let problem = outcome.as_ref().map_err(Unanswered::why);
                let answer = problem.as_ref().map(|bytes| bytes.len()).map_err(|why| &**why);
                process.mail().tracer().answered(Q::NAME, number, route.from, answer);
                outcome
            })
        });
        let answering = Answering::new(handler, limits.at_once, limits.waiting);
        let answering = self.process.mail().answer(Q::NAME, answering);
        let answering = answering.map_err(|Taken| AnswerError::Taken(Q::NAME))?;
        let process = self.process.clone();
        let is_in_time = self.tenure.add(async move { process.mail().dismiss(Q::NAME, &answering) });
        if is_in_time { Ok(()) } else { Err(AnswerError::Over(Q::NAME)) }
    }
}

/// What the asker gets.
fn conclude<Q: Request, E: Display>(reply: Result<Q::Reply, E>, limit: usize) -> Result<Vec<u8>, Unanswered> {
    let reply = reply.map_err(|error| Unanswered::Refused(error.to_string()))?;
    let encoded = codec::encode(Q::NAME, &reply);
    let bytes = encoded.map_err(|error| Unanswered::Codec(error.to_string()))?;
    if bytes.len() > limit {
        let (topic, length) = (Q::NAME, bytes.len());
        let problem = format!(
            "the answer to `{topic}` has {length} bytes, over the limit of {limit}; raise bus.message_limit"
        );
        return Err(Unanswered::Codec(problem));
    }
    Ok(bytes)
}

/// Has it traced that the function which answers panicked, wherever that is.
struct Panic<'a> {
    process: &'a Process,
    topic: &'static str,
    number: u64,
    asker: Address,
}

impl Drop for Panic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = Unanswered::Panicked.why();
            self.process.mail().tracer().answered(self.topic, self.number, self.asker, Err(&why));
        }
    }
}
