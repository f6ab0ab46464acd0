//! What waits for one subscription: in order, bounded in bytes, and with a mark where something is missing.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::bus::decoder::Run;
use crate::bus::frame::Frame;
use crate::bus::head::Route;
use crate::bus::slice;

/// How many descriptors may wait for one subscription, or for all that are not there yet: each is one of the process's.
pub(super) const MOST_DESCRIPTORS: usize = 64;

/// How long a subscription that takes nothing may hold up everything else that comes to this process.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long a subscription that does nothing may hold up the end of its process.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// A message as it travelled.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(crate) payload: Bytes,
    pub(crate) route: Route,
    pub(crate) number: u64,
    pub(crate) descriptors: Vec<Arc<OwnedFd>>,
    /// Whether it had some, for which there was no place on the way.
    pub(crate) lost_descriptors: bool,
}

/// Names number and sizes, never the payload: it is the author's.
impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, descriptors) = (self.payload.len(), self.descriptors.len());
        write!(f, "Letter #{} ({bytes} bytes, {descriptors} descriptors)", self.number)
    }
}

impl Letter {
    pub(crate) fn of(frame: &Frame) -> Self {
        Self {
            payload: frame.shared_payload(),
            route: frame.route(),
            number: frame.number(),
            descriptors: frame.descriptors().to_vec(),
            lost_descriptors: frame.lost_descriptors(),
        }
    }

    /// The memory that it will take at most while it waits.
    pub(super) fn cost_of(frame: &Frame) -> usize {
        size_of::<Arrived>() + frame.wire_length()
    }

    /// The memory that it takes while it waits.
    fn cost(&self) -> usize {
        size_of::<Arrived>() + self.payload.len()
    }
}

/// What a subscription finds next.
#[derive(Debug)]
pub(crate) enum Arrived {
    Letter(Letter),
    /// Many at once.
    Run(Run),
    /// So many came while the mailbox was full.
    Missed(u64),
}

/// Where the messages of one subscription wait.
#[derive(Debug)]
pub(crate) struct Mailbox {
    limit: usize,
    queue: Mutex<Queue>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Arrived>,
    /// The bytes of the payloads, and of what holds them: many small ones cost more than they say.
    bytes: usize,
    descriptors: usize,
    /// Whether nothing has been taken for a while, although much waits.
    stalled: bool,
    /// Whether who took the last has not come back for more.
    in_hand: bool,
}

