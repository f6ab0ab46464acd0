//! One process of the model: what it has, what it waits for, and how its link is.

use super::*;

/// So many bytes wait for a process that is stopped; and for one that is not there yet.
pub(super) const QUEUE: usize = 600;

/// How a question can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Answered,
    Refused,
    Cancelled,
    AskerGone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Link {
    #[default]
    Open,
    Shut,
    /// Something came back from it.
    KnownShut,
    /// The master has read to its end.
    Lost,
}

impl Link {
    pub(super) fn is_known_shut(self) -> bool {
        matches!(self, Self::KnownShut | Self::Lost)
    }
}

/// A message of which its sender wants to know what becomes of it.
#[derive(Debug, Clone)]
pub(super) struct Try {
    pub(super) to: Address,
    pub(super) topic: usize,
    pub(super) size: usize,
    pub(super) length: usize,
    pub(super) attachments: usize,
    /// Whether it was told meanwhile that another try is worth it.
    pub(super) roused: bool,
}

impl Try {
    pub(super) fn is_for_one(&self) -> bool {
        !matches!(self.to.form, Form::Everyone | Form::Others | Form::Group)
    }
}

#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) last_number: u64,
    pub(super) stopped: bool,
    pub(super) link: Link,
    pub(super) room_awaited: bool,
    /// What came while it was stopped.
    pub(super) waiting: Vec<Parcel>,
    /// The descriptors that it has in its hands and has not confirmed.
    pub(super) unconfirmed: usize,
    /// By sender and topic: the number of the last message.
    pub(super) heard: HashMap<(u64, String), u64>,
    /// The same of messages to a slot alone.
    pub(super) heard_in_slot: HashMap<(u64, String), u64>,
    /// Questions that were given up while they waited.
    pub(super) cancelled: Vec<(Address, u64)>,
    /// What it was asked, by whom.
    pub(super) asked: Vec<(Address, u64)>,
    /// What it wants to know.
    pub(super) open: Vec<u64>,
    /// What it has sent and not heard of yet.
    pub(super) tries: BTreeMap<u64, Try>,
    /// What found no place; it was not told yet that another try is worth it.
    pub(super) full: Vec<Try>,
    /// What it tries again, for it was told.
    pub(super) again: Vec<Try>,
}

impl Process {
    /// Whether a parcel finds room in the queue towards it.
    pub(super) fn has_room(&self, parcel: &Parcel) -> bool {
        let waiting: usize = self.waiting.iter().map(Parcel::wire_length).sum();
        waiting == 0 || waiting + parcel.wire_length() <= QUEUE
    }

    /// It is told what became of a message. Nobody comes soon to those slots that are given up.
    pub(super) fn take_receipt(
        &mut self,
        number: u64,
        receipt: &Receipt,
        given_up: &BTreeSet<Address>,
    ) -> Try {
        let made = self.tries.remove(&number).expect("it is awaited");
        let (waits, again) = (Try { roused: false, ..made.clone() }, made.roused);
        let list = if again { &mut self.again } else { &mut self.full };
        if made.is_for_one() {
            list.extend((receipt.queued == 0 && receipt.nobody.is_none()).then_some(waits));
        } else {
            let missed = receipt.places.iter().filter_map(|place| Address::from_bytes(*place));
            let missed = missed.map(one).filter(|at| !given_up.contains(at));
            list.extend(missed.map(|to| Try { to, ..waits.clone() }));
        }
        made
    }

    /// Another try is worth it, of all that found no place: it is not told of which.
    pub(super) fn rouse(&mut self) {
        self.again.append(&mut self.full);
        self.tries.values_mut().for_each(|made| made.roused = true);
    }
}

/// Of those who miss a message to many: the process, or the slot in which nobody is.
fn one(missed: Address) -> Address {
    assert!(matches!(missed.form, Form::Agent | Form::Worker), "{missed:?} is no slot");
    if missed.pid == 0 { missed } else { Address::process(missed.pid) }
}
