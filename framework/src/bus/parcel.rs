//! What is relayed at once: a frame, or a run of messages that go the same way, and how its reader takes one after the
//! other. Pure.

use std::fmt;

use bytes::Bytes;

use super::frame::{Frame, Kind};
use super::head::{Glimpse, HEAD, Head, Route};
use super::packed::{Packer, Place};
use super::slice;

/// One part in so many of the bytes must be saved for messages to be packed: less is not worth the copy.
const WORTH: usize = 4;

/// How the messages of a run stand in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Each with its envelope, as its sender wrote it.
    Plain,
    /// All in one frame.
    Packed,
}

/// Messages as they stand on the wire, of one sender, topic and receiver, so that they can be relayed as they are.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) bytes: Bytes,
    pub(crate) count: u64,
    /// Of the first.
    pub(crate) route: Route,
    topic_length: u8,
    shape: Shape,
    /// The same in one frame, for those who take that.
    packed: Option<Bytes>,
}

impl Run {
    /// So many whole messages, one after the other, that begin with this envelope.
    pub(super) fn plain(bytes: Bytes, count: u64, head: &Head) -> Self {
        let Head { route, topic_length, .. } = *head;
        Self { bytes, count, route, topic_length, shape: Shape::Plain, packed: None }
    }

    /// The frame of many messages that has this envelope. The decoder checked that it has as many as it says.
    pub(super) fn unpacked(bytes: Bytes, head: &Head) -> Self {
        Self { shape: Shape::Packed, ..Self::plain(bytes, head.number, head) }
    }

    /// The same, made ready for those who take it in one frame, if that is much shorter.
    fn packed(self) -> Self {
        let common = HEAD + usize::from(self.topic_length);
        let length = self.bytes.len();
        let saves = |saved: usize| saved >= length.div_ceil(WORTH);
        let is_packed = self.packed.is_some() || self.shape == Shape::Packed;
        // What is saved at the best is known before anything is copied.
        let at_best =
            usize::try_from(self.count.saturating_sub(1)).unwrap_or_default().saturating_mul(common);
        if is_packed || !saves(at_best) {
            return self;
        }
        let first = self.bytes.get(..common).unwrap_or_default();
        let mut packer = Packer::new(first, self.route.time, length);
        let mut unrolled = Unrolled::new(self.clone());
        while let Some(Item { number, route, payload, .. }) = unrolled.next() {
            packer.add(number, route.time, payload);
        }
        let packed = packer.finish(self.count).filter(|packed| saves(length.saturating_sub(packed.len())));
        Self { packed, ..self }
    }

    /// Its bytes for a receiver that takes it in one frame, or does not.
    pub(crate) fn bytes_for(&self, takes_packed: bool) -> &Bytes {
        self.packed.as_ref().filter(|_| takes_packed).unwrap_or(&self.bytes)
    }

    /// The topic of all of them. The decoder checked that it is UTF-8.
    pub(crate) fn topic(&self) -> &str {
        let topic = self.bytes.get(HEAD..HEAD + usize::from(self.topic_length)).unwrap_or_default();
        std::str::from_utf8(topic).unwrap_or_default()
    }
}

/// Names topic and sizes, never the payloads: they are the author's.
impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run of {} on {:?} ({} bytes)", self.count, self.topic(), self.bytes.len())
    }
}

/// One message of a run.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) number: u64,
    pub(crate) route: Route,
    pub(crate) payload: &'a [u8],
    /// What the payload is a part of.
    pub(crate) source: &'a Bytes,
}

/// A run on the way to its reader, who takes one message after the other.
#[derive(Debug)]
pub(crate) struct Unrolled {
    run: Run,
    at: usize,
    /// In one that is packed.
    place: Place,
}

impl Unrolled {
    pub(crate) fn new(run: Run) -> Self {
        let at = match run.shape {
            Shape::Plain => 0,
            Shape::Packed => HEAD + usize::from(run.topic_length),
        };
        Self { at, place: Place::before_first(run.route.time), run }
    }

    /// The next message.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Item<'_>> {
        let bytes = &self.run.bytes;
        if self.run.shape == Shape::Packed {
            let entry = self.place.next(bytes, self.at)?;
            self.at = entry.payload.end;
            let route = Route { time: entry.time, ..self.run.route };
            return Some(Item {
                number: entry.number,
                route,
                payload: bytes.get(entry.payload)?,
                source: bytes,
            });
        }
        // All but the length, the number and the time is that of the first.
        let rest = bytes.get(self.at..)?;
        let Glimpse { length, number, time } = Glimpse::of(rest)?;
        let payload = rest.get(HEAD + usize::from(self.run.topic_length)..length)?;
        self.at += length;
        Some(Item { number, route: Route { time, ..self.run.route }, payload, source: bytes })
    }

    /// The next message as a frame of its own.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        let (begin, topic_length, shape) = (self.at, self.run.topic_length, self.run.shape);
        let Item { number, route, payload, .. } = self.next()?;
        if shape == Shape::Packed {
            let payload = payload.to_vec();
            return Some(Frame::about(Kind::Message, self.run.topic(), number, &payload).on(route));
        }
        let content = self.run.bytes.slice(begin + HEAD..self.at);
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let head =
            Head { length, kind: Kind::Message, topic_length, descriptors: 0, flags: 0, number, route };
        Some(Frame::from_wire(&head, content, Vec::new()))
    }
}

