//! A frame: an envelope (`head`), a topic, a payload, and descriptors beside them; and all kinds of frames that there
//! are. Pure: `decoder` makes frames of bytes, `link` does the reading and writing.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

use super::head::{HEAD, Head, LOST, RECEIPT, Route};

/// The version of the envelope and of the bodies in `control`, said in the hello.
pub(crate) const PROTOCOL: u32 = 2;

/// The most bytes of topic and payload in one frame.
pub(crate) const MAX_LENGTH: usize = 64 << 20;

/// The most descriptors that the kernel carries in one message.
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// The most descriptors that go with one message.
pub(crate) const MAX_ATTACHMENTS: usize = 16;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What a frame is. `number` means what each kind says of it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Kind { $($(#[$doc])* $name = $code,)* }

        impl Kind {
            pub(super) fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];
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
    /// Child to child, by way of the master: a message on `topic`; `number` counts the sender's.
    Message = 23,
    /// Child to child: a question on `topic`, which wants an answer; `number` is the asker's.
    Ask = 24,
    /// Child to child: the answer to question `number` of the process `to`.
    Reply = 25,
    /// Child to child, or master to child: why question `number` has no answer (`control::Unanswered`).
    Refusal = 26,
    /// Child to child: nobody waits for the answer to question `number` any more.
    Cancel = 27,
    /// Master to child: what became of message `number` (`control::Receipt`).
    Receipt = 28,
    /// Master to child: there is room again for messages to `from`.
    Room = 29,
    /// Child to master: send me the keyed state `topic`.
    Observe = 30,
    /// Child to master: no more of the keyed state `topic`.
    Unobserve = 31,
    /// Master to agent: somebody observes the keyed state `topic`.
    Wanted = 32,
    /// Master to agent: nobody observes the keyed state `topic` any more.
    Unwanted = 33,
    /// Worker to master: my value of `topic`.
    Contribute = 34,
    /// Master to agent: the value of `topic` of the worker `from`; `number` counts its values.
    Contribution = 35,
    /// Master to agent: the worker `from` is gone, and its value of `topic` with it.
    Withdrawn = 36,
    /// Agent to master (request): tell me when every worker runs the version of `topic` that the body says; master to
    /// agent: it is so.
    Everywhere = 37,
    /// Child to master: I have `number` descriptors in my hands that came with messages.
    Unloaded = 40,
    /// Master to child: log what goes by on these topics (`pattern::Patterns`).
    Trace = 41,
}

impl Kind {
    /// Whether it goes from one child to others.
    pub(crate) fn is_mail(self) -> bool {
        matches!(self, Self::Message | Self::Ask | Self::Reply | Self::Refusal | Self::Cancel)
    }
}

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
        let lost = if flags & LOST == 0 { 0 } else { head.descriptors };
        Self { kind, topic_length, flags, number, route, content, descriptors, lost }
    }

    /// The same topic and payload, shared, under another kind and number.
    pub(crate) fn readdressed(&self, kind: Kind, number: u64) -> Self {
        Self { kind, number, ..self.clone() }
    }

    /// With this way to go.
    pub(crate) fn on(self, route: Route) -> Self {
        Self { route, ..self }
    }

    /// With the wish for a receipt.
    pub(crate) fn with_receipt(self) -> Self {
        Self { flags: self.flags | RECEIPT, ..self }
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
    #[error("{0} descriptors came that no frame announces")]
    Unannounced(usize),
    #[error(
        "the descriptors of a frame of the kind {0:?} found no place here: the limit of open files is reached"
    )]
    DescriptorsLost(Kind),
    #[error("a frame has the flags {0:#x}, of which some are unknown")]
    Flags(u8),
    #[error("a frame has an address of the unknown form {0}")]
    Address(u8),
}
