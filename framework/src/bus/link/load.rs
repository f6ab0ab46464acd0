//! What was taken from the outbox to be written together, and how much of it the kernel has.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use super::super::head::HEAD;
use super::super::outbox::Piece;
use super::super::socket::transmit;

/// Pieces on their way to the kernel.
#[derive(Debug)]
pub(super) struct Load {
    pieces: Vec<Piece>,
    written: usize,
}

impl Load {
    /// Nothing of `pieces` is written yet.
    pub(super) fn new(pieces: Vec<Piece>) -> Self {
        Self { pieces, written: 0 }
    }

    /// The first `written` bytes of `pieces` are written.
    pub(super) fn begun(pieces: Vec<Piece>, written: usize) -> Self {
        Self { pieces, written }
    }

    /// The pieces, when they are written.
    pub(super) fn into_pieces(self) -> Vec<Piece> {
        self.pieces
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The pieces, and how many bytes of them are written.
    pub(super) fn into_parts(self) -> (Vec<Piece>, usize) {
        (self.pieces, self.written)
    }

    /// Writes until everything is written or the socket takes no more, which is the error `WouldBlock`; then it goes on
    /// where it was.
    pub(super) fn write(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let heads: Vec<_> = self.pieces.iter().map(head_of).collect();
        let mut slices: Vec<_> = heads
            .iter()
            .zip(&self.pieces)
            .flat_map(|(head, piece)| [IoSlice::new(head.as_ref().map_or(&[], |head| head)), body_of(piece)])
            .filter(|slice| !slice.is_empty())
            .collect();
        let mut slices = &mut slices[..];
        IoSlice::advance_slices(&mut slices, self.written);
        while !slices.is_empty() {
            let written = transmit(socket, slices, &self.descriptors())?;
            self.written += written;
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }

    /// What goes with the next byte.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.pieces[..] {
            [Piece::Frame(frame)] if self.written == 0 => {
                frame.descriptors().iter().map(AsFd::as_fd).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The envelope of what does not have it in its bytes.
fn head_of(piece: &Piece) -> Option<[u8; HEAD]> {
    match piece {
        Piece::Frame(frame) => Some(frame.head()),
        _ => None,
    }
}

fn body_of(piece: &Piece) -> IoSlice<'_> {
    IoSlice::new(match piece {
        Piece::Frame(frame) => frame.content(),
        Piece::Shared(bytes) => bytes,
        Piece::Gathered(bytes) => bytes,
    })
}
