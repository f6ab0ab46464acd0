//! What waits for one link, and whose turn it is to write: of whoever pushes, or of the link's task. Pure.

use std::time::{Duration, Instant};

use super::super::outbox::{Full, Outbox, Piece};
use super::load::Load;

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
    /// Whether nothing has been written for a while, although much waits.
    pub(super) stalled: bool,
    /// How often something was queued since the task had its turn.
    pushes: usize,
    /// When something was written at once, if the task had no turn since.
    at_once: Option<Instant>,
    /// Whether no more than one thing came before the task's last turn.
    calm: bool,
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
            stalled: false,
            pushes: 0,
            at_once: None,
            calm: true,
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
        self.stalled = false;
        self.outbox.recycle(load.into_pieces());
    }

    /// Nothing more is written: what was queued, to be dropped.
    pub(super) fn close(&mut self) -> (Option<Load>, Vec<Vec<Piece>>) {
        self.closed = true;
        let batches = std::iter::from_fn(|| Some(self.outbox.take_batch()).filter(|batch| !batch.is_empty()));
        (self.rest.take(), batches.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::frame::{Frame, Kind};
    use super::super::super::outbox::LIMIT;
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

    #[test]
    fn what_is_left_at_the_end_is_dropped() {
        let mut queue = Queue::new(LIMIT);
        add(&mut queue);
        queue.note_begun(1);
        add(&mut queue);
        let (rest, queued) = queue.close();
        assert_eq!((rest.is_some(), queued.len()), (true, 1));
        assert!(matches!(queue.take_turn(), Turn::End));
    }
}
