//! What became of messages whose senders want to know: collected until all is known, and told. Pure.

use super::outside::OUTSIDE;
use super::seats::any_of;
use super::{Exchange, Ticket, ticket_of};
use crate::bus::codec;
use crate::bus::frame::{Frame, Kind};
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Form};
use crate::master::event::{Action, ChildId};

/// Whether a message is for one process, whoever that is.
pub(super) fn is_for_one(parcel: &Parcel) -> bool {
    let form = parcel.route().to.form;
    matches!(form, Form::Agent | Form::Worker | Form::Process | Form::Any | Form::Next)
}

impl Exchange {
    /// Counts what was passed on to a process in vain: as nothing, if its sender is about to be told that it was not taken, and
    /// as lost otherwise. Returns whether the sender is told.
    pub(super) fn write_off(&mut self, to: ChildId, parcel: &Parcel) -> bool {
        let is_told = is_for_one(parcel) && self.ticket_of_open(parcel).is_some();
        if is_told {
            self.traffic.returned(to, parcel.topic(), parcel.count(), parcel.wire_length());
            self.traffic.unsent(parcel.topic(), parcel.count());
        } else {
            self.traffic.dropped(Some(to), parcel.topic(), parcel.count());
        }
        is_told
    }

    /// The ticket of a message whose receipt is still open.
    fn ticket_of_open(&self, parcel: &Parcel) -> Option<Ticket> {
        let from = parcel.route().from;
        let sender = if from == Address::default() { OUTSIDE } else { self.seats.holder(from.pid)? };
        let ticket = ticket_of(sender, parcel)?;
        self.receipts.contains_key(&ticket).then_some(ticket)
    }

    /// A message did not get to a process: its sender, if it wants to know, is told when there is room.
    pub(super) fn note_missed(&mut self, to: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) {
        let Some(ticket) = self.ticket_of_open(parcel) else { return };
        let sender = ticket.0;
        let Some(receipt) = self.receipts.get_mut(&ticket) else { return };
        receipt.queued = receipt.queued.saturating_sub(1);
        let Some(address) = self.seats.address(to) else {
            // It is gone by now: who tries again meets the successor.
            if sender != OUTSIDE {
                actions.push(Action::Send { to: sender, frame: Frame::new(Kind::Room, 0, vec![]) });
            }
            return;
        };
        receipt.miss(address);
        if sender == OUTSIDE {
            return;
        }
        self.crowded.entry(address).or_default().insert(sender);
        let to = parcel.route().to;
        if matches!(to.form, Form::Any | Form::Next) {
            // Any other will do, be it one that comes.
            let to_come = self.seats.has_group(to.group).then(|| any_of(to.group));
            for place in self.seats.full_of(to.group).chain(to_come) {
                self.crowded.entry(place).or_default().insert(sender);
            }
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
