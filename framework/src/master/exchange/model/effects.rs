//! What the exchange wants is done, as the master does it.

use super::*;

impl World {
    /// Does what the exchange wants, as the master does it: what follows from it comes after all of it.
    pub(super) fn act(&mut self, act: impl FnOnce(&mut Exchange, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        act(&mut self.exchange, &mut actions);
        let mut confirmations = Vec::new();
        while !actions.is_empty() {
            let mut next = Vec::new();
            for action in actions {
                match action {
                    Action::Confirm { .. } => confirmations.push(action),
                    other => self.apply(other, &mut next),
                }
            }
            if next.is_empty() && !confirmations.is_empty() {
                let Action::Confirm { to, number } = confirmations.remove(0) else { unreachable!() };
                self.exchange.confirm(to, number, &mut next);
            }
            actions = next;
        }
    }

    fn apply(&mut self, action: Action, next: &mut Vec<Action>) {
        match action {
            Action::Deliver { to, parcel } => {
                let parted = |seat: &Seat| seat.id == to && seat.standing == Standing::Parted;
                let is_answer = parcel.kind() == Kind::Reply;
                assert!(is_answer || !self.seats.iter().any(parted), "{to:?} gets something new");
                let process = self.processes.get_mut(&to).expect("nothing is delivered to one that is gone");
                if process.link != Link::Open {
                    process.waiting.push(parcel);
                    self.take_back(to, next);
                } else if !process.stopped {
                    self.arrive(to, &parcel);
                } else if process.has_room(&parcel) {
                    process.waiting.push(parcel);
                } else {
                    self.exchange.undelivered(to, &parcel, next);
                }
            }
            Action::Kill { id } => self.take_back(id, next),
            Action::AwaitRoom { id } => {
                self.processes.get_mut(&id).expect("it is there").room_awaited = true;
            }
            Action::Send { to, frame } => {
                // The master knows that it has no link to one that is gone.
                let Some(process) = self.processes.get_mut(&to) else { return };
                match frame.kind() {
                    Kind::Receipt => {
                        let receipt: Receipt =
                            codec::decode("a receipt", frame.payload()).expect("it is one");
                        let made = process.take_receipt(frame.number(), &receipt);
                        // A try that was refused is no sent message.
                        let is_refused = made.is_for_one() && receipt.queued == 0 && receipt.nobody.is_none();
                        self.expected -= u64::from(is_refused);
                    }
                    Kind::Refusal => self.close(to, frame.number(), End::Refused),
                    Kind::Cancel => {
                        let asker = frame.route().from;
                        process.asked.retain(|asked| *asked != (asker, frame.number()));
                        process.cancelled.push((asker, frame.number()));
                    }
                    Kind::Room => process.rouse(),
                    kind => panic!("{to:?} gets {kind:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Its end is known: what waits for it goes elsewhere.
    fn take_back(&mut self, of: ChildId, next: &mut Vec<Action>) {
        let process = self.processes.get_mut(&of).expect("it is there");
        process.link = if process.link == Link::Lost { Link::Lost } else { Link::KnownShut };
        let left = std::mem::take(&mut process.waiting);
        self.late.extend(left.iter().filter(|it| it.kind() == Kind::Message).flat_map(numbers));
        self.exchange.take_back(of, &left, next);
    }

    pub(super) fn arrive(&mut self, to: ChildId, parcel: &Parcel) {
        self.arrived += parcel.count();
        let process = self.processes.get_mut(&to).expect("it is there");
        process.unconfirmed += parcel.descriptors();
        let from = parcel.route().from;
        match parcel.kind() {
            Kind::Message => {
                for number in numbers(parcel) {
                    let key = || (number / MESSAGES, parcel.topic().to_owned());
                    let last = process.heard.entry(key()).or_default();
                    let is_late = self.late.contains(&number);
                    assert!(is_late || number > *last, "{number} of {from:?} comes after {last}");
                    *last = number.max(*last);
                    if matches!(parcel.route().to.form, Form::Agent | Form::Worker) {
                        let last = process.heard_in_slot.entry(key()).or_default();
                        assert!(number > *last, "{number} of {from:?} comes after {last} for the slot");
                        *last = number;
                    }
                }
            }
            Kind::Ask if process.cancelled.contains(&(from, number_of(parcel))) => {}
            Kind::Ask => process.asked.push((from, number_of(parcel))),
            Kind::Reply => self.close(to, number_of(parcel), End::Answered),
            kind => panic!("{kind:?}"),
        }
    }

    /// A question of a process has ended.
    pub(super) fn close(&mut self, asker: ChildId, number: u64, end: End) {
        let open = &mut self.processes.get_mut(&asker).expect("it is there").open;
        let place = open.iter().position(|open| *open == number).expect("it waits for this");
        open.swap_remove(place);
        self.end(asker, number, end);
    }

    pub(super) fn end(&mut self, asker: ChildId, number: u64, end: End) {
        self.ends.get_mut(&(asker, number)).expect("it has asked that").push(end);
    }
}
