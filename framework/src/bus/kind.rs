//! All kinds of frames that there are: who sends them to whom, what they say, and what may come with them. Pure.

/// The most descriptors that the kernel carries in one message.
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// The most descriptors that go with one message.
pub(crate) const MAX_ATTACHMENTS: usize = 16;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What a frame is. `number` means what each kind says of it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Child to master: I run version `number` of the state `topic`; or, with a body, why I do not.
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
    /// Child to master: tell me what happens in the cluster; with a number, which is the request: who is there.
    Watch = 19,
    /// Master to child: something happened (`events::ClusterEvent`); with a number, the answer to that request: who is there
    /// (a list of `events::Present`).
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
    /// Master to child: there is room again for messages somewhere.
    Room = 29,
    /// Child to master: send me the keyed state `topic`.
    Observe = 30,
    /// Child to master: no more of the keyed state `topic`; master to child: it cannot be observed, the body says why.
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
    /// Agent to master (request): tell me when every worker runs the version of `topic` that the body says, or forget
    /// that request if there is no body; master to agent: it is so, or why that is not told.
    Everywhere = 37,
    /// Agent to master: the certificates in force, and why newer ones were refused (`status::TlsStatus`).
    Certificates = 38,
    /// Child to master: I have `number` descriptors in my hands that came with messages.
    Unloaded = 40,
    /// Master to child: log what goes by on these topics (`pattern::Patterns`).
    Trace = 41,
    /// Child to master, once: I have done my work; send me nothing more that wants a reader, and say when that is all.
    Leaving = 42,
    /// Master to child: no message and no question comes after this.
    Farewell = 43,
    /// Master to child, if its hello says that it takes such: `number` messages on `topic` in one frame.
    Messages = 44,
}

impl Kind {
    /// Whether it goes from one child to others.
    pub(crate) fn is_mail(self) -> bool {
        matches!(self, Self::Message | Self::Ask | Self::Reply | Self::Refusal | Self::Cancel)
    }

    /// The most descriptors that come with one.
    pub(super) fn most_descriptors(self) -> usize {
        match self {
            Self::Message => MAX_ATTACHMENTS,
            // The memory of a large value.
            Self::State | Self::Publish => 1,
            // The sockets of a group.
            Self::Welcome => MAX_DESCRIPTORS,
            _ => 0,
        }
    }

    /// The same for what comes from a child.
    pub(super) fn most_descriptors_of_child(self) -> usize {
        match self {
            Self::State | Self::Welcome => 0,
            kind => kind.most_descriptors(),
        }
    }

    /// Whether it is worth something without its descriptors, if it says that they were lost.
    pub(super) fn outlives_descriptors(self) -> bool {
        matches!(self, Self::Message | Self::State | Self::Publish)
    }
}
