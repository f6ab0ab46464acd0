//! What waits where nobody is: its figures, and what is given up of it when nobody comes any more, until the log tells of
//! that. Pure.

use std::collections::BTreeMap;

use super::Exchange;
use crate::bus::control::Unanswered;
use crate::bus::frame::Kind;
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Form};
use crate::master::event::{Action, ChildId, Topics, add};

/// Messages that the log has to tell of.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// By the place at which they waited: how many were given up.
    places: BTreeMap<Address, Topics>,
    /// By receiver: how many were dropped because too much waited.
    dropped: BTreeMap<ChildId, Topics>,
}

impl Exchange {
    /// Nobody will come there any more.
    pub(super) fn close(&mut self, place: Address, actions: &mut Vec<Action>) {
        self.rouse(place, actions);
        for parcel in self.backlogs.take(&[place]) {
            self.lose_at(place, &parcel, actions);
        }
    }

    /// What waits at a place will never arrive: the log tells of messages, and the askers of questions hear so.
    fn lose_at(&mut self, place: Address, parcel: &Parcel, actions: &mut Vec<Action>) {
        if parcel.kind() == Kind::Message {
            add(self.losses.places.entry(place).or_default(), parcel.topic(), parcel.count());
        }
        self.drop_at(place, parcel);
        self.leave_unanswered(None, parcel, &Unanswered::Gone, actions);
    }

    /// Counts what does not get to whoever comes to a place next.
    pub(super) fn drop_at(&mut self, place: Address, parcel: &Parcel) {
        let is_slot = matches!(place.form, Form::Agent | Form::Worker);
        self.traffic.dropped_at(is_slot.then(|| place.slot()), parcel.topic(), parcel.count());
    }

    /// How many messages and questions wait for whoever comes next, by topic.
    pub(crate) fn waiting_by_topic(&self) -> Topics {
        let mut topics = Topics::new();
        self.backlogs.parcels().for_each(|parcel| add(&mut topics, parcel.topic(), parcel.count()));
        topics
    }

    /// The bytes that wait for whoever comes next, in a slot or everywhere.
    pub(crate) fn waiting_bytes(&self, slot: Option<Address>) -> u64 {
        self.backlogs.bytes(slot) as u64
    }

    /// A message did not fit, and nobody is told so.
    pub(super) fn note_dropped(&mut self, to: ChildId, parcel: &Parcel) {
        if parcel.kind() == Kind::Message {
            add(self.losses.dropped.entry(to).or_default(), parcel.topic(), parcel.count());
        }
    }

    /// Takes out what was dropped, by receiver.
    pub(crate) fn take_dropped(&mut self) -> BTreeMap<ChildId, Topics> {
        std::mem::take(&mut self.losses.dropped)
    }

    /// Takes out what was given up, by place.
    pub(crate) fn take_losses(&mut self) -> BTreeMap<Address, Topics> {
        std::mem::take(&mut self.losses.places)
    }
}
