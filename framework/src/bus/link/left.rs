//! The mail that a link did not get rid of before its end: what was not written, or only in part, as it was pushed. Pure.

use std::collections::BTreeMap;

use super::super::decoder::Decoder;
use super::super::frame::{Kind, MAX_LENGTH};
use super::super::head::{Glimpse, HEAD, Head};
use super::super::outbox::Piece;
use super::super::parcel::Parcel;
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

/// Counts the messages and questions of `pieces` by topic.
pub(super) fn tally<'a>(pieces: impl IntoIterator<Item = &'a Piece>, counts: &mut BTreeMap<Box<str>, u64>) {
    let mut count = |topic: &str, number| match counts.get_mut(topic) {
        Some(count) => *count += number,
        None => _ = counts.insert(topic.into(), number),
    };
    for piece in pieces {
        let mut bytes: &[u8] = match piece {
            Piece::Frame(frame) => {
                if matches!(frame.kind(), Kind::Message | Kind::Ask) {
                    count(frame.topic(), 1);
                }
                continue;
            }
            Piece::Shared(bytes) => bytes,
            Piece::Gathered(bytes) => bytes,
        };
        while let Ok(Some(head)) = Head::read(bytes, MAX_LENGTH) {
            let topic = bytes.get(HEAD..HEAD + usize::from(head.topic_length)).unwrap_or_default();
            let topic = std::str::from_utf8(topic).unwrap_or_default();
            match head.kind {
                Kind::Messages => count(topic, head.number),
                Kind::Message | Kind::Ask => count(topic, 1),
                _ => {}
            }
            bytes = bytes.get(head.wire_length()..).unwrap_or_default();
        }
    }
}

/// What the master says by itself has no sender; a message without one comes from outside.
fn is_mail(parcel: &Parcel) -> bool {
    match parcel.kind() {
        Kind::Message | Kind::Ask => true,
        Kind::Reply | Kind::Refusal => parcel.route().from != Address::default(),
        _ => false,
    }
}
