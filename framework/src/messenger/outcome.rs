//! What becomes of messages: why one was not sent, and who gets one to many.

use crate::bus::CodecError;
use crate::bus::control::Receipt;
use crate::bus::frame::MAX_ATTACHMENTS;
use crate::bus::peer::{Address, Peer, Roll, UnknownGroup};
use crate::bus::topic::BadTopic;
use crate::process::MasterGone;

/// A message that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The topic has a name that nothing may have.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// The cluster has no such group.
    #[error(transparent)]
    Group(#[from] UnknownGroup),
    /// The message cannot be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The message is larger than `bus.message_limit`.
    #[error("a message on `{topic}` has {length} bytes, over the limit of {limit}; raise bus.message_limit")]
    TooLarge {
        /// The topic's name.
        topic: &'static str,
        /// The size of topic and message.
        length: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// The message has too many attachments.
    #[error("a message on `{topic}` has {count} attachments: at most {MAX_ATTACHMENTS} go with one")]
    TooManyAttachments {
        /// The topic's name.
        topic: &'static str,
        /// How many there are.
        count: usize,
    },
    /// There is no such process.
    #[error("nobody can get the message for {0}: {1}; `status` shows who is there")]
    NoSuchPeer(Peer, String),
    /// Too much waits for the receiver already.
    #[error(
        "too much waits for {peer} already to take a message on `{topic}`: send it later, wait with `send_to`, or raise \
         bus.queue_limit",
        peer = .0.peer, topic = .0.topic
    )]
    Full(Errand),
    /// The master is gone.
    #[error(transparent)]
    MasterGone(#[from] MasterGone),
}

/// What was not brought, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// For whom it was.
    pub peer: Peer,
    /// The topic's name.
    pub topic: &'static str,
}

/// What became of a message to many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// For how many processes it is queued.
    pub queued: u32,
    /// The process ids of those who will not get it, because too much waits for them already; 0 for a slot that is
    /// empty for the moment.
    pub missed: Vec<u32>,
    /// The same by their slots, in the same order, so that a slot that is empty has a name, too. [`Peer::Process`] stands for
    /// all of them where the master is of a build that does not tell the slots.
    pub missed_by: Vec<Peer>,
}

impl Delivery {
    pub(super) fn of(receipt: Receipt, roll: &Roll) -> Self {
        let Receipt { queued, full, places, .. } = receipt;
        let peer_at = |at| roll.peer(Address::from_bytes(*places.get(at)?)?);
        let missed_by = full.iter().enumerate();
        let missed_by = missed_by.map(|(at, pid)| peer_at(at).unwrap_or(Peer::Process(*pid))).collect();
        Self { queued, missed: full, missed_by }
    }
}

/// Who misses a message to `to`, one or many; that is all that is known where the master is of a build that does not tell the
/// slots.
pub(super) fn missing(receipt: &Receipt, to: Address) -> Vec<Address> {
    if receipt.places.is_empty() && !receipt.full.is_empty() {
        return vec![to];
    }
    receipt.places.iter().filter_map(|place| Address::from_bytes(*place)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::peer::Form;

    #[test]
    fn who_misses_a_message_is_named_by_its_slot_if_the_master_tells_it() {
        let roll = Roll::new(["web".to_owned(), "jobs".to_owned()]);
        let worker = |group, pid| Address { group, index: 1, pid, ..Address::to(Form::Worker) };
        let mut receipt = Receipt { queued: 2, ..Receipt::default() };
        let places = [worker(0, 4711), worker(1, 0), Address::AGENT, worker(9, 8)];
        places.into_iter().for_each(|place| receipt.miss(place));
        let names =
            |receipt| Delivery::of(receipt, &roll).missed_by.iter().map(Peer::to_string).collect::<Vec<_>>();
        let delivery = Delivery::of(receipt.clone(), &roll);
        assert_eq!((delivery.queued, &delivery.missed[..]), (2, &[4711, 0, 0, 8][..]));
        assert_eq!(names(receipt.clone()), ["web.1", "jobs.1", "agent", "pid:8"]);
        let everyone = Address::to(Form::Everyone);
        assert_eq!(missing(&receipt, everyone), places);
        receipt.places.clear();
        assert_eq!(missing(&receipt, everyone), [everyone]);
        assert_eq!(missing(&Receipt { queued: 1, ..Receipt::default() }, everyone), []);
        assert_eq!(names(receipt)[..2], ["pid:4711", "pid:0"]);
    }
}
