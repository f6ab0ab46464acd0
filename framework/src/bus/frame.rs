//! The envelope of everything that travels on a link: 16 fixed bytes, a topic, a payload, and descriptors
//! beside them. Pure: bytes in, frames out; `link` does the reading and writing.
//!
//! ```text
//! 0        4      5            6             7          8         16
//! | length | kind | topic len. | descriptors | reserved | number  | topic … payload … |
//! ```
//!
//! Numbers are little-endian; `length` counts the topic and the payload.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

/// The version of this envelope and of the bodies in `control`, said in the hello.
pub(crate) const PROTOCOL: u32 = 1;

/// The bytes of an envelope.
pub(crate) const HEAD: usize = 16;

/// The most bytes of topic and payload in one frame.
pub(crate) const MAX_LENGTH: usize = 64 << 20;

/// The most descriptors that the kernel carries in one message.
pub(crate) const MAX_DESCRIPTORS: usize = 253;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What a frame is. `number` means what each kind says of it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Kind { $($(#[$doc])* $name = $code,)* }

        impl Kind {
            fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

kinds! {
    /// Child to master, first: who I am (`control::Hello`).
    Hello = 1,
    /// Master to child, after the retained states: how to live (`launch::Launch`), with the listeners. `number` is 1
    /// for an agent that comes to replace another, and 0 otherwise.
    Welcome = 2,
    /// Child to master, once: I can do my work.
    Ready = 3,
    /// Master to child, once: every process of the first start is ready; the child says it back.
    ClusterReady = 4,
    /// Master to child: finish and leave within `number` milliseconds; the body tells whether others serve on.
    Shutdown = 5,
    /// Child to master, last: why I am about to die (`control::Failure`).
    Failed = 6,
    /// Agent to master: a new value of the state `topic`; `number` is the request.
    Publish = 7,
    /// Master to agent: the answer to request `number` (`control::PublishAnswer`).
    Published = 8,
    /// Master to child: version `number` of the state `topic`.
    State = 9,
    /// Child to master: I run version `number` of the state `topic`.
    Ack = 10,
    /// Agent to master (request `number`), master to child (round `number`): open the log files anew.
    Reopen = 11,
    /// Child to master (round `number`), master to agent (request `number`): done; a body says what failed.
    Reopened = 12,
    /// Child to master, again and again: the figures of the process (`control::Pulse`).
    Pulse = 13,
    /// Agent to master: the state of its duties (a list of `status::DutyStatus`).
    Duties = 14,
    /// Agent to master: why the newest configuration was refused, or nothing.
    ConfigRefused = 15,
    /// Command line to master: `control::Request`.
    Request = 16,
    /// Master to command line: `control::Answer`.
    Answer = 17,
    /// Worker to master: I want to be replaced; the body says why.
    Retire = 18,
    /// Child to master: tell me what happens in the cluster.
    Watch = 19,
    /// Master to child: something happened (`events::ClusterEvent`).
    News = 20,
    /// Agent to master: the configuration is good, and I can do no more until I lead.
    StandBy = 21,
    /// Master to agent: there is no other; lead.
    Lead = 22,
    /// Agent to master: the certificates in force, and why newer ones were refused (`status::TlsStatus`).
    Certificates = 23,
}

/// One frame. Clones share the payload and the descriptors.
#[derive(Clone)]
pub(crate) struct Frame {
    kind: Kind,
    topic_length: u8,
    number: u64,
    content: Bytes,
    descriptors: Vec<Arc<OwnedFd>>,
}

impl Frame {
    /// A frame without a topic.
    pub(crate) fn new(kind: Kind, number: u64, body: impl Into<Bytes>) -> Self {
        Self { kind, topic_length: 0, number, content: body.into(), descriptors: Vec::new() }
    }

    /// A frame about a topic; the name was checked when it was registered and is cut to 255 bytes here.
    pub(crate) fn about(kind: Kind, topic: &str, number: u64, payload: &[u8]) -> Self {
        let topic_length = u8::try_from(topic.len()).unwrap_or(u8::MAX);
        let topic = &topic.as_bytes()[..usize::from(topic_length)];
        let content = [topic, payload].concat().into();
        Self { kind, topic_length, number, content, descriptors: Vec::new() }
    }

    /// The same topic and payload, shared, under another kind and number.
    pub(crate) fn readdressed(&self, kind: Kind, number: u64) -> Self {
        Self {
            kind,
            number,
            content: self.content.clone(),
            topic_length: self.topic_length,
            descriptors: Vec::new(),
        }
    }

    pub(crate) fn with_descriptors(mut self, descriptors: Vec<Arc<OwnedFd>>) -> Self {
        self.descriptors = descriptors;
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The topic's name; empty where there is none. The decoder checked that it is UTF-8.
    pub(crate) fn topic(&self) -> &str {
        std::str::from_utf8(&self.content[..usize::from(self.topic_length)]).unwrap_or_default()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.content[usize::from(self.topic_length)..]
    }

    /// The payload, sharing this frame's memory.
    pub(crate) fn shared_payload(&self) -> Bytes {
        self.content.slice(usize::from(self.topic_length)..)
    }

    pub(crate) fn descriptors(&self) -> &[Arc<OwnedFd>] {
        &self.descriptors
    }

    /// All that is on the wire: envelope, topic, payload.
    pub(crate) fn wire_length(&self) -> usize {
        HEAD + self.content.len()
    }

    /// Topic and payload as they stand on the wire.
    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }

    /// The envelope as it stands on the wire.
    pub(crate) fn head(&self) -> [u8; HEAD] {
        let length = u32::try_from(self.content.len()).unwrap_or(u32::MAX);
        let descriptors = u8::try_from(self.descriptors.len()).unwrap_or(u8::MAX);
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..8].copy_from_slice(&[self.kind as u8, self.topic_length, descriptors, 0]);
        head[8..].copy_from_slice(&self.number.to_le_bytes());
        head
    }
}

/// Names kind, topic and sizes, never the payload: it is the author's.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} #{} ({} bytes", self.kind, self.topic(), self.number, self.payload().len())?;
        write!(f, ", {} descriptors)", self.descriptors.len())
    }
}

/// What no frame can be; the link that carried it is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the frame kind {0} is unknown")]
    UnknownKind(u8),
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("a topic of {topic} bytes does not fit a frame of {length}")]
    TopicTooLong { topic: usize, length: usize },
    #[error("a topic is not UTF-8")]
    TopicNotText,
    #[error("a frame announces {announced} descriptors and came with {came}")]
    MissingDescriptors { announced: usize, came: usize },
    #[error("a frame sets the reserved byte to {0}")]
    Reserved(u8),
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub(crate) struct Decoder {
    limit: usize,
    bytes: BytesMut,
    descriptors: VecDeque<OwnedFd>,
}

