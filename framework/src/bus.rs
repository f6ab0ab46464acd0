//! The bus: how the processes of one cluster talk.
//!
//! A `frame` is of a `kind`, and has an envelope, the `head`, and a payload (`codec`); `decoder` finds frames in bytes, or
//! what is relayed at once, a `parcel`. `link` is the two ends over a `socket`, with a bounded `outbox`. `topic` is the
//! names under which types travel, `pattern` which of them are meant, `peer` who sends and who is sent to, `wording` how
//! people write that, `settings` the limits, and `control` the bodies of the framework's own frames. A large `payload` is
//! made in `memory`, which is `sealed` and mapped; what an author keeps of one without a copy is `shared`. What may stay a
//! slice of a read is up to `slice`, and what may be said of a payload that does not fit, to `discretion`.

pub(crate) mod codec;
pub(crate) mod control;
pub(crate) mod decoder;
mod discretion;
#[cfg(test)]
mod document;
pub(crate) mod frame;
pub(crate) mod head;
pub(crate) mod kind;
pub(crate) mod link;
pub(crate) mod memory;
pub(crate) mod outbox;
mod packed;
pub(crate) mod parcel;
pub(crate) mod pattern;
pub(crate) mod payload;
pub(crate) mod peer;
mod sealed;
pub(crate) mod settings;
mod shared;
pub(crate) mod slice;
mod socket;
pub(crate) mod topic;
pub(crate) mod wording;

pub use codec::CodecError;
pub use peer::{Origin, Peer, UnknownGroup};
pub use settings::BusSettings;
pub use shared::SharedBytes;
pub use topic::{BadTopic, Topic};
pub use wording::BadPeer;
