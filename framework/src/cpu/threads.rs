//! The threads of a pool: started for jobs that find none free, asleep between jobs, ended when they idle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::CpuError;
use super::job::Job;
use super::queue::{CpuFigures, Entry, Limits, Queue, Refusal, Ticket};

/// What the pool and its threads share.
pub(super) struct Shared {
    queue: Mutex<Queue<Job>>,
    work: Condvar,
    idle: Duration,
}

// Jobs are the author's, and dropping one may do anything: every one of them is dropped outside of the lock.
impl Shared {
    pub(super) fn new(limits: Limits, idle: Duration) -> Self {
        Self { queue: Mutex::new(Queue::new(limits)), work: Condvar::new(), idle }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job into the queue and sees to it that a thread comes for it.
    pub(super) fn submit(self: &Arc<Self>, job: Job, now: Instant) -> Result<Ticket, CpuError> {
        let entered = self.lock().enter(job, now);
        let entry = match entered {
            Ok(entry) => entry,
            Err(Refusal::Full(_)) => return Err(CpuError::Full { limit: self.lock().limits().waiting }),
            Err(Refusal::Closed(_)) => return Err(CpuError::Closed),
        };
        match entry {
            Entry::Wake(_) => self.work.notify_one(),
            Entry::Start(ticket) => self.start(ticket)?,
            Entry::Wait(_) => {}
        }
        Ok(entry.ticket())
    }

    fn start(self: &Arc<Self>, ticket: Ticket) -> Result<(), CpuError> {
        let shared = Arc::clone(self);
        // Detached: a job that is stuck must not hold up the end of the process.
        let started = thread::Builder::new().name("cpu".to_owned()).spawn(move || shared.serve());
        let Err(error) = started else { return Ok(()) };
        let left = self.lock().lose_thread();
        // Where others live, they come round to this job.
        if left > 0 {
            return Ok(());
        }
        let refused = self.lock().refuse(ticket);
        drop(refused);
        Err(error.into())
    }

    /// The life of a thread.
    fn serve(&self) {
        while let Some(job) = self.next() {
            let report = job.run();
            self.lock().ended(report.end);
            report.tell();
        }
    }

    /// The next job; `None` when this thread should end, and is not counted any more.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.take() {
                return Some(job);
            }
            if queue.is_closed() {
                break;
            }
            queue.idle();
            let (woken, waited) =
                self.work.wait_timeout(queue, self.idle).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.awake();
            if waited.timed_out() && queue.is_empty() {
                break;
            }
        }
        queue.lose_thread();
        None
    }

    /// Forgets a job that waits, since nobody wants it; nothing if it runs or ran.
    pub(super) fn withdraw(&self, ticket: Ticket) {
        let withdrawn = self.lock().withdraw(ticket);
        drop_quietly(withdrawn);
    }

    /// Refuses a job that has waited too long; false if it runs or ran.
    pub(super) fn refuse_late(&self, ticket: Ticket) -> bool {
        let refused = self.lock().refuse(ticket);
        let waited = refused.is_some();
        drop_quietly(refused);
        waited
    }

    pub(super) fn close(&self) {
        let waiting = self.lock().close();
        self.work.notify_all();
        drop_quietly(waiting);
    }

    pub(super) fn figures(&self, now: Instant) -> CpuFigures {
        self.lock().figures(now)
    }
}

/// Drops what belongs to jobs. It runs in destructors, where a second panic would end the process.
fn drop_quietly<T>(jobs: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(jobs)));
}
