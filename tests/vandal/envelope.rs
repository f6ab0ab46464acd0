//! What goes on the link, byte by byte, as `docs/protocol.md` has it, and also as it should not be.

/// Kinds of frames, as the protocol numbers them.
pub(crate) const HELLO: u8 = 1;
pub(crate) const WELCOME: u8 = 2;
pub(crate) const READY: u8 = 3;
pub(crate) const PUBLISH: u8 = 7;
pub(crate) const FAILED: u8 = 6;
pub(crate) const PULSE: u8 = 13;
pub(crate) const MESSAGE: u8 = 23;
pub(crate) const ASK: u8 = 24;
pub(crate) const REPLY: u8 = 25;
pub(crate) const REFUSAL: u8 = 26;
pub(crate) const CANCEL: u8 = 27;

/// Forms of addresses.
pub(crate) const AGENT: u8 = 1;
pub(crate) const WORKER: u8 = 2;
pub(crate) const EVERYONE: u8 = 4;

/// An envelope, field by field.
#[derive(Clone, Copy, Default)]
pub(crate) struct Head {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) topic: u8,
    pub(crate) descriptors: u8,
    pub(crate) flags: u8,
    pub(crate) number: u64,
    pub(crate) to: [u8; 8],
    pub(crate) from: [u8; 8],
}

impl Head {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = self.length.to_le_bytes().to_vec();
        bytes.extend([self.kind, self.topic, self.descriptors, self.flags]);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.to.into_iter().chain(self.from).chain([0; 8]));
        bytes
    }
}

pub(crate) fn body(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [Head { kind, length, ..Head::default() }.bytes(), bytes.to_vec()].concat()
}

pub(crate) fn address(form: u8, group: u8, index: u8, pid: u32) -> [u8; 8] {
    let [a, b, c, d] = pid.to_le_bytes();
    [form, group, index, 0, a, b, c, d]
}

/// The index that stands for the agent.
pub(crate) const AGENTS: u8 = 99;

/// A map with one unknown field, which is a list of a list of a list …
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    [&[0x81, 0xa1, b'x'][..], &vec![0x91; depth]].concat()
}
