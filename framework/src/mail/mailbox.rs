//! What waits for one subscription: in order, bounded in bytes, and with a mark where something is missing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::letter::{Arrived, Letter};
use super::losses::Losses;
use crate::bus::frame::Frame;
use crate::bus::parcel::Run;
use crate::bus::slice;

/// How many descriptors may wait for one subscription, or for all that are not there yet: each is one of the process's.
pub(super) const MOST_DESCRIPTORS: usize = 64;

/// How long a subscription that takes nothing may hold up everything else that comes to this process.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long a subscription that has nothing in hand, and takes nothing either, may hold up the end of its process.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Where the messages of one subscription wait.
#[derive(Debug)]
pub(crate) struct Mailbox {
    topic: Box<str>,
    limit: usize,
    queue: Mutex<Queue>,
    /// How many of the run that was taken last nobody has looked at.
    unrolled: AtomicU64,
    filled: Notify,
    emptied: Notify,
    /// Where what is missed is counted, when that happens: nobody may ever come to hear of it.
    losses: Arc<Losses>,
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
    end: End,
}

/// What a mailbox has that is not done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rest {
    /// How many messages nobody has looked at.
    pub(super) waiting: u64,
    /// How many are missing, of which nobody has heard.
    pub(super) missed: u64,
    /// Whether who took the last has not come back for more.
    pub(super) in_hand: bool,
}

/// Whether there is an end to what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum End {
    #[default]
    Open,
    Known,
    /// Once is enough: who asks on waits, and cannot keep its process busy by asking for what never comes.
    Told,
}

impl Mailbox {
    pub(super) fn new(topic: &str, limit: usize, losses: Arc<Losses>) -> Self {
        Self {
            topic: topic.into(),
            limit,
            queue: Mutex::default(),
            unrolled: AtomicU64::new(0),
            filled: Notify::new(),
            emptied: Notify::new(),
            losses,
        }
    }

    /// Puts a message in, or marks that it is missing; whether who can wait should.
    pub(super) fn put(&self, frame: &Frame) -> bool {
        self.fill(|queue, limit| queue.put(Letter::of(frame), limit))
    }

    /// Puts messages in, all or none; whether who can wait should.
    pub(super) fn put_run(&self, run: Run) -> bool {
        self.fill(|queue, limit| queue.put_run(run, limit))
    }