impl Decoder {
    /// Frames of more than `limit` bytes are errors.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, bytes: BytesMut::new(), descriptors: VecDeque::new() }
    }

    /// Takes what one read brought. Descriptors never arrive later than the bytes of their frame.
    pub(crate) fn feed(&mut self, bytes: &[u8], descriptors: impl IntoIterator<Item = OwnedFd>) {
        self.bytes.extend_from_slice(bytes);
        self.descriptors.extend(descriptors);
    }

    /// Whether a frame has begun and is not whole.
    pub(crate) fn is_mid_frame(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.bytes.len() < HEAD {
            return Ok(None);
        }
        let (length, code, topic_length, announced, reserved) = (
            u32::from_le_bytes([self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]]) as usize,
            self.bytes[4],
            self.bytes[5],
            usize::from(self.bytes[6]),
            self.bytes[7],
        );
        let kind = Kind::from_code(code).ok_or(FrameError::UnknownKind(code))?;
        check(length, self.limit, topic_length, reserved)?;
        if self.bytes.len() < HEAD + length {
            // Not the whole length at once: the head is a claim, the bytes are the proof.
            self.bytes.reserve((HEAD + length - self.bytes.len()).min(1 << 20));
            return Ok(None);
        }
        self.bytes.advance(8);
        let number = self.bytes.get_u64_le();
        let content = self.bytes.split_to(length).freeze();
        std::str::from_utf8(&content[..usize::from(topic_length)]).map_err(|_| FrameError::TopicNotText)?;
        let descriptors = self.take_descriptors(announced)?;
        Ok(Some(Frame { kind, topic_length, number, content, descriptors }))
    }

    fn take_descriptors(&mut self, announced: usize) -> Result<Vec<Arc<OwnedFd>>, FrameError> {
        let came = self.descriptors.len();
        if came < announced {
            return Err(FrameError::MissingDescriptors { announced, came });
        }
        Ok(self.descriptors.drain(..announced).map(Arc::new).collect())
    }
}

