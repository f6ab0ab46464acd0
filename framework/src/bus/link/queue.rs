//! What waits for one link, and whose turn it is to write: of whoever pushes, or of the link's task. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::outbox::{Full, Outbox};
use super::super::parcel::Parcel;
use super::left;
use super::load::Load;
use super::patience::Patience;

/// What comes within this time of what was written at once is a crowd, unless the task had its turn in between.
pub(super) const CROWD: Duration = Duration::from_micros(20);

/// The queue of one link.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) outbox: Outbox,
    /// What the socket did not take at once; the task goes on with it.
    rest: Option<Load>,
    pub(super) senders: usize,
    pub(super) closed: bool,
    /// With which those who send more than it takes wait for the receiver.
    patience: Patience,
    /// How often the socket has taken a whole load.
    pub(super) loads: u64,
    /// How often something was queued since the task had its turn.
    pushes: usize,
    /// When something was written at once, if the task had no turn since.
    at_once: Option<Instant>,
    /// Whether no more than one thing came before the task's last turn.
    calm: bool,
    /// The mail that was not written before the end.
    left: Vec<Parcel>,
}

/// What the task does next.
#[derive(Debug)]
pub(super) enum Turn {
    Write(Load),
    Wait,
    End,
}

impl Queue {
    /// So many bytes may wait.
    pub(super) fn new(waiting: usize) -> Self {
        Self {
            outbox: Outbox::new(waiting),
            rest: None,
            senders: 1,
            closed: false,
            patience: Patience::new(waiting),
            loads: 0,
            pushes: 0,
            at_once: None,
            calm: true,
            left: Vec::new(),
        }
    }

    /// Whether what comes now is to be written at once: it comes alone. In a crowd a write for each would cost more than it
    /// gains. The task is not woken only to tell the one from the other, and the time is asked for when it matters.
    pub(super) fn lets_write(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let is_idle = self.pushes == 0 && self.outbox.is_empty() && !self.outbox.is_under_way();
        if !is_idle || !self.calm {
            return false;
        }
        let now = now();
        let is_alone = self.at_once.is_none_or(|then| now.saturating_duration_since(then) >= CROWD);
        if is_alone {
            self.at_once = Some(now);
        }
        is_alone
    }

    /// Queues what is pushed; whether the task does not know yet that it has a turn.
    pub(super) fn add(&mut self, push: impl FnOnce(&mut Outbox) -> Result<(), Full>) -> Result<bool, Full> {
        push(&mut self.outbox)?;
        self.pushes += 1;
        Ok(self.pushes == 1)
    }

    /// So many bytes of what was added just now, and is alone, are written; the rest is the task's.
    pub(super) fn note_begun(&mut self, written: usize) {
        self.rest = Some(Load::begun(self.outbox.take_batch(), written));
    }

    /// What the task does next. It has its turn whenever something was queued.
    pub(super) fn take_turn(&mut self) -> Turn {
        if self.pushes > 0 {
            self.calm = self.pushes == 1 && self.at_once.is_none();
            (self.pushes, self.at_once) = (0, None);
        }
        if let Some(rest) = self.rest.take() {
            return Turn::Write(rest);
        }
        let batch = self.outbox.take_batch();
        match batch.is_empty() {
            false => Turn::Write(Load::new(batch)),
            true if self.closed || self.senders == 0 => Turn::End,
            true => Turn::Wait,
        }
    }

    /// All of it is written.
    pub(super) fn note_written(&mut self, load: Load) {
        self.loads += 1;
        let before = self.outbox.bytes();
        self.outbox.recycle(load.into_pieces());
        let waiting = self.outbox.bytes();
        self.patience.note_taken(before.saturating_sub(waiting), waiting);
    }

    /// Whether who sends more should wait.
    pub(super) fn is_crowded(&self) -> bool {
        !self.closed && !self.patience.is_over() && !self.outbox.has_room()
    }

    /// Somebody has waited for room since `begun`. Returns for how long to wait on; `None` when it is over.
    pub(super) fn wait(&mut self, begun: Instant, now: Instant) -> Option<Duration> {
        // What was waited counts also when there is room now: else one for whom there is just not enough of it never pays.
        let left = self.patience.wait(begun, now);
        left.filter(|_| self.is_crowded())
    }

    /// The socket did not take all of it.
    pub(super) fn put_back(&mut self, load: Load) {
        self.rest = Some(load);
        if self.closed {
            self.close();
        }
    }

    /// Nothing more is written: of what was queued, the mail can be taken back, and all else goes.
    pub(super) fn close(&mut self) {
        self.closed = true;
        if let Some(rest) = self.rest.take() {
            let (pieces, written) = rest.into_parts();
            left::note(&mut self.left, pieces, written);
        }
        loop {
            let batch = self.outbox.take_batch();
            if batch.is_empty() {
                return;
            }
            left::note(&mut self.left, batch, 0);
        }
    }

    /// Counts the messages and questions that wait, by topic; those of which a part is written are among them.
    pub(super) fn tally(&self, counts: &mut BTreeMap<Box<str>, u64>) {
        left::tally(self.rest.iter().flat_map(Load::pieces).chain(self.outbox.pieces()), counts);
    }

