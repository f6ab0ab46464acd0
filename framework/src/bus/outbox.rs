//! What waits to be written to one link: in order, bounded in bytes, and with states conflated, so that a slow receiver
//! costs one copy of each state however often it changes. Pure.

mod piece;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use self::piece::{Subject, attachments, conflates, is_due, subject_of, weight};
use super::frame::{Frame, Kind};
use super::payload::RETAINED;
use super::peer::Address;
use super::slice;

pub(crate) use self::piece::{Full, Piece};

/// The most bytes that may wait for one receiver, beside one frame of any size, the latest version of each state, and
/// the welcome.
pub(crate) const LIMIT: usize = 8 << 20;

/// How far beyond the limit the answers of the framework may go: one who does not read what it asked for, and asks on,
/// is as good as gone. One who stands still is not: everybody may give up the questions that wait for it, and the word of
/// that is almost as long as the smallest of them.
const ANSWERS: usize = 8 << 20;

/// The most descriptors that may wait with messages: each is one of this process's own for as long as it waits. Who says
/// truly what it has in its hands never has more than half of that on the way.
const DESCRIPTORS: usize = 64;

/// The most pieces that one write gathers.
const BATCH: usize = 64;

/// After so many bytes a write gathers no more.
const AT_ONCE: usize = 256 << 10;

/// Up to this many bytes, copying costs less than a piece of its own.
const SMALL: usize = 4 << 10;

/// How large a piece of copies becomes.
const GATHERED: usize = 32 << 10;

/// The frames that wait for one receiver.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// By a number that rises, so that what is in the midst is found and taken out without a search.
    queue: BTreeMap<u64, Piece>,
    last: u64,
    /// Where in the queue the frames are that a newer one takes the place of.
    conflated: HashMap<Subject, u64>,
    bytes: usize,
    /// What the states that wait take, with their sealed memory.
    state_bytes: usize,
    states_limit: usize,
    /// Of these the bytes of frames that can pile up.
    message_bytes: usize,
    /// The descriptors of messages.
    attachments: usize,
    /// What is being written; it takes its memory until that is done.
    under_way: UnderWay,
    limit: usize,
    /// What a piece of copies was in before, for the next.
    spare: Vec<u8>,
    /// Whether the receiver takes many messages in one frame.
    packs: bool,
}

