//! Who comes and who goes, and what becomes of what was under way with them. Pure.

use std::collections::BTreeSet;

use super::seats::{Goal, Seat, any_of};
use super::{Exchange, seats};
use crate::bus::control::{Receipt, Unanswered};
use crate::bus::frame::Kind;
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Form};
use crate::master::event::{Action, ChildId, Topics, add};

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
        for address in change.moved {
            self.rouse(address, actions);
        }
        for Seat { id, address, .. } in change.come {
            let group = (address.form == Form::Worker).then(|| any_of(address.group));
            let places: Vec<Address> = [address.slot()].into_iter().chain(group).collect();
            for parcel in self.backlogs.take(&places) {
                self.hand_over(id, parcel, actions);
            }
        }
    }

    /// Gives a process what has waited for it elsewhere: it was bounded there, and was confirmed, so that no queue is too full
    /// for it.
    fn hand_over(&mut self, to: ChildId, parcel: Parcel, actions: &mut Vec<Action>) {
        let place = parcel.route().to;
        if matches!(place.form, Form::Agent | Form::Worker) {
            self.seats.note_latest(place.slot(), to);
        }
        self.note_delivered(&[to], &parcel);
        actions.push(Action::HandOver { to, parcel });
    }

    /// Takes note of the slots in which nobody is, and the next one comes late. Only broadcasts wait there, and what waits
    /// already, but no question: who writes there, or asks, hears so.
    pub(crate) fn give_up_on(&mut self, slots: BTreeSet<Address>, actions: &mut Vec<Action>) {
        for place in self.seats.give_up_on(slots) {
            self.rouse(place, actions);
            for question in self.backlogs.take_questions(place) {
                self.refuse_unmet(&question, seats::GAVE_UP, actions);
            }
        }
    }

    /// A process has ended, after all that was left of its mail was taken back.
    pub(crate) fn ended(&mut self, id: ChildId) {
        self.seats.forget(id);
    }

    /// All this did not get to a process before its link was closed: it is at its end. Returns the messages that
    /// are lost.
    pub(crate) fn take_back(&mut self, of: ChildId, parcels: &[Parcel], actions: &mut Vec<Action>) -> Topics {
        self.shut(of, actions);
        // What others of the slot have got is newer; what goes on now goes in its order.
        let is_latest = !self.seats.is_superseded(of);
        let mut lost = Topics::new();
        for parcel in parcels {
            if !self.hand_on(of, is_latest, parcel, actions) {
                add(&mut lost, parcel.topic(), parcel.count());
            }
        }
        lost
    }

    /// Nothing gets to a process any more: who waits there tries again.
    pub(crate) fn shut(&mut self, id: ChildId, actions: &mut Vec<Action>) {
        if let Some(address) = self.seats.shut(id) {
            self.rouse(address, actions);
        }
    }

    /// What is meant for a slot, or for any of a group, goes where it would go if it were sent now; what is for a slot before
    /// all that has come since. Anything else is lost, and who waits is told. Returns whether it is on its way, or whoever sent it knows better.
    fn hand_on(&mut self, of: ChildId, is_latest: bool, parcel: &Parcel, actions: &mut Vec<Action>) -> bool {
        self.luggage.unload(of, parcel.descriptors());
        let may_go_on = match parcel.route().to.form {
            Form::Any | Form::Next => true,
            Form::Agent | Form::Worker => is_latest,
            _ => false,
        };
        let is_message = parcel.kind() == Kind::Message;
        if is_message && may_go_on && self.pass_to_another(of, parcel, actions) {
            self.traffic.returned(of, parcel.topic(), parcel.count(), parcel.wire_length());
            return true;
        }
        let is_told = self.write_off(of, parcel);
        if !is_message {
            self.leave_unanswered(Some(of), parcel, &Unanswered::Gone, actions);
            return true;
        }
        self.note_missed(of, parcel, actions);
        is_told
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
        for &place in places {
            match self.backlogs.push(place, kept.clone()) {
                Ok(()) => receipt.queued += 1,
                Err(_) => self.turn_away(from, place, parcel, receipt),
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
        let is_for_slot = matches!(parcel.route().to.form, Form::Agent | Form::Worker);
        match self.goal(of, parcel) {
            Goal::These(others) if is_for_slot => {
                others.iter().for_each(|heir| self.hand_over(*heir, parcel.clone(), actions));
                true
            }
            Goal::These(others) => {
                let other = others.into_iter().find(|other| self.has_place(*other, parcel));
                other.inspect(|other| self.deliver(&[*other], parcel.clone(), actions)).is_some()
            }
            Goal::Later(place) if is_for_slot => self.backlogs.put_back(place, parcel.clone().kept()).is_ok(),
            Goal::Later(place) => self.backlogs.push(place, parcel.clone().kept()).is_ok(),
            Goal::All { .. } | Goal::Nobody(_) => false,
        }
    }

    fn forget(&mut self, id: ChildId, address: Address, actions: &mut Vec<Action>) {
        self.give_up_answers(id, actions);
        self.withdraw_all(id, address, actions);
        self.receipts.retain(|(sender, _), _| *sender != id);
        self.waiting.leave(id);
        self.luggage.leave(id);
        self.traffic.leave(id, address.slot());
    }
}
