//! What came before a process said that it is ready, and nobody there cares for yet: in order and bounded.

use super::letter::Letter;
use super::mailbox::MOST_DESCRIPTORS;
use crate::bus::control::Unanswered;
use crate::bus::frame::{Frame, Kind};

/// What waits for somebody who will care, in its order.
#[derive(Default)]
pub(super) struct Early {
    pub(super) frames: Vec<Frame>,
    bytes: usize,
}

impl Early {
    /// Keeps a message or a question, unless too much waits.
    pub(super) fn keep(&mut self, frame: &Frame, limit: usize) -> Result<(), Unanswered> {
        // As who will care counts it, so that all of it fits there.
        let is_long = self.bytes > 0 && self.bytes + Letter::cost_of(frame) > limit;
        let carried: usize = self.frames.iter().map(|frame| frame.descriptors().len()).sum();
        if is_long || (carried > 0 && carried + frame.descriptors().len() > MOST_DESCRIPTORS) {
            return Err(Unanswered::Busy);
        }
        self.bytes += Letter::cost_of(frame);
        self.frames.push(frame.kept());
        Ok(())
    }

    /// Takes out what is for who cares now.
    pub(super) fn claim(&mut self, topic: &str, kind: Kind) -> Vec<Frame> {
        let is_claimed = |frame: &Frame| frame.kind() == kind && frame.topic() == topic;
        let (claimed, rest) = std::mem::take(&mut self.frames).into_iter().partition(is_claimed);
        self.frames = rest;
        self.bytes = self.frames.iter().map(Letter::cost_of).sum();
        claimed
    }

    /// Forgets a question for whose answer nobody waits any more; its topic, if it is here.
    pub(super) fn forget(&mut self, asker: u32, number: u64) -> Option<String> {
        let is_meant = |frame: &Frame| {
            (frame.kind(), frame.number(), frame.route().from.pid) == (Kind::Ask, number, asker)
        };
        let topic = self.frames.iter().find(|frame| is_meant(frame)).map(|frame| frame.topic().to_owned());
        self.frames.retain(|frame| !is_meant(frame));
        self.bytes = self.frames.iter().map(Letter::cost_of).sum();
        topic
    }
}
