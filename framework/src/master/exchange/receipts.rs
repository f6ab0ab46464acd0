//! What became of messages whose senders want to know: collected until all is known, and told. Pure.

use super::outside::OUTSIDE;
use super::{Exchange, number_of};
use crate::bus::codec;
use crate::bus::decoder::Parcel;
use crate::bus::frame::{Frame, Kind};
use crate::bus::peer::Address;
use crate::master::event::{Action, ChildId};

impl Exchange {
    /// A message did not fit.
    pub(super) fn note_refusal(&mut self, to: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) {
        if self.note_missed(to, parcel, actions) {
            actions.push(Action::AwaitRoom { id: to });
        }
    }

    /// A message did not get to a process; whether its sender is the first that waits for room there.
    pub(super) fn note_missed(&mut self, to: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) -> bool {
        let from = parcel.route().from;
        let sender = if from == Address::default() { Some(OUTSIDE) } else { self.seats.holder(from.pid) };
        let Some(sender) = sender else { return false };
        let Some(receipt) = self.receipts.get_mut(&(sender, number_of(parcel))) else { return false };
        receipt.queued = receipt.queued.saturating_sub(1);
        let Some(address) = self.seats.address(to) else {
            // It is gone by now: who tries again meets the successor.
            if sender != OUTSIDE {
                actions.push(Action::Send { to: sender, frame: Frame::new(Kind::Room, 0, vec![]) });
            }
            return false;
        };
        receipt.full.push(address.pid);
        if sender == OUTSIDE {
            return false;
        }
        let waiting = self.crowded.entry(address).or_default();
        let is_first = waiting.is_empty();
        waiting.insert(sender);
        is_first
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
