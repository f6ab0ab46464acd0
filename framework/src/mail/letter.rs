//! What arrives: a message or a question as it came, what it costs to keep it, and what a subscription finds.
//! Where it waits is the mailbox's affair.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

use crate::bus::frame::Frame;
use crate::bus::head::Route;
use crate::bus::parcel::Run;

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
    pub(super) fn cost(&self) -> usize {
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
    /// All that will ever come has been taken.
    End,
}
