//! Heavy work beside the loop: a bounded pool of threads for jobs that would keep other requests waiting.
//!
//! Its own queue of a mutex and a condition variable: tokio's blocking pool has no bound on what waits, and look-ups of
//! files and names, which share it, would wait behind heavy work. Choosing what is heavy, and telling the figures, are
//! left to others.
//!
//! ```text
//! CpuPool::run ─▶ queue (bounded, first in, first out) ─▶ threads ─▶ job ─▶ the caller
//!        └─ dropped: out of the queue, or the job is told
//! ```

mod error;
mod job;
mod queue;
mod settings;
#[cfg(test)]
mod tests;
mod threads;

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

pub use error::CpuError;
pub use job::Cancelled;
pub use queue::CpuFigures;
pub use settings::{CpuSettings, CpuThreads};

use job::{Job, Outcome};
use queue::{Limits, Ticket};
use threads::Shared;

/// How long a thread without work lives on.
const IDLE: Duration = Duration::from_secs(10);

/// A bounded pool of threads for heavy work.
///
/// Threads are started one by one with the jobs that need them, and end after 10 s without work. Dropping the pool
/// refuses what waits with [`CpuError::Closed`], lets what runs come to its end, and waits for nobody.
/// The futures borrow nothing of the pool, and are awaited inside a runtime with timers.
///
/// ```
/// use hatchery::{CpuPool, CpuSettings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), hatchery::CpuError> {
/// let pool = CpuPool::new(&CpuSettings::default(), 1);
/// let sum = pool.run(|| (1..=1_000_u64).sum::<u64>()).await?;
/// assert_eq!(sum, 500_500);
/// # Ok(()) }
/// ```
pub struct CpuPool {
    shared: Arc<Shared>,
    queue_timeout: Duration,
}

impl CpuPool {
    /// A pool for one of `workers` processes that share the processors; it has no threads yet.
    #[must_use]
    pub fn new(settings: &CpuSettings, workers: u32) -> Self {
        Self::with_idle(settings, workers, IDLE)
    }

    fn with_idle(settings: &CpuSettings, workers: u32, idle: Duration) -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let limits =
            Limits { threads: settings.threads.resolve(processors, workers), waiting: settings.queue_limit };
        Self { shared: Arc::new(Shared::new(limits, idle)), queue_timeout: settings.queue_timeout }
    }

    /// Runs `job` on a thread of the pool. Cancel safe: when the future is dropped, as it is when a client goes away,
    /// a job that waits is forgotten, and one that runs comes to its end for nobody; see [`run_with`](Self::run_with).
    ///
    /// # Errors
    /// When too many jobs wait, this one waited too long, or it panicked.
    pub fn run<T, F>(&self, job: F) -> impl Future<Output = Result<T, CpuError>> + Send + use<T, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.run_with(|_| job())
    }

    /// As [`run`](Self::run), for a job that looks now and then whether anybody still waits for it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with<T, F>(&self, job: F) -> impl Future<Output = Result<T, CpuError>> + Send + use<T, F>
    where
        F: FnOnce(&Cancelled) -> T + Send + 'static,
        T: Send + 'static,
    {
        let (shared, queue_timeout) = (Arc::clone(&self.shared), self.queue_timeout);
        async move {
            let (answer, answered) = oneshot::channel();
            let cancelled = Cancelled::default();
            let ticket = shared.submit(Job::new(job, cancelled.clone(), answer), Instant::now())?;
            let mut caller = Caller { shared, ticket, cancelled, over: false };
            let outcome = caller.wait(answered, queue_timeout).await;
            caller.over = true;
            outcome
        }
    }

    /// What the pool has done and is doing.
    #[must_use]
    pub fn figures(&self) -> CpuFigures {
        self.shared.figures(Instant::now())
    }
}

impl Drop for CpuPool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for CpuPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CpuPool").field(&self.figures()).finish()
    }
}

/// One that waits for a job. Should it go away, the job is forgotten or told.
struct Caller {
    shared: Arc<Shared>,
    ticket: Ticket,
    cancelled: Cancelled,
    over: bool,
}

impl Caller {
    async fn wait<T>(
        &self,
        mut answered: oneshot::Receiver<Outcome<T>>,
        queue_timeout: Duration,
    ) -> Result<T, CpuError> {
        let outcome = match timeout(queue_timeout, &mut answered).await {
            Ok(outcome) => outcome,
            Err(_) if self.shared.refuse_late(self.ticket) => {
                return Err(CpuError::Late { limit: queue_timeout });
            }
            Err(_) => answered.await,
        };
        match outcome {
            Ok(Outcome::Done(value)) => Ok(value),
            Ok(Outcome::Panicked(message)) => Err(CpuError::Panicked { message }),
            Err(_) => Err(CpuError::Closed),
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if !self.over {
            self.cancelled.set();
            self.shared.withdraw(self.ticket);
        }
    }
}
