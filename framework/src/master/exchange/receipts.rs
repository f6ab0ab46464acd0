//! What became of messages whose senders want to know: collected until all is known, and told. Pure.

use super::outside::OUTSIDE;
use super::seats::any_of;
use super::{Exchange, number_of};
use crate::bus::codec;
use crate::bus::decoder::Parcel;
use crate::bus::frame::{Frame, Kind};
use crate::bus::peer::{Address, Form};
use crate::master::event::{Action, ChildId};

impl Exchange {
    /// A message did not get to a process: its sender, if it wants to know, is told when there is room.
    pub(super) fn note_missed(&mut self, to: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) {
        let from = parcel.route().from;
        let sender = if from == Address::default() { Some(OUTSIDE) } else { self.seats.holder(from.pid) };
        let Some(sender) = sender else { return };
        let Some(receipt) = self.receipts.get_mut(&(sender, number_of(parcel))) else { return };
        receipt.queued = receipt.queued.saturating_sub(1);
        let Some(address) = self.seats.address(to) else {
            // It is gone by now: who tries again meets the successor.
            if sender != OUTSIDE {
                actions.push(Action::Send { to: sender, frame: Frame::new(Kind::Room, 0, vec![]) });
            }
            return;
        };
        receipt.full.push(address.pid);
        if sender == OUTSIDE {
            return;
        }
        self.crowded.entry(address).or_default().insert(sender);
        let to = parcel.route().to;
        if matches!(to.form, Form::Any | Form::Next) {
            // Any other will do, be it one that comes.
            for place in self.seats.full_of(to.group).chain([any_of(to.group)]) {
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
