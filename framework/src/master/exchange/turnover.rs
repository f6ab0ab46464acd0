//! Who comes and who goes, and what becomes of what was under way with them. Pure.

use super::receipts::is_for_one;
use super::seats::{Goal, Seat, any_of};
use super::{Exchange, ticket_of};
use crate::bus::control::{Receipt, Unanswered};
use crate::bus::frame::{Frame, Kind};
use crate::bus::head::Route;
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Form};
use crate::master::event::{Action, ChildId};

impl Exchange {
    /// Takes note of who fills which slot now. `slots` are all that there are, also those that are empty.
    pub(crate) fn follow(&mut self, slots: Vec<Address>, seats: Vec<Seat>, actions: &mut Vec<Action>) {
        let Some(change) = self.seats.follow(slots, seats) else { return };
        for (id, address) in change.gone {
            self.forget(id, address, actions);
        }
        for slot in change.closed {
            self.close(slot, actions);
            if slot.form == Form::Worker && !self.seats.has_group(slot.group) {
                self.close(any_of(slot.group), actions);
            }
        }
        for Seat { id, address, .. } in change.come {
            let group = (address.form == Form::Worker).then(|| any_of(address.group));
            let places: Vec<Address> = [address.slot()].into_iter().chain(group).collect();
            places.iter().for_each(|place| self.tell_of_room(*place, actions));
            for parcel in self.backlogs.take(&places) {
                self.deliver(&[id], parcel, actions);
            }
        }
    }

    /// A parcel met a closed link: the process is at its end, and gets nothing new any more. What is meant for a slot or for
    /// any of a group goes where it would go if it were sent now; anything else is lost, and its sender is told.
    pub(crate) fn returned(&mut self, to: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) {
        self.hand_on(to, parcel, actions);
    }

    /// Returns how many messages are lost.
    fn hand_on(&mut self, to: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) -> u64 {
        self.unloaded(to, parcel.descriptors(), actions);
        self.seats.shut(to);
        let may_go_on = match parcel.route().to.form {
            Form::Any | Form::Next => true,
            // What others have got meanwhile is newer.
            Form::Agent | Form::Worker => !self.seats.is_superseded(to),
            _ => false,
        };
        let is_message = parcel.kind() == Kind::Message;
        if is_message && may_go_on && self.pass_to_another(to, parcel, actions) {
            self.traffic.returned(to, parcel.topic(), parcel.count(), parcel.wire_length());
            return 0;
        }
        let is_told = self.write_off(to, parcel);
        // Questions are given up with the process. No room is awaited at what is closed: its end is told.
        if !is_message {
            return 0;
        }
        self.note_missed(to, parcel, actions);
        if is_told { 0 } else { parcel.count() }
    }

    /// All this waited for a process when it ended; returns how many messages are lost with it.
    pub(crate) fn take_back(&mut self, of: ChildId, parcels: &[Parcel], actions: &mut Vec<Action>) -> u64 {
        parcels.iter().map(|parcel| self.hand_on(of, parcel, actions)).sum()
    }

    /// Keeps a message for whoever comes to these places.
    pub(super) fn put_aside(
        &mut self,
        from: ChildId,
        places: &[Address],
        parcel: &Parcel,
        receipt: &mut Receipt,
    ) {
        if places.is_empty() {
            return;
        }
        let kept = parcel.clone().kept();
        let is_try = ticket_of(from, parcel).is_some() && is_for_one(parcel);
        for &place in places {
            if self.backlogs.push(place, kept.clone()).is_ok() {
                receipt.queued += 1;
                continue;
            }
            receipt.miss(place);
            if is_try {
                self.traffic.unsent(parcel.topic(), parcel.count());
                self.crowded.entry(place).or_default().insert(from);
                if parcel.descriptors() > 0 {
                    self.await_unloading(from);
                }
            } else {
                self.traffic.dropped(None, parcel.topic(), parcel.count());
            }
        }
    }

    /// Whether what was for one of a group, and did not fit `to`, goes to another who has room.
    pub(super) fn pass_over(&mut self, to: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) -> bool {
        let is_new = matches!(parcel.kind(), Kind::Message | Kind::Ask);
        if !is_new || !matches!(parcel.route().to.form, Form::Any | Form::Next) {
            return false;
        }
        let Goal::These(others) = self.goal(to, parcel) else { return false };
        let other = others.into_iter().find(|id| self.seats.has_room(*id) && self.has_place(*id, parcel));
        other.is_some_and(|other| {
            self.traffic.returned(to, parcel.topic(), parcel.count(), parcel.wire_length());
            self.deliver(&[other], parcel.clone(), actions);
            true
        })
    }

    /// Whether there is a place for what did not get to `of`, with another or with whoever comes next.
    fn pass_to_another(&mut self, of: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) -> bool {
        match self.goal(of, parcel) {
            Goal::These(others) => {
                let other = others.into_iter().find(|other| self.has_place(*other, parcel));
                other.inspect(|other| self.deliver(&[*other], parcel.clone(), actions)).is_some()
            }
            Goal::Later(place) => self.backlogs.push(place, parcel.clone().kept()).is_ok(),
            Goal::All { .. } | Goal::Nobody => false,
        }
    }

    /// Nobody will come there any more.
    fn close(&mut self, place: Address, actions: &mut Vec<Action>) {
        self.tell_of_room(place, actions);
        for parcel in self.backlogs.take(&[place]) {
            self.give_up(&parcel, &Unanswered::Gone, actions);
        }
        self.tell_of_unloading(actions);
    }

    /// Takes questions of a process that wait for whoever comes next out of where they wait.
    pub(super) fn withdraw(&mut self, asker: Address, number: Option<u64>) {
        for parcel in self.backlogs.cancel(asker, number) {
            self.traffic.dropped(None, parcel.topic(), 1);
        }
    }

    fn forget(&mut self, id: ChildId, address: Address, actions: &mut Vec<Action>) {
        for (asker, number) in self.calls.answerer_gone(id) {
            self.refuse(asker, number, &Unanswered::Gone, actions);
        }
        for (number, answerer, asker) in self.calls.asker_gone(id) {
            let frame =
                Frame::new(Kind::Cancel, number, vec![]).on(Route { from: asker, ..Route::default() });
            actions.push(Action::Send { to: answerer, frame });
        }
        // Another process may get its process id, and ask under the same numbers.
        self.withdraw(address, None);
        self.receipts.retain(|(sender, _), _| *sender != id);
        for waiting in self.crowded.values_mut() {
            waiting.remove(&id);
        }
        // Who waits for room at one that is gone tries again, and meets the successor.
        self.tell_of_room(address, actions);
        self.abandon_luggage(id, actions);
        self.traffic.leave(id, address.slot());
    }
}
