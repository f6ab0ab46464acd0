//! Many small messages of one sender, topic and receiver in one frame: what they have in common stands there once, and of
//! number and time there is what differs from the message before. Pure; `docs/protocol.md` has the layout.

use std::ops::Range;

use bytes::Bytes;

use super::head::{FrameError, HEAD, Head};
use super::kind::Kind;

/// The most bytes of a number that is written seven bits at a time.
const LONGEST: usize = 10;

/// Writes such a frame.
#[derive(Debug)]
pub(super) struct Packer {
    bytes: Vec<u8>,
    last: Place,
}

/// Where a reader or writer is among the messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    number: u64,
    time: u64,
}

/// One message as it was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) time: u64,
    pub(super) payload: Range<usize>,
}

impl Place {
    /// Before the first of messages, the first of which was sent at `time`.
    pub(super) fn before_first(time: u64) -> Self {
        Self { number: 0, time }
    }

    /// Finds the message at `at`; `None` where there is no whole one.
    #[inline]
    pub(super) fn next(&mut self, bytes: &[u8], at: usize) -> Option<Entry> {
        let (length, at) = read(bytes, at)?;
        let (number, at) = read(bytes, at)?;
        let (time, at) = read(bytes, at)?;
        self.number = self.number.wrapping_add(signed(number));
        self.time = self.time.wrapping_add(signed(time));
        let end = at.checked_add(usize::try_from(length).ok()?).filter(|end| *end <= bytes.len())?;
        Some(Entry { number: self.number, time: self.time, payload: at..end })
    }
}

/// Whether the whole frame that begins with `head` has as many messages as it says, one at least, and nothing else.
pub(super) fn check(frame: &[u8], head: &Head) -> Result<(), FrameError> {
    let (claimed, mut found, mut at) = (head.number, 0, HEAD + usize::from(head.topic_length));
    let mut place = Place::before_first(head.route.time);
    while found < claimed
        && let Some(entry) = place.next(frame, at)
    {
        (found, at) = (found + 1, entry.payload.end);
    }
    let left = frame.len().saturating_sub(at);
    let is_whole = found == claimed && left == 0;
    if is_whole && claimed > 0 { Ok(()) } else { Err(FrameError::Miscounted { claimed, found, left }) }
}

impl Packer {
    /// For messages that all begin like `first`, the envelope and the topic of the first of them, which was sent at `time`.
    /// They have so many bytes when they are not packed.
    pub(super) fn new(first: &[u8], time: u64, unpacked: usize) -> Self {
        let mut bytes = Vec::with_capacity(unpacked);
        bytes.extend_from_slice(first);
        Self { bytes, last: Place::before_first(time) }
    }

    pub(super) fn add(&mut self, number: u64, time: u64, payload: &[u8]) {
        self.write(payload.len() as u64);
        self.write(unsigned(number.wrapping_sub(self.last.number)));
        self.write(unsigned(time.wrapping_sub(self.last.time)));
        self.bytes.extend_from_slice(payload);
        self.last = Place { number, time };
    }

    /// The frame of so many messages; `None` if it would be too long for one. It takes no more memory than it is long, for
    /// queues count that.
    pub(super) fn finish(mut self, count: u64) -> Option<Bytes> {
        let length = u32::try_from(self.bytes.len() - HEAD).ok()?;
        self.bytes[..4].copy_from_slice(&length.to_le_bytes());
        self.bytes[4] = Kind::Messages as u8;
        self.bytes[8..16].copy_from_slice(&count.to_le_bytes());
        self.bytes.shrink_to_fit();
        Some(self.bytes.into())
    }

    /// Seven bits to a byte, the lowest first; all but the last have the highest bit.
    #[inline]
    fn write(&mut self, mut value: u64) {
        while value > 0x7f {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }
}

/// The number at `at`, and where it ends.
#[inline]
fn read(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = *bytes.get(at)?;
    // Most are this short.
    if first < 0x80 { Some((first.into(), at + 1)) } else { read_long(bytes, at) }
}

fn read_long(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (place, byte) in bytes.get(at..)?.iter().take(LONGEST).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, at + place + 1));
        }
    }
    None
}

/// A difference, so that small ones are short whichever way they go.
fn unsigned(difference: u64) -> u64 {
    let sign = if difference >> 63 == 1 { u64::MAX } else { 0 };
    (difference << 1) ^ sign
}

/// The difference that it stands for.
fn signed(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_packed_is_found_again(
            messages in prop::collection::vec((any::<u64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..300)), 1..20),
        ) {
            let mut packer = Packer::new(&[0; HEAD], 7, 0);
            for (number, time, payload) in &messages {
                packer.add(*number, *time, payload);
            }
            let bytes = packer.finish(messages.len() as u64).unwrap();
            let (mut place, mut at) = (Place::before_first(7), HEAD);
            for (number, time, payload) in &messages {
                let entry = place.next(&bytes, at).unwrap();
                prop_assert_eq!((entry.number, entry.time), (*number, *time));
                prop_assert_eq!(&bytes[entry.payload.clone()], &payload[..]);
                at = entry.payload.end;
            }
            prop_assert_eq!(place.next(&bytes, at), None);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let (mut place, mut at) = (Place::before_first(0), 0);
            while let Some(entry) = place.next(&bytes, at) {
                prop_assert!(entry.payload.end > at && entry.payload.end <= bytes.len());
                at = entry.payload.end;
            }
        }
    }

    #[test]
    fn a_message_after_another_has_three_bytes_beside_its_payload() {
        let mut packer = Packer::new(&[0; HEAD], 1_763_689_027_322_880, 0);
        packer.add(900, 1_763_689_027_322_880, b"");
        let before = packer.bytes.len();
        packer.add(901, 1_763_689_027_322_884, b"words");
        assert_eq!(packer.bytes.len() - before, 3 + b"words".len());
    }

    #[test]
    fn a_frame_takes_no_more_memory_than_it_is_long() {
        let mut packer = Packer::new(&[0; HEAD], 7, 64 << 10);
        (0..1000).for_each(|number| packer.add(number, 7, b"16 bytes of text"));
        let frame = packer.finish(1000).unwrap();
        let length = frame.len();
        assert_eq!(frame.try_into_mut().unwrap().capacity(), length);
    }
}
