//! What waits where nobody is: its figures, and what is given up of it when nobody comes any more, until the log tells of
//! that. Pure.

use std::collections::BTreeMap;

use super::Exchange;
use crate::bus::control::Unanswered;
use crate::bus::frame::Kind;
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Form};
use crate::master::event::{Action, Topics};

/// By the place at which they waited: how many messages were given up.
#[derive(Debug, Default)]
pub(super) struct Losses {
    places: BTreeMap<Address, Topics>,
}

/// Adds so many messages on a topic.
pub(super) fn add(topics: &mut Topics, topic: &str, count: u64) {
    match topics.get_mut(topic) {
        Some(known) => *known += count,
        None => _ = topics.insert(topic.into(), count),
    }
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

    /// Takes out what the log has to tell.
    pub(crate) fn take_losses(&mut self) -> BTreeMap<Address, Topics> {
        std::mem::take(&mut self.losses.places)
    }
}
