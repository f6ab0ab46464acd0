//! What waits and what runs: who is let in, who is next, when another thread is worth it, and the figures. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::job::JobEnd;

/// A job's place in the order of arrival.
pub(super) type Ticket = u64;

/// What the pool may grow to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) threads: usize,
    pub(super) waiting: usize,
}

/// What a pool has done and is doing. Every job ends in exactly one of `done`, `refused`, `cancelled` and `panicked`,
/// or is refused when the pool is closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuFigures {
    /// Threads that live now.
    pub threads: usize,
    /// Jobs that run now, those that nobody waits for any more among them.
    pub running: usize,
    /// Jobs that wait for a thread now.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub longest_wait: Duration,
    /// Jobs that came to their end so far.
    pub done: u64,
    /// Jobs that found no room, waited too long, or found no thread so far.
    pub refused: u64,
    /// Jobs whose caller went away, before they began or while they ran, so far.
    pub cancelled: u64,
    /// Jobs that panicked so far.
    pub panicked: u64,
}

/// The queue. A `J` is a job, which is moved through and never looked at.
#[derive(Debug)]
pub(super) struct Queue<J> {
    limits: Limits,
    waiting: BTreeMap<Ticket, (Instant, J)>,
    next: Ticket,
    idle: usize,
    closed: bool,
    /// `waiting` and `longest_wait` are filled in when somebody asks.
    counts: CpuFigures,
}

/// What must be done for a job that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A thread without work takes it.
    Wake(Ticket),
    /// One more thread must be started; it is counted already.
    Start(Ticket),
    /// It waits until one of the threads is free.
    Wait(Ticket),
}

impl Entry {
    pub(super) fn ticket(self) -> Ticket {
        let (Self::Wake(ticket) | Self::Start(ticket) | Self::Wait(ticket)) = self;
        ticket
    }
}

/// There is no room; the job comes back, so that it is dropped outside of the lock.
#[derive(Debug)]
pub(super) enum Refusal<J> {
    Full(J),
    Closed(J),
}

impl<J> Queue<J> {
    pub(super) fn new(limits: Limits) -> Self {
        let counts = CpuFigures::default();
        Self { limits, waiting: BTreeMap::new(), next: 0, idle: 0, closed: false, counts }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets a job in. Those that have a thread coming do not count against the limit.
    pub(super) fn enter(&mut self, job: J, now: Instant) -> Result<Entry, Refusal<J>> {
        if self.closed {
            return Err(Refusal::Closed(job));
        }
        let most = self.limits.threads.saturating_add(self.limits.waiting);
        if self.counts.running + self.waiting.len() >= most {
            self.counts.refused += 1;
            return Err(Refusal::Full(job));
        }
        let ticket = self.next;
        self.next += 1;
        self.waiting.insert(ticket, (now, job));
        // Those that were woken for earlier jobs count as idle until they have taken them.
        Ok(if self.waiting.len() <= self.idle {
            Entry::Wake(ticket)
        } else if self.counts.threads < self.limits.threads {
            self.counts.threads += 1;
            Entry::Start(ticket)
        } else {
            Entry::Wait(ticket)
        })
    }

    /// The first of those that wait, for a thread that runs it now.
    pub(super) fn take(&mut self) -> Option<J> {
        let (_, (_, job)) = self.waiting.pop_first()?;
        self.counts.running += 1;
        Some(job)
    }

    pub(super) fn ended(&mut self, end: JobEnd) {
        self.counts.running -= 1;
        *match end {
            JobEnd::Done => &mut self.counts.done,
            JobEnd::Cancelled => &mut self.counts.cancelled,
            JobEnd::Panicked => &mut self.counts.panicked,
        } += 1;
    }

    /// Takes out a job whose caller went away; `None` if it runs or ran.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<J> {
        let (_, job) = self.waiting.remove(&ticket)?;
        self.counts.cancelled += 1;
        Some(job)
    }

    /// Takes out a job that cannot be served; `None` if it runs or ran.
    pub(super) fn refuse(&mut self, ticket: Ticket) -> Option<J> {
        let (_, job) = self.waiting.remove(&ticket)?;
        self.counts.refused += 1;
        Some(job)
    }

