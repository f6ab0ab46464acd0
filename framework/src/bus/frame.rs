//! A frame: an envelope (`head`), a topic, a payload, and descriptors beside them. Pure: `decoder` makes frames of bytes,
//! `link` does the reading and writing.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

use super::head::{HEAD, Head, LOST, MEMFD, RECEIPT, Route};
use super::slice;

pub(crate) use super::head::FrameError;
pub(crate) use super::kind::{Kind, MAX_ATTACHMENTS, MAX_DESCRIPTORS};

/// The version of the envelope and of the bodies in `control`, said in the hello.
pub(crate) const PROTOCOL: u32 = 3;

/// The most bytes of topic and payload in one frame.
pub(crate) const MAX_LENGTH: usize = 64 << 20;

/// One frame. Clones share the payload and the descriptors.
#[derive(Clone)]
pub(crate) struct Frame {
    kind: Kind,
    topic_length: u8,
    flags: u8,
    number: u64,
    route: Route,
    content: Bytes,
    descriptors: Vec<Arc<OwnedFd>>,
    /// The bytes in sealed memory, once somebody has looked; not on the wire.
    sealed: Option<u64>,
    /// How many came no further than to here.
    lost: u8,
}

impl Frame {
    /// A frame without a topic.
    pub(crate) fn new(kind: Kind, number: u64, body: impl Into<Bytes>) -> Self {
        Self {
            kind,
            topic_length: 0,
            flags: 0,
            number,
            route: Route::default(),
            content: body.into(),
            descriptors: Vec::new(),
            sealed: None,
            lost: 0,
        }
    }

    /// A frame about a topic; the name was checked when it was registered and is cut to 255 bytes here.
    pub(crate) fn about(kind: Kind, topic: &str, number: u64, payload: &[u8]) -> Self {
        let topic_length = u8::try_from(topic.len()).unwrap_or(u8::MAX);
        let topic = &topic.as_bytes()[..usize::from(topic_length)];
        Self { topic_length, ..Self::new(kind, number, [topic, payload].concat()) }
    }

    /// A frame about a topic, which `content` begins with.
    pub(crate) fn of_content(kind: Kind, topic: &str, number: u64, content: Vec<u8>) -> Self {
        Self {
            topic_length: u8::try_from(topic.len()).unwrap_or(u8::MAX),
            ..Self::new(kind, number, content)
        }
    }

    pub(super) fn from_wire(head: &Head, content: Bytes, descriptors: Vec<Arc<OwnedFd>>) -> Self {
        let Head { kind, topic_length, flags, number, route, .. } = *head;
        let came = u8::try_from(descriptors.len()).unwrap_or(u8::MAX);
        let lost = head.descriptors.saturating_sub(came);
        Self { kind, topic_length, flags, number, route, content, descriptors, sealed: None, lost }
    }

    /// The same topic and payload, shared, under another kind and number.
    pub(crate) fn readdressed(&self, kind: Kind, number: u64) -> Self {
        Self { kind, number, ..self.clone() }
    }

    /// The same for whoever keeps it: it keeps no more memory than it counts.
    pub(crate) fn kept(&self) -> Self {
        Self { content: slice::kept(&self.content), ..self.clone() }
    }

    /// With this way to go.
    pub(crate) fn on(self, route: Route) -> Self {
        Self { route, ..self }
    }

    /// With the wish for a receipt.
    pub(crate) fn with_receipt(self) -> Self {
        Self { flags: self.flags | RECEIPT, ..self }
    }

    /// An answer to a frame whose descriptors were lost.
    pub(crate) fn about_loss(self) -> Self {
        Self { flags: self.flags | LOST, ..self }
    }

    pub(crate) fn with_descriptors(mut self, descriptors: Vec<Arc<OwnedFd>>) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// With a payload of `length` bytes in sealed memory, in place of the one in the frame.
    pub(crate) fn with_memory(mut self, memory: Arc<OwnedFd>, length: u64) -> Self {
        self.flags |= MEMFD;
        self.sealed = Some(length);
        self.with_descriptors(vec![memory])
    }

    /// Whether the payload is said to be in sealed memory.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.flags & MEMFD != 0
    }

    /// The bytes of the payload, wherever it is; `None` for memory that nobody has looked at.
    pub(crate) fn payload_length(&self) -> Option<u64> {
        if self.is_in_memory() { self.sealed } else { Some(self.payload().len() as u64) }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn route(&self) -> Route {
        self.route
    }

    pub(crate) fn wants_receipt(&self) -> bool {
        self.flags & RECEIPT != 0
    }

    /// Whether it had descriptors, for which there was no place on the way.
    pub(crate) fn lost_descriptors(&self) -> bool {
        self.flags & LOST != 0
    }

    /// Whether the other end of the link says so, and it was not found out here.
    pub(crate) fn came_without_descriptors(&self) -> bool {
        self.lost_descriptors() && self.lost == 0
    }

    /// How many descriptors it was sent with by the other end of the link.
    pub(crate) fn announced(&self) -> usize {
        self.descriptors.len() + usize::from(self.lost)
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
        let Self { kind, topic_length, flags, number, route, .. } = *self;
        let length = u32::try_from(self.content.len()).unwrap_or(u32::MAX);
        let descriptors = u8::try_from(self.descriptors.len()).unwrap_or(u8::MAX);
        Head { length, kind, topic_length, descriptors, flags, number, route }.to_bytes()
    }
}

/// Names kind, topic and sizes, never the payload: it is the author's.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} #{} ({} bytes", self.kind, self.topic(), self.number, self.payload().len())?;
        write!(f, ", {} descriptors)", self.descriptors.len())
    }
}
