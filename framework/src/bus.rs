//! The bus: how the processes of one cluster talk.
//!
//! `frame` is the envelope, `codec` the payload, `link` the two ends over a `socket`, with a bounded `outbox`, `topic` the
//! names under which types travel, and `control` the bodies of the framework's own frames.

pub(crate) mod codec;
pub(crate) mod control;
pub(crate) mod frame;
pub(crate) mod link;
pub(crate) mod outbox;
mod socket;
pub(crate) mod topic;

pub use codec::CodecError;
pub use topic::Topic;
