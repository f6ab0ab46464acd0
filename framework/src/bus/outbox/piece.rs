//! One piece of what waits for a link, and what the kinds of frames mean for its place in the queue. Pure.

use std::fmt;

use bytes::Bytes;

use super::super::frame::{Frame, Kind};
use super::super::peer::Address;

/// What is written at once.
pub(crate) enum Piece {
    /// With descriptors, or a state that a newer version may take the place of, or large.
    Frame(Frame),
    /// Whole frames, shared with other receivers.
    Shared(Bytes),
    /// Whole frames, copied.
    Gathered(Vec<u8>),
}

impl Piece {
    pub(crate) fn wire_length(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.wire_length(),
            Self::Shared(bytes) => bytes.len(),
            Self::Gathered(bytes) => bytes.len(),
        }
    }

    /// The bytes of what can pile up.
    pub(super) fn message_length(&self) -> usize {
        match self {
            Self::Frame(frame) if !piles_up(frame.kind()) => 0,
            other => other.wire_length(),
        }
    }

    pub(super) fn carries_descriptors(&self) -> bool {
        matches!(self, Self::Frame(frame) if !frame.descriptors().is_empty())
    }

    /// The descriptors of a message.
    pub(super) fn attachments(&self) -> usize {
        match self {
            Self::Frame(frame) => attachments(frame),
            _ => 0,
        }
    }
}

/// Names kinds and sizes, never payloads: they are the authors'.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => frame.fmt(f),
            Self::Shared(bytes) => write!(f, "Shared({} bytes)", bytes.len()),
            Self::Gathered(bytes) => write!(f, "Gathered({} bytes)", bytes.len()),
        }
    }
}

/// The receiver is too slow: what was pushed is not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} bytes already wait for this process, and {attachments} descriptors")]
pub(crate) struct Full {
    pub(crate) waiting: usize,
    pub(crate) attachments: usize,
}

/// What only the latest counts of: its kind, who said it, and its topic.
pub(super) type Subject = (Kind, Address, Box<str>);

/// Whether only the latest counts.
pub(super) fn conflates(kind: Kind) -> bool {
    matches!(kind, Kind::State | Kind::Contribute | Kind::Contribution | Kind::Trace)
}

/// What is short, and comes once for what its receiver sent; it finds room when messages do not.
pub(super) fn is_due(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Receipt | Kind::Refusal | Kind::Room | Kind::Cancel | Kind::Unloaded | Kind::Farewell
    )
}

pub(super) fn attachments(frame: &Frame) -> usize {
    if frame.kind() == Kind::Message { frame.descriptors().len() } else { 0 }
}

fn piles_up(kind: Kind) -> bool {
    !conflates(kind) && kind != Kind::Welcome
}

pub(super) fn subject_of(frame: &Frame) -> Subject {
    // A state is the cluster's, whoever published it.
    let from = if frame.kind() == Kind::State { Address::default() } else { frame.route().from };
    (frame.kind(), from, frame.topic().into())
}

/// What a state takes, as its publisher was allowed it; nothing for what is no state.
pub(super) fn weight(frame: &Frame) -> usize {
    if frame.kind() != Kind::State {
        return 0;
    }
    let memory = if frame.is_in_memory() { frame.payload_length().unwrap_or_default() } else { 0 };
    frame.wire_length() + usize::try_from(memory).unwrap_or(usize::MAX >> 1)
}
