//! Answering the questions on one topic: as many at a time as is allowed, a bounded number of others waiting, and each
//! given up when its asker waits no longer. What can be answered at once needs no task.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::Letter;
use super::office::{Office, Outcome};
use crate::bus::control::Unanswered;
use crate::bus::frame::Frame;

/// Answers one question. What it returns keeps nothing of a small letter; of one of 64 KiB and more it may keep slices
/// (`bus/shared.rs`), and with them all that was read with it, until the answer is made. Only the letter itself is counted.
pub(crate) type Handler = Box<dyn Fn(Letter) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// The topic has an answering function already.
#[derive(Debug)]
pub(crate) struct Taken;

/// A question by its asker's process id and number.
type Question = (u32, u64);

/// The function that answers on a topic, and the questions that it has under way.
pub(crate) struct Answering {
    handler: Handler,
    places: Arc<Semaphore>,
    /// How many questions may be under way or wait.
    most: usize,
    open: Mutex<Open>,
    /// Rings when a question that took a task has ended.
    ended: Notify,
}

/// When a question begins that nothing keeps from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Now, in the midst of the caller, who must hold nothing that an author's function could want.
    AtOnce,
    /// In a task of its own.
    Apart,
}

/// The questions that are under way or wait, until their answers are on their way.
#[derive(Default)]
struct Open {
    questions: HashMap<Question, Task>,
    bytes: usize,
    /// How many have no place yet; who comes later waits behind them.
    waiting: usize,
}

struct Task {
    bytes: usize,
    waits: bool,
    handle: AbortHandle,
}

impl Open {
    fn insert(&mut self, question: Question, task: Task) {
        self.bytes += task.bytes;
        self.waiting += usize::from(task.waits);
        self.questions.insert(question, task);
    }

    fn remove(&mut self, question: Question) -> Option<Task> {
        let task = self.questions.remove(&question)?;
        self.bytes -= task.bytes;
        self.waiting -= usize::from(task.waits);
        Some(task)
    }

    /// A question that waited has a place now.
    fn begin(&mut self, question: Question) {
        if let Some(task) = self.questions.get_mut(&question) {
            self.waiting -= usize::from(std::mem::take(&mut task.waits));
        }
    }
}

impl Answering {
    /// Answers `at_once` questions at a time, while up to `waiting` more wait.
    pub(crate) fn new(handler: Handler, at_once: usize, waiting: usize) -> Self {
        let places = Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            handler,
            places,
            most: at_once.saturating_add(waiting),
            open: Mutex::default(),
            ended: Notify::new(),
        }
    }

    /// Takes a question on, and sends the answer when there is one; all that wait have at most `limit` bytes, or are one.
    pub(super) fn take(
        self: &Arc<Self>,
        frame: &Frame,
        office: &Arc<Office>,
        begin: Begin,
        limit: usize,
    ) -> Result<(), Unanswered> {
        let (question, bytes) = ((frame.route().from.pid, frame.number()), frame.wire_length());
        let place = self.place_for(question, bytes, limit)?;
        let (answering, office) = (Arc::clone(self), Arc::clone(office));
        match place {
            Some(place) if begin == Begin::AtOnce => {
                let mut work = Box::pin(answering.answer(Letter::of(frame), Some(place), office));
                if work.as_mut().now_or_never().is_none() {
                    self.go_on(question, bytes, false, work);
                }
            }
            place => {
                let (letter, waits) = (Letter::of(&frame.kept()), place.is_none());
                let work = async move {
                    let place = match place {
                        None => answering.wait(question).await,
                        place => place,
                    };
                    answering.answer(letter, place, office).await;
                };
                self.go_on(question, bytes, waits, work);
            }
        }
        Ok(())
    }

    /// A place if there is one and nobody waits for it.
    fn place_for(
        &self,
        question: Question,
        bytes: usize,
        limit: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, Unanswered> {
        let open = lock(&self.open);
        let full = open.questions.len() >= self.most || (open.bytes > 0 && open.bytes + bytes > limit);
        if full || open.questions.contains_key(&question) {
            return Err(Unanswered::Busy);
        }
        let is_first = open.waiting == 0;
        Ok(is_first.then(|| Arc::clone(&self.places).try_acquire_owned().ok()).flatten())
    }

    /// Waits for a place. Cancel safe.
    async fn wait(&self, question: Question) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        lock(&self.open).begin(question);
        place
    }

    async fn answer(
        self: Arc<Self>,
        letter: Letter,
        place: Option<OwnedSemaphorePermit>,
        office: Arc<Office>,
    ) {
        let (number, asker) = (letter.number, letter.route.from);
        // The author's code begins here: it may panic at once, and use this process's mail.
        let answer = AssertUnwindSafe(async { (self.handler)(letter).await });
        let outcome = answer.catch_unwind().await.unwrap_or(Err(Unanswered::Panicked));
        office.answer(number, outcome, asker).await;
        // No sooner, or answers would pile up that wait for the link.
        drop(place);
    }

    /// Gives a question a task of its own.
    fn go_on(
        self: &Arc<Self>,
        question: Question,
        bytes: usize,
        waits: bool,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let answering = Arc::clone(self);
        // The task forgets the question no sooner than it is known.
        let mut open = lock(&self.open);
        let task = tokio::spawn(async move {
            work.await;
            lock(&answering.open).remove(question);
            answering.ended.notify_waiters();
        });
        open.insert(question, Task { bytes, waits, handle: task.abort_handle() });
    }

    /// Gives a question up; whether it is here.
    pub(super) fn cancel(&self, asker: u32, number: u64) -> bool {
        let task = lock(&self.open).remove((asker, number));
        if let Some(task) = &task {
            task.handle.abort();
        }
        self.ended.notify_waiters();
        task.is_some()
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

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").field("open", &lock(&self.open).questions.len()).finish_non_exhaustive()
    }
}