    fn fill(&self, put: impl FnOnce(&mut Queue, usize) -> u64) -> bool {
        let mut queue = self.queue();
        let missed = put(&mut queue, self.limit);
        let crowded = !queue.stalled && queue.bytes > self.limit / 2;
        drop(queue);
        if missed > 0 {
            self.losses.note_missed(&self.topic, missed);
        }
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

    /// Nothing comes any more.
    pub(super) fn end(&self) {
        let mut queue = self.queue();
        if queue.end == End::Open {
            queue.end = End::Known;
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Takes out what came first, and in the end, once, the word that nothing more comes. Who comes back for more has looked
    /// at all that it had. Cancel safe.
    pub(crate) async fn next(&self) -> Arrived {
        loop {
            let filled = self.filled.notified();
            let (arrived, moved) = self.queue().take_or_rest();
            if let Some(Arrived::Run(run)) = &arrived {
                self.unrolled.store(run.count, Ordering::Relaxed);
            }
            if moved {
                self.emptied.notify_waiters();
            }
            if let Some(arrived) = arrived {
                return arrived;
            }
            filled.await;
        }
    }

    /// One of the run that was taken last is looked at.
    pub(crate) fn unroll_one(&self) {
        // Only who takes writes it, so that nobody comes between, and each message is spared a locked bus.
        let left = self.unrolled.load(Ordering::Relaxed);
        self.unrolled.store(left.saturating_sub(1), Ordering::Relaxed);
    }

    /// Waits until all is taken and whoever took it has come back for more. One who has nothing in hand, and takes nothing
    /// either, is not waited for long; how long one may work, the caller knows. Cancel safe.
    pub(super) async fn exhausted(&self) {
        loop {
            let moved = self.emptied.notified();
            match self.rest() {
                Rest { in_hand: true, .. } => moved.await,
                Rest { waiting, .. } if waiting > 0 => {
                    if tokio::time::timeout(LAST_PATIENCE, moved).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// What is not done with.
    pub(super) fn rest(&self) -> Rest {
        let rest = self.queue().rest();
        Rest { waiting: rest.waiting + self.unrolled.load(Ordering::Relaxed), ..rest }
    }

    /// Nobody takes anything any more; what nobody has looked at.
    pub(super) fn close(&self) -> Rest {
        let rest = std::mem::take(&mut *self.queue()).rest();
        let waiting = rest.waiting + self.unrolled.swap(0, Ordering::Relaxed);
        self.emptied.notify_waiters();
        Rest { waiting, in_hand: false, ..rest }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// How many are missing for it.
    fn put(&mut self, mut letter: Letter, limit: usize) -> u64 {
        let descriptors = letter.descriptors.len();
        let is_long = self.bytes > 0 && self.bytes + letter.cost() > limit;
        if is_long || self.descriptors + descriptors > MOST_DESCRIPTORS {
            return self.miss(1);
        }
        letter.payload = slice::queued(letter.payload, self.bytes);
        self.bytes += letter.cost();
        self.descriptors += descriptors;
        self.letters.push_back(Arrived::Letter(letter));
        0
    }

    fn put_run(&mut self, mut run: Run, limit: usize) -> u64 {
        let length = run.bytes.len();
        if self.bytes > 0 && self.bytes + length > limit {
            return self.miss(run.count);
        }
        run.bytes = slice::queued(run.bytes, self.bytes);
        self.bytes += length;
        self.letters.push_back(Arrived::Run(run));
        0
    }

    fn miss(&mut self, more: u64) -> u64 {
        match self.letters.back_mut() {
            Some(Arrived::Missed(count)) => *count += more,
            _ => self.letters.push_back(Arrived::Missed(more)),
        }
        more
    }

    /// Whether there is room for much more, or nobody who would make some.
    fn needs_no_wait(&self, limit: usize) -> bool {
        self.stalled || self.bytes <= limit / 2
    }

    /// What is not done with, but for what was taken as a part of a run.
    fn rest(&self) -> Rest {
        let mut rest = Rest { in_hand: self.in_hand, ..Rest::default() };
        for arrived in &self.letters {
            match arrived {
                Arrived::Letter(_) => rest.waiting += 1,
                Arrived::Run(run) => rest.waiting += run.count,
                Arrived::Missed(count) => rest.missed += count,
                Arrived::End => {}
            }
        }
        rest
    }

    /// What came first, and whether anybody who waits for progress sees some.
    fn take_or_rest(&mut self) -> (Option<Arrived>, bool) {
        let arrived = self.take();
        let was_in_hand = std::mem::replace(&mut self.in_hand, arrived.is_some());
        let moved = arrived.is_some() || was_in_hand;
        if arrived.is_none() && self.end == End::Known {
            self.end = End::Told;
            return (Some(Arrived::End), moved);
        }
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
            Arrived::Missed(_) | Arrived::End => {}
        }
        Some(arrived)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::bus::decoder::Decoder;
    use crate::bus::frame::Kind;
    use crate::bus::parcel::{Parcel, Unrolled};

    const NOTHING: Rest = Rest { waiting: 0, missed: 0, in_hand: false };

    fn mailbox(limit: usize) -> Mailbox {
        Mailbox::new("m", limit, Arc::default())
    }

    fn letter(number: u64) -> Frame {
        Frame::about(Kind::Message, "m", number, b"words")
    }

    fn run_of(count: u64) -> Run {
        let mut decoder = Decoder::new(1000);
        (0..count).map(letter).for_each(|it| decoder.feed(&[&it.head()[..], it.content()].concat(), []));
        match decoder.next_parcel() {
            Ok(Some(Parcel::Run(run))) => run,
            other => panic!("{other:?} is no run"),
        }
    }

    #[tokio::test]
    async fn it_is_exhausted_when_who_took_the_last_comes_back_or_leaves() {
        let mailbox = mailbox(100);
        let _ = mailbox.put(&letter(1));
        assert_eq!(mailbox.rest(), Rest { waiting: 1, ..NOTHING });
        let _ = mailbox.next().await;
        assert_eq!(mailbox.rest(), Rest { in_hand: true, ..NOTHING });
        assert!(mailbox.next().now_or_never().is_none());
        assert_eq!(mailbox.rest(), NOTHING);
        let _ = mailbox.put(&letter(2));
        let _ = mailbox.next().await;
        assert_eq!(mailbox.close(), NOTHING);
        mailbox.exhausted().await;
        assert_eq!(mailbox.rest(), NOTHING);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_something_in_hand_is_waited_for_and_who_takes_nothing_is_not() {
        let mailbox = mailbox(1000);
        for number in 1..=3 {
            let _ = mailbox.put(&letter(number));
        }
        let work = async {
            for _ in 1..=3 {
                let _ = mailbox.next().await;
                tokio::time::sleep(LAST_PATIENCE * 5).await;
            }
            assert!(mailbox.next().now_or_never().is_none());
        };
        tokio::join!(mailbox.exhausted(), work);
        assert_eq!(mailbox.rest(), NOTHING);
        let _ = mailbox.put(&letter(4));
        mailbox.exhausted().await;
        assert_eq!(mailbox.rest(), Rest { waiting: 1, ..NOTHING });
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_a_run_in_hand_waits() {
        let mailbox = mailbox(1000);
        let _ = mailbox.put_run(run_of(3));
        let Arrived::Run(run) = mailbox.next().await else { panic!("it was a run") };
        let mut unrolled = Unrolled::new(run);
        for waiting in [2, 1, 0] {
            assert!(unrolled.next().is_some());
            mailbox.unroll_one();
            assert_eq!(mailbox.rest(), Rest { waiting, in_hand: true, ..NOTHING });
            let patience = tokio::time::timeout(LAST_PATIENCE * 5, mailbox.exhausted());
            assert!(patience.await.is_err(), "it is at work, and {waiting} wait");
        }
        let _ = mailbox.put_run(run_of(3));
        assert!(mailbox.next().now_or_never().is_some());
        mailbox.unroll_one();
        let _ = mailbox.put(&letter(7));
        assert_eq!(mailbox.close().waiting, 3, "two of the run, and the letter");
        mailbox.exhausted().await;
    }

    #[tokio::test]
    async fn the_end_comes_after_all_else_and_is_told_once() {
        use futures_util::FutureExt as _;
        let mailbox = mailbox(100);
        assert!(mailbox.put(&Frame::about(Kind::Message, "m", 1, &[0; 60])));
        mailbox.end();
        assert!(matches!(mailbox.next().await, Arrived::Letter(_)));
        assert!(mailbox.rest().in_hand, "the last is still in hand");
        assert!(matches!(mailbox.next().await, Arrived::End));
        assert_eq!(mailbox.rest(), NOTHING);
        mailbox.end();
        assert!(mailbox.next().now_or_never().is_none());
    }

    #[test]
    fn what_waits_is_told_without_its_payload() {
        let mailbox = mailbox(1000);
        let _ = mailbox.put(&Frame::about(Kind::Message, "m", 1, b"secret"));
        let _ = mailbox.put_run(run_of(1));
        let told = format!("{mailbox:?}");
        assert!(told.contains("Letter #1 (6 bytes, 0 descriptors)"), "{told}");
        assert!(told.contains(r#"Run of 1 on "m" (46 bytes)"#), "{told}");
        for payload in [&b"secret"[..], b"words"] {
            let raw = format!("{payload:?}");
            let words = String::from_utf8_lossy(payload);
            assert!(!told.contains(&*words) && !told.contains(raw.trim_matches(['[', ']'])), "{told}");
        }
    }

    #[tokio::test]
    async fn what_did_not_fit_is_marked_where_it_is_missing() {
        let mailbox = mailbox(100);
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
