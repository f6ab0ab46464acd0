//! What waits to be written to one link: in order, bounded in bytes, and with states conflated, so that a
//! slow receiver costs one copy of each state however often it changes. Pure.

use std::collections::VecDeque;

use super::frame::{Frame, Kind};

/// The most bytes that may wait for one receiver, beside one frame of any size, the latest version of each
/// state, and the welcome.
pub(crate) const LIMIT: usize = 8 << 20;

/// The most frames that one write gathers.
const BATCH: usize = 64;

/// The frames that wait for one receiver.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Frame>,
    bytes: usize,
    /// Of these the bytes of frames that can pile up.
    message_bytes: usize,
    limit: usize,
}

/// The receiver is too slow: what was pushed is not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} bytes already wait for this process")]
pub(crate) struct Full {
    waiting: usize,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, message_bytes: 0, limit }
    }

    /// Queues a frame. A state takes the place of an older version of itself, so that there is one of each at
    /// most: it is never refused, and neither is the one welcome. Anything else is refused over the limit.
    pub(crate) fn push(&mut self, frame: Frame) -> Result<(), Full> {
        if frame.kind() == Kind::State
            && let Some(older) = self.queue.iter_mut().find(|queued| is_same_state(queued, &frame))
        {
            self.bytes = self.bytes - older.wire_length() + frame.wire_length();
            *older = frame;
            return Ok(());
        }
        if piles_up(&frame) {
            if self.message_bytes > 0 && self.message_bytes + frame.wire_length() > self.limit {
                return Err(Full { waiting: self.message_bytes });
            }
            self.message_bytes += frame.wire_length();
        }
        self.bytes += frame.wire_length();
        self.queue.push_back(frame);
        Ok(())
    }

    /// The next frames to write together. A frame with descriptors comes alone, because the kernel ties
    /// descriptors to the first byte of a message.
    pub(crate) fn take_batch(&mut self) -> Vec<Frame> {
        let plain = self.queue.iter().take_while(|frame| frame.descriptors().is_empty()).count();
        let count = plain.clamp(1, BATCH).min(self.queue.len());
        let batch: Vec<Frame> = self.queue.drain(..count).collect();
        self.bytes -= batch.iter().map(Frame::wire_length).sum::<usize>();
        self.message_bytes -=
            batch.iter().filter(|frame| piles_up(frame)).map(Frame::wire_length).sum::<usize>();
        batch
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn piles_up(frame: &Frame) -> bool {
    !matches!(frame.kind(), Kind::State | Kind::Welcome)
}

fn is_same_state(queued: &Frame, newer: &Frame) -> bool {
    queued.kind() == Kind::State && queued.topic() == newer.topic()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn state(topic: &str, version: u64, size: usize) -> Frame {
        Frame::about(Kind::State, topic, version, &vec![0; size])
    }

    fn drained(mut outbox: Outbox) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        while !outbox.is_empty() {
            all.extend(outbox.take_batch().iter().map(|frame| (frame.topic().to_owned(), frame.number())));
        }
        assert_eq!(outbox.bytes(), 0);
        all
    }

    #[test]
    fn a_newer_state_takes_the_place_of_the_older() {
        let mut outbox = Outbox::new(LIMIT);
        for frame in [state("a", 1, 10), state("b", 1, 10), state("a", 2, 99)] {
            outbox.push(frame).unwrap();
        }
        assert_eq!(drained(outbox), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    }

    #[test]
    fn a_full_outbox_refuses_messages_and_never_states() {
        let mut outbox = Outbox::new(100);
        let message = || Frame::new(Kind::Pulse, 0, vec![0; 60]);
        outbox.push(state("a", 1, 500)).unwrap();
        outbox.push(message()).unwrap();
        assert_eq!(outbox.push(message()), Err(Full { waiting: 76 }));
        outbox.push(state("a", 2, 60)).unwrap();
        outbox.push(state("b", 1, 500)).unwrap();
        assert_eq!(outbox.bytes(), 77 + 76 + 517);
        while !outbox.is_empty() {
            outbox.take_batch();
        }
        assert_eq!((outbox.bytes(), outbox.message_bytes), (0, 0));
        outbox.push(message()).unwrap();
    }

    #[test]
    fn a_frame_with_descriptors_is_written_alone() {
        let null = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
        let plain = || Frame::new(Kind::Ready, 0, vec![]);
        let mut outbox = Outbox::new(LIMIT);
        for frame in [plain(), plain(), plain().with_descriptors(vec![null]), plain()] {
            outbox.push(frame).unwrap();
        }
        let sizes: Vec<_> = (0..3).map(|_| outbox.take_batch().len()).collect();
        assert_eq!(sizes, [2, 1, 1]);
    }

    proptest! {
        #[test]
        fn waiting_bytes_are_bounded_and_the_newest_state_survives(
            pushes in prop::collection::vec(("[ab]", 0usize..50), 1..100)
        ) {
            let mut outbox = Outbox::new(200);
            let mut newest = std::collections::BTreeMap::new();
            for (version, (topic, size)) in (1u64..).zip(&pushes) {
                outbox.push(state(topic, version, *size)).unwrap();
                newest.insert(topic.clone(), version);
                prop_assert!(outbox.bytes() <= 200);
            }
            let left: std::collections::BTreeMap<_, _> = drained(outbox).into_iter().collect();
            prop_assert_eq!(left, newest);
        }
    }
}
