//! What became of messages whose senders want to know: collected until all is known, and told. Pure.

use super::outside::OUTSIDE;
use super::{Exchange, Ticket, ticket_of};
use crate::bus::codec;
use crate::bus::control::Receipt;
use crate::bus::frame::{Frame, Kind};
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Form};
use crate::master::event::{Action, ChildId};

/// Whether a message is for one process, whoever that is.
pub(super) fn is_for_one(parcel: &Parcel) -> bool {
    let form = parcel.route().to.form;
    !matches!(form, Form::Everyone | Form::Others | Form::Group)
}

impl Exchange {
    /// Counts what was passed on to a process in vain: as nothing, if its sender is about to be told that it was not taken, and
    /// as lost otherwise. Returns whether the sender is told.
    pub(super) fn write_off(&mut self, to: ChildId, parcel: &Parcel) -> bool {
        let is_told = is_for_one(parcel) && self.ticket_of_open(parcel).is_some();
        let (topic, count) = (parcel.topic(), parcel.count());
        self.traffic.returned(to, topic, count, parcel.wire_length());
        if is_told {
            self.traffic.unsent(topic, count);
        } else {
            self.traffic.dropped(Some(to), topic, count);
        }
        is_told
    }

    /// A message has no place at `missed`, a process or an empty slot: it counts as nothing, if its sender is told that it was
    /// not taken, and as lost otherwise.
    pub(super) fn turn_away(
        &mut self,
        sender: ChildId,
        missed: Address,
        parcel: &Parcel,
        receipt: &mut Receipt,
    ) {
        let (ticket, topic, count) = (ticket_of(sender, parcel), parcel.topic(), parcel.count());
        if ticket.is_some() && is_for_one(parcel) {
            self.traffic.unsent(topic, count);
        } else if let Some(to) = self.seats.holder(missed.pid) {
            self.traffic.dropped(Some(to), topic, count);
        } else {
            self.drop_at(missed, parcel);
        }
        self.waiting.await_place(ticket, missed, parcel, receipt);
    }

    /// There is nobody whom a message could get to: it counts as nothing, if its sender is told that, and as lost otherwise.
    pub(super) fn count_unmet(&mut self, is_told: bool, parcel: &Parcel) {
        if is_told && is_for_one(parcel) {
            self.traffic.unsent(parcel.topic(), parcel.count());
        } else {
            self.traffic.dropped(None, parcel.topic(), parcel.count());
        }
    }

    /// The ticket of a message whose receipt is still open.
    fn ticket_of_open(&self, parcel: &Parcel) -> Option<Ticket> {
        let from = parcel.route().from;
        let sender = if from == Address::default() { OUTSIDE } else { self.seats.holder(from.pid)? };
        let ticket = ticket_of(sender, parcel)?;
        self.receipts.contains_key(&ticket).then_some(ticket)
    }

    /// A message did not get to a process: its sender, if it wants to know, tries again when that has changed.
    pub(super) fn note_missed(&mut self, to: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) {
        let ticket = self.ticket_of_open(parcel);
        let Some(receipt) = ticket.and_then(|ticket| self.receipts.get_mut(&ticket)) else { return };
        receipt.queued = receipt.queued.saturating_sub(1);
        let missed = self.seats.address(to).or_else(|| self.traffic.slot_of_gone(to));
        let missed = missed.unwrap_or(parcel.route().to);
        self.waiting.await_place(ticket, missed, parcel, receipt);
        if !self.seats.is_reachable(to) {
            // Nothing changes there any more, and who tries again meets another.
            self.rouse(missed, actions);
        }
    }

    /// All that became of a message is known.
    pub(crate) fn confirm(&mut self, sender: ChildId, number: u64, actions: &mut Vec<Action>) {
        let Some(receipt) = self.receipts.remove(&(sender, number)) else { return };
        if sender == OUTSIDE {
            self.tell_caller(number, receipt, actions);
        } else {
            let body = codec::encode("a receipt", &receipt).unwrap_or_default();
            actions.push(Action::Send { to: sender, frame: Frame::new(Kind::Receipt, number, body) });
        }
    }
}
