//! The senders whose messages found no place, whatever there was too much of. Each is told once, by `Room`, when something
//! has changed there for which another try is worth it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::outside::OUTSIDE;
use super::receipts::is_for_one;
use super::seats::any_of;
use super::{Exchange, Ticket};
use crate::bus::control::Receipt;
use crate::bus::frame::{Frame, Kind};
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Form};
use crate::master::event::{Action, ChildId};

/// Who waits, by the name of what each waits for: a slot, a group or a process.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    senders: BTreeMap<Address, BTreeSet<ChildId>>,
}

impl Waiting {
    /// A message has no place at `missed`, a process or an empty slot. Its sender waits for whoever it may be for, if it
    /// wants to know.
    pub(super) fn await_place(
        &mut self,
        ticket: Option<Ticket>,
        missed: Address,
        parcel: &Parcel,
        receipt: &mut Receipt,
    ) {
        receipt.miss(missed);
        if let Some((sender, _)) = ticket.filter(|(sender, _)| *sender != OUTSIDE) {
            let to = if is_for_one(parcel) { parcel.route().to } else { missed };
            self.senders.entry(name_of(to)).or_default().insert(sender);
        }
    }

    /// Takes out who waits for a process, by whatever name, or for a slot or a group.
    fn take(&mut self, at: Address) -> BTreeSet<ChildId> {
        let of_group = matches!(at.form, Form::Worker | Form::Any | Form::Next).then(|| any_of(at.group));
        let names = [Address::process(at.pid), at.slot()].into_iter().chain(of_group);
        names.filter_map(|name| self.senders.remove(&name)).flatten().collect()
    }

    pub(super) fn leave(&mut self, id: ChildId) {
        self.senders.retain(|_, senders| {
            senders.remove(&id);
            !senders.is_empty()
        });
    }

    /// For how many names anybody waits.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.senders.len()
    }
}

/// What is waited for by who writes to this address: what else the address says makes no difference.
fn name_of(to: Address) -> Address {
    match to.form {
        Form::Any | Form::Next => any_of(to.group),
        Form::Process => Address::process(to.pid),
        _ => to.slot(),
    }
}

impl Exchange {
    /// Something has changed for a process, a slot or a group: who waits there tries again.
    pub(super) fn rouse(&mut self, at: Address, actions: &mut Vec<Action>) {
        for to in self.waiting.take(at) {
            actions.push(Action::Send { to, frame: Frame::new(Kind::Room, 0, vec![]) });
        }
    }

    /// There is room again for mail to a process.
    pub(crate) fn has_room(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        if let Some(address) = self.seats.address(id) {
            self.seats.note_room(id);
            self.rouse(address, actions);
        }
    }
}