impl Mailbox {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, queue: Mutex::default(), filled: Notify::new(), emptied: Notify::new() }
    }

    /// Puts a message in, or marks that it is missing; whether who can wait should.
    pub(super) fn put(&self, frame: &Frame) -> bool {
        self.fill(|queue, limit| queue.put(Letter::of(frame), limit))
    }

    /// Puts messages in, all or none; whether who can wait should.
    pub(super) fn put_run(&self, run: Run) -> bool {
        self.fill(|queue, limit| queue.put_run(run, limit))
    }

    fn fill(&self, put: impl FnOnce(&mut Queue, usize)) -> bool {
        let mut queue = self.queue();
        put(&mut queue, self.limit);
        let crowded = !queue.stalled && queue.bytes > self.limit / 2;
        drop(queue);
        self.filled.notify_one();
        crowded
    }

    /// Waits until there is room for much more, but not long: one who takes nothing in that time is not waited for again
    /// before it goes on.
    pub(super) async fn relieve(&self) {
        let emptied = async {
            loop {
                let emptied = self.emptied.notified();
                if self.queue().needs_no_wait(self.limit) {
                    return;
                }
                emptied.await;
            }
        };
        if tokio::time::timeout(PATIENCE, emptied).await.is_err() {
            self.queue().stalled = true;
        }
    }

    /// Takes out what came first. Cancel safe.
    pub(crate) async fn next(&self) -> Arrived {
        loop {
            let filled = self.filled.notified();
            let (arrived, moved) = self.queue().take_or_rest();
            if moved {
                self.emptied.notify_waiters();
            }
            if let Some(arrived) = arrived {
                return arrived;
            }
            filled.await;
        }
    }

    /// Waits until all is taken and whoever took it has come back for more, but not for one who does nothing. Cancel safe.
    pub(super) async fn exhausted(&self) {
        loop {
            let moved = self.emptied.notified();
            if self.queue().is_exhausted() || tokio::time::timeout(LAST_PATIENCE, moved).await.is_err() {
                return;
            }
        }
    }

    /// How many messages wait.
    pub(super) fn untaken(&self) -> u64 {
        self.queue().count()
    }

    /// Nobody takes anything any more.
    pub(crate) fn close(&self) {
        *self.queue() = Queue::default();
        self.emptied.notify_waiters();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn put(&mut self, mut letter: Letter, limit: usize) {
        let descriptors = letter.descriptors.len();
        let is_long = self.bytes > 0 && self.bytes + letter.cost() > limit;
        if is_long || self.descriptors + descriptors > MOST_DESCRIPTORS {
            return self.miss(1);
        }
        letter.payload = slice::queued(letter.payload, self.bytes);
        self.bytes += letter.cost();
        self.descriptors += descriptors;
        self.letters.push_back(Arrived::Letter(letter));
    }

    fn put_run(&mut self, mut run: Run, limit: usize) {
        let length = run.bytes.len();
        if self.bytes > 0 && self.bytes + length > limit {
            return self.miss(run.count);
        }
        run.bytes = slice::queued(run.bytes, self.bytes);
        self.bytes += length;
        self.letters.push_back(Arrived::Run(run));
    }

    fn miss(&mut self, more: u64) {
        match self.letters.back_mut() {
            Some(Arrived::Missed(count)) => *count += more,
            _ => self.letters.push_back(Arrived::Missed(more)),
        }
    }

    /// Whether there is room for much more, or nobody who would make some.
    fn needs_no_wait(&self, limit: usize) -> bool {
        self.stalled || self.bytes <= limit / 2
    }

    fn is_exhausted(&self) -> bool {
        self.letters.is_empty() && !self.in_hand
    }

    fn count(&self) -> u64 {
        let count_of = |arrived: &Arrived| match arrived {
            Arrived::Letter(_) => 1,
            Arrived::Run(run) => run.count,
            Arrived::Missed(_) => 0,
        };
        self.letters.iter().map(count_of).sum()
    }

    /// What came first, and whether anybody who waits for progress sees some.
    fn take_or_rest(&mut self) -> (Option<Arrived>, bool) {
        let arrived = self.take();
        let was_in_hand = std::mem::replace(&mut self.in_hand, arrived.is_some());
        let moved = arrived.is_some() || was_in_hand;
        (arrived, moved)
    }

    fn take(&mut self) -> Option<Arrived> {
        let arrived = self.letters.pop_front()?;
        self.stalled = false;
        match &arrived {
            Arrived::Letter(letter) => {
                self.bytes -= letter.cost();
                self.descriptors -= letter.descriptors.len();
            }
            Arrived::Run(run) => self.bytes -= run.bytes.len(),
            Arrived::Missed(_) => {}
        }
        Some(arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::decoder::{Decoder, Parcel};
    use crate::bus::frame::Kind;

    #[tokio::test]
    async fn it_is_exhausted_when_who_took_the_last_comes_back_or_leaves() {
        let mailbox = Mailbox::new(100);
        let _ = mailbox.put(&Frame::about(Kind::Message, "m", 1, b"words"));
        assert!(!mailbox.queue().is_exhausted() && mailbox.untaken() == 1);
        let _ = mailbox.next().await;
        assert!(!mailbox.queue().is_exhausted() && mailbox.untaken() == 0);
        assert!(futures_util::FutureExt::now_or_never(mailbox.next()).is_none());
        assert!(mailbox.queue().is_exhausted());
        let _ = mailbox.put(&Frame::about(Kind::Message, "m", 2, b"words"));
        let _ = mailbox.next().await;
        mailbox.close();
        mailbox.exhausted().await;
        assert!(mailbox.queue().is_exhausted());
    }

    #[test]
    fn what_waits_is_told_without_its_payload() {
        let mailbox = Mailbox::new(1000);
        let frame = Frame::about(Kind::Message, "m", 1, b"secret");
        let _ = mailbox.put(&frame);
        let mut decoder = Decoder::new(100);
        decoder.feed(&[&frame.head()[..], frame.content()].concat(), []);
        let Some(Parcel::Run(run)) = decoder.next_parcel().unwrap() else { panic!("it is a plain message") };
        let _ = mailbox.put_run(run);
        let told = format!("{mailbox:?}");
        assert!(told.contains("Letter #1 (6 bytes, 0 descriptors)"), "{told}");
        assert!(told.contains(r#"Run of 1 on "m" (47 bytes)"#), "{told}");
        let raw = format!("{:?}", b"secret");
        assert!(!told.contains("secret") && !told.contains(raw.trim_matches(['[', ']'])), "{told}");
    }

    #[tokio::test]
    async fn what_did_not_fit_is_marked_where_it_is_missing() {
        let mailbox = Mailbox::new(100);
        let put = |number, size| {
            let _ = mailbox.put(&Frame::about(Kind::Message, "m", number, &vec![0; size]));
        };
        put(1, 60);
        put(2, 60);
        put(3, 60);
        assert!(matches!(mailbox.next().await, Arrived::Letter(Letter { number: 1, .. })));
        put(4, 60);
        assert!(matches!(mailbox.next().await, Arrived::Missed(2)));
        assert!(matches!(mailbox.next().await, Arrived::Letter(Letter { number: 4, .. })));
        put(5, 1000);
        assert!(matches!(mailbox.next().await, Arrived::Letter(Letter { number: 5, .. })));
    }
}