/// What of the bytes and descriptors is being written.
#[derive(Debug, Default)]
struct UnderWay {
    bytes: usize,
    message_bytes: usize,
    attachments: usize,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            queue: BTreeMap::new(),
            last: 0,
            conflated: HashMap::new(),
            bytes: 0,
            state_bytes: 0,
            states_limit: RETAINED,
            message_bytes: 0,
            attachments: 0,
            under_way: UnderWay::default(),
            limit,
            spare: Vec::new(),
            packs: false,
        }
    }

    /// Queues a frame. A state takes the place of an older version of itself, so that there is one of each at
    /// most: it is refused only if there are more than are retained at a time. The one welcome never is, and anything else
    /// is refused over the limit.
    pub(crate) fn push(&mut self, frame: &Frame) -> Result<(), Full> {
        if conflates(frame.kind()) {
            return self.replace_or_queue(frame);
        }
        let attachments = attachments(frame);
        if attachments > 0 && self.attachments + attachments > DESCRIPTORS {
            return Err(self.full());
        }
        if is_due(frame.kind()) {
            self.make_room(frame.wire_length(), self.limit.saturating_add(ANSWERS))?;
        } else if frame.kind() != Kind::Welcome {
            self.make_room(frame.wire_length(), self.limit)?;
        }
        if frame.kind() != Kind::Welcome && frame.descriptors().is_empty() && frame.wire_length() <= SMALL {
            self.gather(&[&frame.head(), frame.content()]);
            return Ok(());
        }
        self.attachments += attachments;
        self.bytes += frame.wire_length();
        self.append(Piece::Frame(frame.clone()));
        Ok(())
    }

    /// Takes out what waits of a state that the receiver observes no more. What is in sealed memory stays: its receiver
    /// says that it has taken it before it gets the next.
    pub(crate) fn recall(&mut self, topic: &str) {
        let subject = (Kind::State, Address::default(), topic.into());
        let Some(&at) = self.conflated.get(&subject) else { return };
        if let Some(Piece::Frame(frame)) = self.queue.get(&at)
            && !frame.is_in_memory()
        {
            self.bytes -= frame.wire_length();
            self.state_bytes -= weight(frame);
            self.queue.remove(&at);
            self.conflated.remove(&subject);
        }
    }

    /// From here on the receiver takes many messages in one frame.
    pub(crate) fn pack(&mut self) {
        self.packs = true;
    }

    /// Whether the receiver takes many messages in one frame.
    pub(crate) fn packs(&self) -> bool {
        self.packs
    }

    /// Whether a frame is taken when nothing else waits.
    pub(crate) fn takes_alone(&self, frame: &Frame) -> bool {
        weight(frame) <= self.states_limit
    }

    /// Queues whole frames as they stand on the wire; all of them, or nothing.
    pub(crate) fn push_bytes(&mut self, bytes: &Bytes) -> Result<(), Full> {
        self.make_room(bytes.len(), self.limit)?;
        if bytes.len() <= SMALL || !slice::may_wait(bytes.len(), self.message_bytes) {
            self.gather(&[bytes]);
        } else {
            self.bytes += bytes.len();
            self.append(Piece::Shared(bytes.clone()));
        }
        Ok(())
    }

    /// Queues what has waited elsewhere, and was bounded there, however much waits here.
    pub(crate) fn hand_over(&mut self, push: impl FnOnce(&mut Self) -> Result<(), Full>) -> Result<(), Full> {
        let limit = std::mem::replace(&mut self.limit, usize::MAX);
        let pushed = push(self);
        self.limit = limit;
        pushed
    }

    /// The next pieces to write together. A frame with descriptors comes alone, because the kernel ties
    /// descriptors to the first byte of a message.
    pub(crate) fn take_batch(&mut self) -> Vec<Piece> {
        self.settle();
        let mut gathered = 0;
        let is_plain = |piece: &&Piece| {
            let fits = gathered < AT_ONCE;
            gathered += piece.wire_length();
            fits && !piece.carries_descriptors()
        };
        let plain = self.queue.values().take(BATCH).take_while(is_plain).count();
        let count = plain.max(1).min(self.queue.len());
        let firsts = std::iter::from_fn(|| self.queue.pop_first());
        let batch: Vec<Piece> = firsts.take(count).map(|(_, piece)| piece).collect();
        for piece in &batch {
            if let Piece::Frame(frame) = piece
                && conflates(frame.kind())
            {
                self.conflated.remove(&subject_of(frame));
                self.state_bytes -= weight(frame);
            }
        }
        self.under_way = UnderWay {
            bytes: batch.iter().map(Piece::wire_length).sum(),
            message_bytes: batch.iter().map(Piece::message_length).sum(),
            attachments: batch.iter().map(Piece::attachments).sum(),
        };
        batch
    }

    /// What was under way is written.
    fn settle(&mut self) {
        let UnderWay { bytes, message_bytes, attachments } = std::mem::take(&mut self.under_way);
        self.bytes -= bytes;
        self.message_bytes -= message_bytes;
        self.attachments -= attachments;
    }

    /// Takes back what was written, so that its memory serves again.
    pub(crate) fn recycle(&mut self, batch: Vec<Piece>) {
        self.settle();
        let vectors = batch.into_iter().filter_map(|piece| match piece {
            Piece::Gathered(bytes) => Some(bytes),
            _ => None,
        });
        if let Some(mut spare) = vectors.max_by_key(Vec::capacity) {
            spare.clear();
            self.spare = spare;
        }
    }

    /// What waits, beside what is under way.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.queue.values()
    }

    /// Whether nothing waits; something may be under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether what was taken is still being written.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.bytes > 0
    }

    /// The bytes that wait, or are being written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether much more would fit.
    pub(crate) fn has_room(&self) -> bool {
        self.message_bytes <= self.limit / 2 && self.attachments <= DESCRIPTORS / 2
    }

    fn full(&self) -> Full {
        Full { waiting: self.message_bytes, attachments: self.attachments }
    }

    /// Counts bytes that can pile up, if they fit.
    fn make_room(&mut self, length: usize, limit: usize) -> Result<(), Full> {
        if self.message_bytes > 0 && self.message_bytes + length > limit {
            return Err(self.full());
        }
        self.message_bytes += length;
        Ok(())
    }

    fn gather(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.bytes += length;
        if let Some(mut entry) = self.queue.last_entry()
            && let Piece::Gathered(last) = entry.get_mut()
            && last.len() + length <= GATHERED
        {
            parts.iter().for_each(|part| last.extend_from_slice(part));
            return;
        }
        let mut piece = std::mem::take(&mut self.spare);
        parts.iter().for_each(|part| piece.extend_from_slice(part));
        self.append(Piece::Gathered(piece));
    }

    fn append(&mut self, piece: Piece) {
        self.last += 1;
        self.queue.insert(self.last, piece);
    }

    fn replace_or_queue(&mut self, frame: &Frame) -> Result<(), Full> {
        let subject = subject_of(frame);
        let at = self.conflated.get(&subject).copied();
        let older = match at.and_then(|at| self.queue.get(&at)) {
            Some(Piece::Frame(older)) => (older.wire_length(), weight(older)),
            _ => (0, 0),
        };
        let state_bytes = self.state_bytes - older.1 + weight(frame);
        if frame.kind() == Kind::State && state_bytes > self.states_limit {
            return Err(Full { waiting: self.state_bytes, attachments: self.attachments });
        }
        self.state_bytes = state_bytes;
        self.bytes = self.bytes - older.0 + frame.wire_length();
        match at {
            Some(at) => {
                self.queue.insert(at, Piece::Frame(frame.clone()));
            }
            None => {
                self.append(Piece::Frame(frame.clone()));
                self.conflated.insert(subject, self.last);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