fn check(length: usize, limit: usize, topic_length: u8, reserved: u8) -> Result<(), FrameError> {
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    if usize::from(topic_length) > length {
        return Err(FrameError::TopicTooLong { topic: topic_length.into(), length });
    }
    if reserved != 0 {
        return Err(FrameError::Reserved(reserved));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(frame: &Frame) -> Vec<u8> {
        [&frame.head()[..], frame.content()].concat()
    }

    fn seen(frame: &Frame) -> (Kind, String, u64, Vec<u8>) {
        (frame.kind(), frame.topic().to_owned(), frame.number(), frame.payload().to_owned())
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let kind = prop::sample::select(Kind::ALL);
        (kind, "[a-zé.]{0,20}", any::<u64>(), prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(kind, topic, number, payload)| Frame::about(kind, &topic, number, &payload))
    }

    #[test]
    fn malformed_heads_are_typed_errors() {
        let good = Frame::about(Kind::State, "ab", 7, b"x").head();
        let broken = |at: usize, value: u8| {
            let mut head = good;
            head[at] = value;
            let mut decoder = Decoder::new(MAX_LENGTH);
            decoder.feed(&[&head[..], b"abx"].concat(), []);
            decoder.next().map(|_| ()).unwrap_err()
        };
        assert_eq!(broken(4, 0), FrameError::UnknownKind(0));
        assert_eq!(broken(4, 200), FrameError::UnknownKind(200));
        assert_eq!(broken(3, 255), FrameError::TooLong { length: 0xff00_0003, limit: MAX_LENGTH });
        assert_eq!(broken(5, 4), FrameError::TopicTooLong { topic: 4, length: 3 });
        assert_eq!(broken(6, 1), FrameError::MissingDescriptors { announced: 1, came: 0 });
        assert_eq!(broken(7, 1), FrameError::Reserved(1));
    }

    #[test]
    fn descriptors_go_to_the_frames_that_announce_them() {
        let [a, b]: [OwnedFd; 2] = std::array::from_fn(|_| std::fs::File::open("/dev/null").unwrap().into());
        let shared = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
        let plain = Frame::new(Kind::Ready, 0, Bytes::new());
        let carrier = plain.clone().with_descriptors(vec![shared]);
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(&[wire(&plain), wire(&carrier), wire(&carrier)].concat(), [a, b]);
        let counts: Vec<_> = (0..3).map(|_| decoder.next().unwrap().unwrap().descriptors().len()).collect();
        assert_eq!(counts, [0, 1, 1]);
    }

    proptest! {
        #[test]
        fn frames_survive_any_split(frames in prop::collection::vec(any_frame(), 1..8), step in 1usize..97) {
            let bytes: Vec<u8> = frames.iter().flat_map(wire).collect();
            let mut decoder = Decoder::new(MAX_LENGTH);
            let mut out = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.feed(piece, []);
                while let Some(frame) = decoder.next().unwrap() {
                    out.push(seen(&frame));
                }
            }
            prop_assert_eq!(out, frames.iter().map(seen).collect::<Vec<_>>());
            prop_assert!(!decoder.is_mid_frame());
        }

        #[test]
        fn garbage_is_an_error_or_a_wait_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::new(MAX_LENGTH);
            decoder.feed(&bytes, []);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