    pub(super) fn idle(&mut self) {
        self.idle += 1;
    }

    pub(super) fn awake(&mut self) {
        self.idle -= 1;
    }

    /// A thread has ended, or could not be started. Returns how many are left.
    pub(super) fn lose_thread(&mut self) -> usize {
        self.counts.threads -= 1;
        self.counts.threads
    }

    /// Lets nobody in any more, and returns those that waited.
    pub(super) fn close(&mut self) -> BTreeMap<Ticket, (Instant, J)> {
        self.closed = true;
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn figures(&self, now: Instant) -> CpuFigures {
        let first = self.waiting.first_key_value();
        let longest_wait =
            first.map_or(Duration::ZERO, |(_, (since, _))| now.saturating_duration_since(*since));
        CpuFigures { waiting: self.waiting.len(), longest_wait, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { threads: 2, waiting: 3 };

    fn queue() -> Queue<u64> {
        Queue::new(LIMITS)
    }

    #[test]
    fn a_thread_is_started_only_where_none_is_free() {
        let now = Instant::now();
        let mut queue = queue();
        assert_eq!(queue.enter(0, now).unwrap(), Entry::Start(0));
        assert_eq!(queue.take(), Some(0));
        queue.ended(JobEnd::Done);
        queue.idle();
        assert_eq!(queue.enter(1, now).unwrap(), Entry::Wake(1));
        // The one that was woken has not come yet.
        assert_eq!(queue.enter(2, now).unwrap(), Entry::Start(2));
        assert_eq!(queue.enter(3, now).unwrap(), Entry::Wait(3));
    }

    #[test]
    fn the_longest_wait_is_that_of_the_first() {
        let now = Instant::now();
        let mut queue = queue();
        queue.enter(0, now).unwrap();
        queue.enter(1, now + Duration::from_secs(1)).unwrap();
        let longest = |queue: &Queue<u64>| queue.figures(now + Duration::from_secs(5)).longest_wait.as_secs();
        assert_eq!(longest(&queue), 5);
        queue.withdraw(0);
        assert_eq!(longest(&queue), 4);
        queue.withdraw(1);
        assert_eq!(longest(&queue), 0);
    }

    #[test]
    fn a_closed_queue_gives_back_what_waited() {
        let now = Instant::now();
        let mut queue = queue();
        queue.enter(0, now).unwrap();
        assert_eq!(queue.close().len(), 1);
        assert!(matches!(queue.enter(1, now), Err(Refusal::Closed(1))));
        assert_eq!(queue.take(), None);
    }

    proptest! {
        #[test]
        fn jobs_run_in_order_and_never_too_many(steps in prop::collection::vec((0u8..5, 0u64..40), 0..200)) {
            let now = Instant::now();
            let mut queue = queue();
            let (mut model, mut running) = (VecDeque::new(), 0);
            let (mut entered, mut left, mut refused) = (0, 0, 0);
            for (step, number) in steps {
                match step {
                    0 | 1 => match queue.enter(entered, now) {
                        Ok(entry) => {
                            prop_assert_eq!(entry.ticket(), entered);
                            model.push_back(entered);
                            entered += 1;
                        }
                        Err(_) => {
                            refused += 1;
                            prop_assert_eq!(model.len() + running, LIMITS.threads + LIMITS.waiting);
                        }
                    },
                    2 if running < queue.figures(now).threads => {
                        let job = queue.take();
                        prop_assert_eq!(job, model.pop_front());
                        running += usize::from(job.is_some());
                    }
                    3 if running > 0 => {
                        queue.ended(JobEnd::Done);
                        running -= 1;
                    }
                    4 => {
                        let waited = model.iter().position(|job| *job == number);
                        prop_assert_eq!(queue.withdraw(number).is_some(), waited.is_some());
                        left += u64::from(waited.and_then(|at| model.remove(at)).is_some());
                    }
                    _ => {}
                }
                let figures = queue.figures(now);
                prop_assert_eq!((figures.running, figures.waiting), (running, model.len()));
                prop_assert!(figures.threads <= LIMITS.threads);
                prop_assert_eq!((figures.refused, figures.cancelled), (refused, left));
                prop_assert_eq!(entered, figures.done + left + (running + model.len()) as u64);
            }
        }
    }
}
