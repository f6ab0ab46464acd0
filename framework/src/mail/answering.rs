//! Answering the questions on one topic: as many at a time as is allowed, a bounded number of others waiting, and each
//! given up when its asker waits no longer.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

use super::Letter;
use crate::bus::codec;
use crate::bus::control::Unanswered;
use crate::bus::frame::{Frame, Kind};
use crate::bus::head::Route;
use crate::bus::link::{SendError, Sender};
use crate::bus::peer::Address;

/// Answers one question: the encoded answer, or why there is none.
pub(crate) type Handler = Box<dyn Fn(Letter) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

type Outcome = Result<Vec<u8>, Unanswered>;

/// The most characters of the words in which somebody says why there is no answer; all else of an answer has a limit, too.
const WORDS: usize = 4000;

/// A question by its asker's process id and number.
type Question = (u32, u64);

/// The function that answers on a topic, and the questions that it has under way.
pub(crate) struct Answering {
    handler: Arc<Handler>,
    places: Arc<Semaphore>,
    /// How many questions may be under way or wait.
    most: usize,
    open: Arc<Mutex<Open>>,
    /// Rings when a question has ended.
    ended: Arc<Notify>,
}

/// The questions that are under way or wait, until their answers are on their way.
#[derive(Default)]
struct Open {
    questions: HashMap<Question, Task>,
    bytes: usize,
}

#[derive(Default)]
struct Task {
    bytes: usize,
    handle: Option<AbortHandle>,
}

impl Open {
    fn remove(&mut self, question: Question) -> Option<Task> {
        let task = self.questions.remove(&question)?;
        self.bytes -= task.bytes;
        Some(task)
    }
}

impl Answering {
    /// Answers `at_once` questions at a time, while up to `waiting` more wait.
    pub(crate) fn new(handler: Handler, at_once: usize, waiting: usize) -> Self {
        let places = Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            handler: Arc::new(handler),
            places,
            most: at_once.saturating_add(waiting),
            open: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// Takes a question on, and sends the answer when there is one; all that wait have at most `limit` bytes, or are one.
    pub(super) fn take(
        &self,
        frame: &Frame,
        sender: &Sender,
        own: Address,
        limit: usize,
    ) -> Result<(), Unanswered> {
        let (question, bytes) = ((frame.route().from.pid, frame.number()), frame.wire_length());
        {
            let mut open = lock(&self.open);
            let full = open.questions.len() >= self.most || (open.bytes > 0 && open.bytes + bytes > limit);
            if full || open.questions.contains_key(&question) {
                return Err(Unanswered::Busy);
            }
            open.bytes += bytes;
            open.questions.insert(question, Task { bytes, handle: None });
        }
        let (places, handler, letter) =
            (Arc::clone(&self.places), Arc::clone(&self.handler), Letter::of(&frame.kept()));
        let (open, ended, sender, route) =
            (Arc::clone(&self.open), Arc::clone(&self.ended), sender.clone(), frame.route());
        let task = tokio::spawn(async move {
            let place = places.acquire().await;
            // The author's code begins here: it may panic at once, and use this process's mail.
            let answer = AssertUnwindSafe(async move { handler(letter).await });
            let panicked = |_| Err(Unanswered::Refused("the function that answers panicked".to_owned()));
            let outcome = answer.catch_unwind().await.unwrap_or_else(panicked);
            // If the master is gone, so is the asker.
            let _ = sender.send(reply(question.1, outcome, route.from, own)).await;
            // No sooner, or answers would pile up that wait for the link.
            drop(place);
            lock(&open).remove(question);
            ended.notify_waiters();
        });
        if let Some(place) = lock(&self.open).questions.get_mut(&question) {
            place.handle = Some(task.abort_handle());
        }
        Ok(())
    }

    /// Gives a question up.
    pub(super) fn cancel(&self, asker: u32, number: u64) {
        let task = lock(&self.open).remove((asker, number));
        if let Some(handle) = task.and_then(|task| task.handle) {
            handle.abort();
        }
        self.ended.notify_waiters();
    }

    /// Waits until no question is under way or waits. Cancel safe.
    pub(super) async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if lock(&self.open).questions.is_empty() {
                return;
            }
            ended.await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reply(number: u64, outcome: Outcome, to: Address, from: Address) -> Frame {
    let (kind, body) = match outcome {
        Ok(answer) => (Kind::Reply, answer),
        Err(problem) => (Kind::Refusal, codec::encode("a refusal", &cut(problem)).unwrap_or_default()),
    };
    Frame::new(kind, number, body).on(Route { to, from, time: 0 })
}

fn cut(problem: Unanswered) -> Unanswered {
    let cut = |words: String| words.chars().take(WORDS).collect();
    match problem {
        Unanswered::Refused(words) => Unanswered::Refused(cut(words)),
        Unanswered::Codec(words) => Unanswered::Codec(cut(words)),
        other => other,
    }
}

/// Says why a question has no answer.
pub(super) fn refuse(question: &Frame, problem: &Unanswered, sender: &Sender, own: Address) {
    let frame = reply(question.number(), Err(problem.clone()), question.route().from, own);
    if matches!(sender.push(frame.clone()), Err(SendError::Full(_))) {
        let sender = sender.clone();
        // Nobody is held up by a queue towards the master that is full.
        tokio::spawn(async move { sender.send(frame).await });
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").field("open", &lock(&self.open).questions.len()).finish_non_exhaustive()
    }
}
