//! The mail that a link did not get rid of before its end: what was not written, or only in part, as it was pushed. Pure.

use super::super::decoder::{Decoder, Parcel};
use super::super::frame::{Kind, MAX_LENGTH};
use super::super::head::{Glimpse, HEAD};
use super::super::outbox::Piece;
use super::super::peer::Address;

/// Appends the mail of `pieces`, the first `written` bytes of which are with the kernel, to `left`.
pub(super) fn note(left: &mut Vec<Parcel>, pieces: Vec<Piece>, mut written: usize) {
    for piece in pieces {
        let length = piece.wire_length();
        let begun = written.min(length);
        written -= begun;
        match piece {
            _ if begun == length => {}
            Piece::Frame(frame) => left.extend(Some(Parcel::Frame(frame)).filter(is_mail)),
            Piece::Shared(bytes) => cut(left, &bytes, begun),
            Piece::Gathered(bytes) => cut(left, &bytes, begun),
        }
    }
}

/// The frames of `bytes` of which not all is among the first `written` ones.
fn cut(left: &mut Vec<Parcel>, bytes: &[u8], written: usize) {
    let mut at = 0;
    while let Some(length) = bytes.get(at..).and_then(whole_length).filter(|length| at + length <= written) {
        at += length;
    }
    let mut decoder = Decoder::new(MAX_LENGTH);
    decoder.feed(bytes.get(at..).unwrap_or_default(), []);
    left.extend(std::iter::from_fn(|| decoder.next_parcel().ok().flatten()).filter(is_mail));
}

fn whole_length(bytes: &[u8]) -> Option<usize> {
    Glimpse::of(bytes).map(|glimpse| glimpse.length.max(HEAD))
}

/// What the master says by itself has no sender; a message without one comes from outside.
fn is_mail(parcel: &Parcel) -> bool {
    match parcel.kind() {
        Kind::Message | Kind::Ask => true,
        Kind::Reply | Kind::Refusal => parcel.route().from != Address::default(),
        _ => false,
    }
}