/// What is relayed at once.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    Frame(Frame),
    Run(Run),
}

impl Parcel {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Frame(frame) => frame.kind(),
            Self::Run(_) => Kind::Message,
        }
    }

    pub(crate) fn route(&self) -> Route {
        match self {
            Self::Frame(frame) => frame.route(),
            Self::Run(run) => run.route,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        match self {
            Self::Frame(frame) => frame.topic(),
            Self::Run(run) => run.topic(),
        }
    }

    /// How many frames it is.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Frame(_) => 1,
            Self::Run(run) => run.count,
        }
    }

    /// How many descriptors it carries.
    pub(crate) fn descriptors(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.descriptors().len(),
            Self::Run(_) => 0,
        }
    }

    pub(crate) fn wire_length(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.wire_length(),
            Self::Run(run) => run.bytes.len(),
        }
    }

    /// The same for whoever keeps it: it keeps no more memory than it counts.
    pub(crate) fn kept(self) -> Self {
        match self {
            Self::Frame(frame) => Self::Frame(frame.kept()),
            Self::Run(run) => Self::Run(Run { bytes: slice::kept(&run.bytes), packed: None, ..run }),
        }
    }

    /// The same for many receivers.
    pub(crate) fn for_many(self) -> Self {
        match self {
            Self::Run(run) => Self::Run(run.packed()),
            frame => frame,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decoder::Decoder;
    use super::super::frame::MAX_LENGTH;
    use super::super::peer::{Address, Form};
    use super::*;

    fn message(number: u64, size: usize) -> Frame {
        let from = Address { pid: 4711, ..Address::AGENT };
        let route = Route { to: Address::to(Form::Everyone), from, time: 1000 + number * number };
        Frame::about(Kind::Message, "words", number, &vec![7; size]).on(route)
    }

    fn run_of(messages: &[Frame]) -> Run {
        let wire = messages.iter().flat_map(|it| [&it.head()[..], it.content()].concat());
        read(&wire.collect::<Vec<u8>>())
    }

    fn read(bytes: &[u8]) -> Run {
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(bytes, []);
        match decoder.next_parcel() {
            Ok(Some(Parcel::Run(run))) if !decoder.is_mid_frame() => run,
            other => panic!("{other:?} is no run"),
        }
    }

    fn seen(frame: &Frame) -> (Kind, String, u64, Route, Vec<u8>) {
        (frame.kind(), frame.topic().to_owned(), frame.number(), frame.route(), frame.payload().to_owned())
    }

    #[test]
    fn a_run_in_one_frame_has_the_same_messages() {
        let messages: Vec<Frame> = [8, 9, 12, 3].map(|number| message(number, 60)).into();
        let run = run_of(&messages).packed();
        assert!(run.bytes_for(false) == &run.bytes, "others get it as it came");
        let packed = read(run.bytes_for(true));
        assert!(packed.bytes.len() < run.bytes.len() * 3 / 4, "{packed:?}");
        assert_eq!((packed.count, packed.topic(), packed.route), (4, "words", run.route));
        let mut unrolled = Unrolled::new(packed);
        let found: Vec<_> = std::iter::from_fn(|| unrolled.next_frame()).map(|frame| seen(&frame)).collect();
        assert_eq!(found, messages.iter().map(seen).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_large_or_alone_or_kept_is_not_packed() {
        // Two messages have one envelope and one topic too much, of 45 bytes, of which not all is saved.
        let worth = |size| run_of(&[message(1, size), message(2, 0)]).packed().packed.is_some();
        assert_eq!([60, 70, 1024].map(worth), [true, false, false]);
        assert_eq!(run_of(&[message(1, 0)]).packed().packed, None);
        // Every number is far from the one before, and every time.
        let far = |nth: u64| message((nth & 1) << 31, 60);
        assert_eq!(run_of(&[far(0), far(1), far(2)]).packed().packed, None);
        let Parcel::Run(kept) = Parcel::Run(run_of(&[message(1, 6), message(2, 6)])).for_many().kept() else {
            panic!("it was a run")
        };
        assert_eq!(kept.packed, None);
    }
}
