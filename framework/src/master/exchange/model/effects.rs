//! What the exchange wants is done, as the master does it.

use super::*;

impl World {
    /// Does what the exchange wants, as the master does it: what follows from it comes after all of it, and receipts last.
    pub(super) fn act(&mut self, act: impl FnOnce(&mut Exchange, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        act(&mut self.exchange, &mut actions);
        loop {
            std::mem::take(&mut actions).into_iter().for_each(|action| self.apply(action));
            match self.queue.pop_front().or_else(|| self.unconfirmed.pop_front()) {
                Some(Event::Undelivered { to, parcel }) => {
                    self.exchange.undelivered(to, &parcel, &mut actions)
                }
                Some(Event::Left { by, parcels }) => _ = self.exchange.take_back(by, &parcels, &mut actions),
                Some(Event::Confirm { to, number }) => self.exchange.confirm(to, number, &mut actions),
                Some(other) => panic!("{other:?}"),
                None => return,
            }
        }
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Deliver { to, parcel } => self.deliver(to, parcel, Process::has_room),
            Action::HandOver { to, parcel } => self.deliver(to, parcel, |_, _| true),
            Action::Confirm { to, number } => self.unconfirmed.push_back(Event::Confirm { to, number }),
            Action::AwaitRoom { id } => {
                self.processes.get_mut(&id).expect("it is there").room_awaited = true;
            }
            Action::Send { to, frame } => {
                // One that has no seat any more waits for nothing.
                if !self.seats.iter().any(|seat| seat.id == to) {
                    return;
                }
                let process = self.processes.get_mut(&to).expect("it has a seat");
                match frame.kind() {
                    Kind::Receipt => {
                        let receipt: Receipt =
                            codec::decode("a receipt", frame.payload()).expect("it is one");
                        let made = process.take_receipt(frame.number(), &receipt, &self.given_up);
                        // A try that was refused is no sent message.
                        let is_refused = made.is_for_one() && receipt.queued == 0;
                        self.expected -= u64::from(is_refused);
                    }
                    Kind::Refusal => {
                        let problem: Unanswered =
                            codec::decode("a refusal", frame.payload()).expect("it is one");
                        // Nor is a question to nobody.
                        self.expected -= u64::from(matches!(problem, Unanswered::NoSuchPeer(_)));
                        self.close(to, frame.number(), End::Refused);
                    }
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

    fn deliver(&mut self, to: ChildId, parcel: Parcel, has_room: fn(&Process, &Parcel) -> bool) {
        let parted = |seat: &Seat| seat.id == to && seat.standing == Standing::Parted;
        let is_answer = parcel.kind() == Kind::Reply;
        assert!(is_answer || !self.seats.iter().any(parted), "{to:?} gets something new");
        let process = self.processes.get_mut(&to).expect("nothing is delivered to one that is gone");
        if process.link != Link::Open {
            process.waiting.push(parcel);
            let parcels = self.leave_behind(to);
            self.note_left(to, parcels);
        } else if !process.stopped {
            self.arrive(to, &parcel);
        } else if has_room(process, &parcel) {
            process.waiting.push(parcel);
        } else {
            self.queue.push_back(Event::Undelivered { to, parcel });
        }
    }

    /// All that is left at one closed link is told together.
    fn note_left(&mut self, by: ChildId, parcels: Vec<Parcel>) {
        let earlier = self.queue.iter_mut().find_map(|event| match event {
            Event::Left { by: earlier, parcels } if *earlier == by => Some(parcels),
            _ => None,
        });
        match earlier {
            Some(earlier) => earlier.extend(parcels),
            None => self.queue.push_back(Event::Left { by, parcels }),
        }
    }

    /// Its end is known: what waited for it, which is told before that.
    fn leave_behind(&mut self, of: ChildId) -> Vec<Parcel> {
        let process = self.processes.get_mut(&of).expect("it is there");
        process.link = if process.link == Link::Lost { Link::Lost } else { Link::KnownShut };
        let left = std::mem::take(&mut process.waiting);
        self.late.extend(left.iter().filter(|it| it.kind() == Kind::Message).flat_map(numbers));
        left
    }

    /// Its end is known: what waits for it goes elsewhere.
    pub(super) fn take_back(&mut self, of: ChildId) {
        let left = self.leave_behind(of);
        if !left.is_empty() {
            self.act(|exchange, actions| _ = exchange.take_back(of, &left, actions));
        }
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
