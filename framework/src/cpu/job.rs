//! A job: the author's closure with its way back to the caller, and how it ends.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

/// Tells a running job whether anybody still waits for its result.
#[derive(Debug, Clone, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    /// Whether the caller has gone away, so that the job may as well return at once. Costs next to nothing.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the caller is told.
#[derive(Debug)]
pub(super) enum Outcome<T> {
    Done(T),
    Panicked(String),
}

/// How a job ended, for the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobEnd {
    Done,
    Cancelled,
    Panicked,
}

/// A closure that waits for a thread.
pub(super) struct Job(Box<dyn FnOnce() -> Report + Send>);

/// Tells the caller; kept apart, so that the figures are right before it knows.
type Tell = Box<dyn FnOnce() + Send>;

/// A job's end, and the telling of it.
pub(super) struct Report {
    pub(super) end: JobEnd,
    tell: Tell,
}

impl Report {
    /// Gives the caller its result. It is dropped where nobody waits, and that may panic, too.
    pub(super) fn tell(self) {
        let _ = catch_unwind(AssertUnwindSafe(self.tell));
    }
}

impl Job {
    pub(super) fn new<T, F>(job: F, cancelled: Cancelled, answer: oneshot::Sender<Outcome<T>>) -> Self
    where
        F: FnOnce(&Cancelled) -> T + Send + 'static,
        T: Send + 'static,
    {
        Self(Box::new(move || {
            let outcome = match catch_unwind(AssertUnwindSafe(|| job(&cancelled))) {
                Ok(value) => Outcome::Done(value),
                Err(panic) => Outcome::Panicked(words(&*panic)),
            };
            let end = match outcome {
                Outcome::Panicked(_) => JobEnd::Panicked,
                Outcome::Done(_) if cancelled.is_cancelled() => JobEnd::Cancelled,
                Outcome::Done(_) => JobEnd::Done,
            };
            let tell = Box::new(move || drop(answer.send(outcome)));
            Report { end, tell }
        }))
    }

    pub(super) fn run(self) -> Report {
        (self.0)()
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a value that is no text").to_owned()
}
