//! What is pushed to a link: written at once when it comes alone, and queued otherwise.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use bytes::Bytes;

use super::super::frame::Frame;
use super::super::outbox::{Full, Outbox};
use super::super::parcel::Parcel;
use super::super::socket::transmit;

/// A frame, or whole frames as they stand on the wire.
#[derive(Clone, Copy)]
pub(super) enum Push<'a> {
    Frame(&'a Frame),
    Run(&'a Bytes),
}

impl<'a> Push<'a> {
    /// What is relayed, the way that the receiver of what is in `outbox` takes it.
    pub(super) fn of(parcel: &'a Parcel, outbox: &Outbox) -> Self {
        match parcel {
            Parcel::Frame(frame) => Self::Frame(frame),
            Parcel::Run(run) => Self::Run(run.bytes_for(outbox.packs())),
        }
    }

    pub(super) fn wire_length(self) -> usize {
        match self {
            Self::Frame(frame) => frame.wire_length(),
            Self::Run(bytes) => bytes.len(),
        }
    }

    /// Whether it can be queued when nothing else waits.
    pub(super) fn fits(self, outbox: &Outbox) -> bool {
        match self {
            Self::Frame(frame) => outbox.takes_alone(frame),
            Self::Run(_) => true,
        }
    }

    pub(super) fn queue(self, outbox: &mut Outbox) -> Result<(), Full> {
        match self {
            Self::Frame(frame) => outbox.push(frame),
            Self::Run(bytes) => outbox.push_bytes(bytes),
        }
    }

    /// Writes what the socket takes now, and returns how many bytes that was.
    pub(super) fn write(self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        match self {
            Self::Run(bytes) => transmit(socket, &[IoSlice::new(bytes)], &[]),
            Self::Frame(frame) => {
                let descriptors: Vec<_> = frame.descriptors().iter().map(AsFd::as_fd).collect();
                let head = frame.head();
                transmit(socket, &[IoSlice::new(&head), IoSlice::new(frame.content())], &descriptors)
            }
        }
    }
}