    /// Takes back the mail that was not written, in its order; the queue is closed from here on.
    pub(super) fn take_back(&mut self) -> Vec<Parcel> {
        self.close();
        std::mem::take(&mut self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::frame::{Frame, Kind};
    use super::super::super::head::Route;
    use super::super::super::outbox::LIMIT;
    use super::super::super::parcel::Unrolled;
    use super::super::super::peer::Address;
    use super::*;

    /// Pushes something at this time; whether it is written at once.
    fn push(queue: &mut Queue, now: Instant) -> bool {
        let at_once = queue.lets_write(|| now);
        if !at_once {
            add(queue);
        }
        at_once
    }

    fn add(queue: &mut Queue) -> bool {
        queue.add(|outbox| outbox.push(&Frame::new(Kind::Pulse, 0, vec![]))).unwrap()
    }

    /// Lets the task have all its turns; how often it writes.
    fn take_turns(queue: &mut Queue) -> usize {
        let mut writes = 0;
        while let Turn::Write(load) = queue.take_turn() {
            queue.note_written(load);
            writes += 1;
        }
        writes
    }

    #[test]
    fn what_comes_alone_is_written_at_once_and_the_task_sleeps() {
        let mut queue = Queue::new(LIMIT);
        let start = Instant::now();
        assert!((0..3).all(|number| push(&mut queue, start + number * CROWD)));
        assert!(matches!(queue.take_turn(), Turn::Wait));
    }

    #[test]
    fn a_crowd_is_written_together_until_something_comes_alone_again() {
        let mut queue = Queue::new(LIMIT);
        let now = Instant::now();
        assert!(push(&mut queue, now));
        for _ in 0..3 {
            assert!((0..10).all(|_| !push(&mut queue, now)));
            assert!(!push(&mut queue, now + 2 * CROWD), "the crowd is not written yet");
            assert_eq!(take_turns(&mut queue), 1);
        }
        assert!(!push(&mut queue, now + 3 * CROWD));
        assert_eq!(take_turns(&mut queue), 1);
        assert!(push(&mut queue, now + 3 * CROWD));
        assert!(!push(&mut queue, now + 3 * CROWD));
    }

    #[test]
    fn the_task_is_told_once_of_what_is_queued() {
        let mut queue = Queue::new(LIMIT);
        assert!(add(&mut queue));
        assert!(!add(&mut queue));
        assert_eq!(take_turns(&mut queue), 1);
        assert!(add(&mut queue));
    }

    #[test]
    fn the_task_goes_on_with_what_the_socket_did_not_take_before_anything_else() {
        let mut queue = Queue::new(LIMIT);
        assert!(queue.lets_write(Instant::now));
        assert!(add(&mut queue));
        let length = queue.outbox.bytes();
        queue.note_begun(1);
        assert!(!push(&mut queue, Instant::now() + CROWD));
        let Turn::Write(rest) = queue.take_turn() else { panic!("nothing is left") };
        assert!(!push(&mut queue, Instant::now() + CROWD), "the first is under way");
        queue.note_written(rest);
        assert_eq!(queue.outbox.bytes(), 2 * length);
        assert_eq!(take_turns(&mut queue), 1);
        assert_eq!(queue.outbox.bytes(), 0);
    }

    fn message(number: u64, size: usize) -> Frame {
        let from = Address { pid: 7, ..Address::AGENT };
        let route = Route { to: Address::AGENT, from, time: number };
        Frame::about(Kind::Message, "words", number, &vec![7; size]).on(route)
    }

    fn numbers(parcels: Vec<Parcel>) -> Vec<u64> {
        let numbers = |parcel| match parcel {
            Parcel::Frame(frame) => vec![frame.number()],
            Parcel::Run(run) => {
                let mut run = Unrolled::new(run);
                std::iter::from_fn(|| run.next().map(|item| item.number)).collect()
            }
        };
        parcels.into_iter().flat_map(numbers).collect()
    }

    #[test]
    fn the_mail_that_was_not_written_whole_can_be_taken_back_in_its_order() {
        let length = message(0, 10).wire_length();
        for (written, left) in
            [(0, 0..9), (1, 0..9), (length - 1, 0..9), (length, 1..9), (3 * length + 1, 3..9)]
        {
            let mut queue = Queue::new(LIMIT);
            for number in 0..4 {
                queue.add(|outbox| outbox.push(&message(number, 10))).unwrap();
            }
            queue.note_begun(written);
            add(&mut queue);
            for number in 4..9 {
                let size = if number == 6 { 100 << 10 } else { 10 };
                queue.add(|outbox| outbox.push(&message(number, size))).unwrap();
            }
            assert_eq!(numbers(queue.take_back()), left.collect::<Vec<u64>>(), "{written} bytes are written");
            assert_eq!(queue.outbox.bytes(), 0);
            assert!(matches!(queue.take_turn(), Turn::End));
        }
    }

    #[test]
    fn what_waits_can_be_counted_by_topic() {
        let mut queue = Queue::new(LIMIT);
        for number in 0..5 {
            queue.add(|outbox| outbox.push(&message(number, if number == 3 { 10_000 } else { 10 }))).unwrap();
            add(&mut queue);
        }
        queue.note_begun(1);
        queue.add(|outbox| outbox.push(&message(5, 10))).unwrap();
        let mut counts = BTreeMap::new();
        queue.tally(&mut counts);
        assert_eq!(counts, BTreeMap::from([("words".into(), 6)]));
    }

    #[test]
    fn what_the_socket_did_not_take_is_left_too_when_the_end_came_meanwhile() {
        let mut queue = Queue::new(LIMIT);
        queue.add(|outbox| outbox.push(&message(1, 10))).unwrap();
        let Turn::Write(load) = queue.take_turn() else { panic!("something waits") };
        queue.close();
        queue.put_back(load);
        assert_eq!(numbers(queue.take_back()), [1]);
    }
}
