//! What waits for one link, and whose turn it is to write: of whoever pushed, or of the link's task. Pure.

use super::super::outbox::{Full, Outbox, Piece};
use super::load::Load;

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
    /// How often something was pushed since the task had its turn.
    pushes: usize,
    /// Whether that was once before its last turn.
    calm: bool,
}

/// What follows from a push.
#[derive(Debug)]
pub(super) struct Added {
    /// To be written at once: it came alone.
    pub(super) alone: Option<Load>,
    /// Whether the task does not know yet that it has a turn.
    pub(super) is_first: bool,
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
            calm: true,
        }
    }

    /// Queues what is pushed. In a crowd nothing is written at once: a write for each would cost more than it gains.
    pub(super) fn add(&mut self, push: impl FnOnce(&mut Outbox) -> Result<(), Full>) -> Result<Added, Full> {
        push(&mut self.outbox)?;
        self.pushes += 1;
        let is_first = self.pushes == 1;
        let is_alone = is_first && self.calm && !self.outbox.is_under_way();
        Ok(Added { alone: is_alone.then(|| Load::new(self.outbox.take_batch())), is_first })
    }

    /// What the task does next. It has its turn whenever something was pushed.
    pub(super) fn take_turn(&mut self) -> Turn {
        if self.pushes > 0 {
            self.calm = self.pushes == 1;
            self.pushes = 0;
        }
        if let Some(rest) = self.rest.take() {
            return Turn::Write(rest);
        }
        // Whoever writes at once sees what came meanwhile.
        let batch = if self.outbox.is_under_way() { Vec::new() } else { self.outbox.take_batch() };
        match batch.is_empty() {
            false => Turn::Write(Load::new(batch)),
            true if self.closed || (self.senders == 0 && self.outbox.bytes() == 0) => Turn::End,
            true => Turn::Wait,
        }
    }

    /// All of it is written.
    pub(super) fn note_written(&mut self, load: Load) {
        self.stalled = false;
        self.outbox.recycle(load.into_pieces());
    }

    /// The rest of it is the task's.
    pub(super) fn put_back(&mut self, load: Load) {
        // Who has closed it meanwhile wants to hear nothing of it.
        self.rest = Some(load).filter(|_| !self.closed);
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

    fn add(queue: &mut Queue) -> Added {
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
    fn what_comes_alone_is_written_at_once() {
        let mut queue = Queue::new(LIMIT);
        for _ in 0..3 {
            let Added { alone, is_first } = add(&mut queue);
            assert!(is_first);
            queue.note_written(alone.unwrap());
            assert_eq!(take_turns(&mut queue), 0);
        }
        assert_eq!(queue.outbox.bytes(), 0);
    }

    #[test]
    fn a_crowd_is_written_together_until_something_comes_alone_again() {
        let mut queue = Queue::new(LIMIT);
        let first = add(&mut queue).alone.unwrap();
        queue.note_written(first);
        for _ in 0..3 {
            let others: Vec<_> = (0..10).map(|_| add(&mut queue)).collect();
            assert!(others.iter().all(|added| added.alone.is_none()));
            assert_eq!(take_turns(&mut queue), 1);
        }
        assert!(add(&mut queue).alone.is_none());
        assert_eq!(take_turns(&mut queue), 1);
        assert!(add(&mut queue).alone.is_some());
    }

    #[test]
    fn the_task_goes_on_with_what_the_socket_did_not_take_before_anything_else() {
        let mut queue = Queue::new(LIMIT);
        let load = add(&mut queue).alone.unwrap();
        assert!(matches!(queue.take_turn(), Turn::Wait));
        assert!(add(&mut queue).alone.is_none());
        assert!(matches!(queue.take_turn(), Turn::Wait));
        queue.put_back(load);
        let waiting = queue.outbox.bytes();
        let Turn::Write(rest) = queue.take_turn() else { panic!("nothing is left") };
        queue.note_written(rest);
        assert_eq!(queue.outbox.bytes(), waiting / 2);
        assert_eq!(take_turns(&mut queue), 1);
    }

    #[test]
    fn what_is_put_back_after_the_end_is_dropped() {
        let mut queue = Queue::new(LIMIT);
        let load = add(&mut queue).alone.unwrap();
        drop(queue.close());
        queue.put_back(load);
        assert!(queue.rest.is_none());
        assert!(matches!(queue.take_turn(), Turn::End));
    }
}
