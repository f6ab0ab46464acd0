//! What processes send, and what has to come of it.

use super::steps::Step;
use super::*;
use crate::bus::frame::Frame;

const TOPICS: [&str; 2] = ["words", "orders"];

/// The same frame with so many bytes more.
fn sized(frame: Frame, size: usize) -> Frame {
    Frame::about(frame.kind(), frame.topic(), frame.number(), &vec![7; size]).on(frame.route())
}

impl World {
    fn address(&self, to: usize) -> Address {
        let group = u8::try_from(to % 3).unwrap_or_default();
        match to {
            0..=4 => slot(to),
            5 => Address::to(Form::Everyone),
            6 => Address::to(Form::Others),
            7 | 8 => Address { group, ..Address::to(Form::Group) },
            9 | 10 => Address { group, ..Address::to(Form::Any) },
            11 | 12 => Address { group, ..Address::to(Form::Next) },
            13 => Address::process(self.pick(to).map_or(9, |seat| seat.address.pid)),
            _ => Address::default(),
        }
    }

    /// For how many a message counts, delivered or not.
    fn receivers(&self, to: Address, from: Seat) -> u64 {
        let here =
            |wanted: &dyn Fn(&Seat) -> bool| self.reachable().filter(|seat| wanted(seat)).count() as u64;
        let vacant = |wanted: &dyn Fn(&Address) -> bool| {
            let is_vacant = |slot: &&Address| self.reachable().all(|seat| seat.address.slot() != **slot);
            self.slots.iter().filter(|slot| wanted(slot)).filter(is_vacant).count() as u64
        };
        let of_group = |address: &Address| (address.form, address.group) == (Form::Worker, to.group);
        match to.form {
            Form::Everyone => (here(&|_| true) + vacant(&|_| true)).max(1),
            Form::Others => here(&|seat| seat.id != from.id) + vacant(&|_| true),
            Form::Group => (here(&|seat| of_group(&seat.address)) + vacant(&of_group)).max(1),
            _ => 1,
        }
    }

    /// What is sent without being asked for.
    pub(super) fn send(&mut self, step: Step) {
        match step {
            Step::Send { from, to, topic, size, attachments, receipt } => {
                let (Some(from), to) = (self.speaker(from), self.address(to)) else { return };
                let made = Try { to, topic, size, length: 0, attachments, roused: false };
                self.send_message(from, made, receipt);
            }
            Step::SendRun { from, to, topic, count } => {
                let (Some(from), to) = (self.speaker(from), self.address(to)) else { return };
                let first = from.id.0 * MESSAGES + self.next_number(from.id);
                self.processes.get_mut(&from.id).expect("it is there").last_number += count - 1;
                self.expected += count * self.receivers(to, from);
                self.take(from, vec![run(from, to, TOPICS[topic], first..first + count)]);
            }
            Step::Ask { from, to, size, in_vain } => {
                let (Some(from), to) = (self.speaker(from), self.address(to)) else { return };
                let number = self.next_number(from.id);
                self.expected += 1;
                self.ends.insert((from.id, number), Vec::new());
                self.processes.get_mut(&from.id).expect("it is there").open.push(number);
                let question = sized(frame(Kind::Ask, from, to, "questions", number), size);
                let cancel = in_vain.then(|| frame(Kind::Cancel, from, Address::default(), "", number));
                self.take(from, [question].into_iter().chain(cancel).map(Parcel::Frame).collect());
                // It may have been refused before it was cancelled.
                if in_vain && self.processes[&from.id].open.contains(&number) {
                    self.close(from.id, number, End::Cancelled);
                }
            }
            step => self.respond(step),
        }
    }

    fn send_message(&mut self, from: Seat, made: Try, receipt: bool) {
        let number = from.id.0 * MESSAGES + self.next_number(from.id);
        let frame = sized(frame(Kind::Message, from, made.to, TOPICS[made.topic], number), made.size);
        let frame = frame.with_descriptors(vec![Arc::clone(&self.attachment); made.attachments]);
        self.expected += self.receivers(made.to, from);
        let frame = if receipt { frame.with_receipt() } else { frame };
        if receipt {
            let made = Try { length: frame.wire_length(), ..made };
            self.processes.get_mut(&from.id).expect("it is there").tries.insert(number, made);
        }
        self.take(from, vec![Parcel::Frame(frame)]);
        let process = &self.processes[&from.id];
        assert!(process.tries.is_empty(), "each receipt comes at once: {process:?}");
    }

    /// Who was told that another try is worth it makes one of all that found no place, as `send_to` does.
    pub(super) fn try_again(&mut self) {
        for tries in 0.. {
            let waits = |seat: &&Seat| !self.processes[&seat.id].again.is_empty();
            let is_heard = |seat: &&Seat| self.processes[&seat.id].link != Link::Lost;
            let Some(from) = self.seats.iter().filter(is_heard).find(waits).copied() else { return };
            let made = self.processes.get_mut(&from.id).expect("it is there").again.remove(0);
            assert!(tries < 10_000, "{from:?} is told again and again to try {made:?}");
            self.send_message(from, Try { roused: false, ..made }, true);
        }
    }

    /// What follows a question.
    fn respond(&mut self, step: Step) {
        match step {
            Step::Answer { by, which } => {
                let Some(by) = self.speaker(by) else { return };
                let process = self.processes.get_mut(&by.id).expect("it is there");
                if process.asked.is_empty() || process.stopped {
                    return;
                }
                let (asker, number) = process.asked.swap_remove(which % process.asked.len());
                self.expected += 1;
                let before = self.arrived_and_dropped();
                let is_open = self.seats.iter().filter(|seat| seat.address == asker).all(|seat| {
                    // What waits for one that is at its end goes back then.
                    self.processes[&seat.id].link == Link::Open
                });
                self.take(by, vec![reply(by, asker, number)]);
                let after = self.arrived_and_dropped();
                assert!(!is_open || after == before + 1, "an answer that is awaited arrives");
            }
            Step::Invent { by, to, number } => {
                let (Some(by), Some(to)) = (self.speaker(by), self.pick(to)) else { return };
                let process = &self.processes[&by.id];
                let waits = |it: &Parcel| {
                    it.kind() == Kind::Ask && (it.route().from, number_of(it)) == (to.address, number)
                };
                let was_asked =
                    process.asked.contains(&(to.address, number)) || process.waiting.iter().any(waits);
                // What came back from one that is shut counts as asked until its end is known.
                if !was_asked && process.link == Link::Open {
                    self.take(by, vec![reply(by, to.address, number)]);
                }
            }
            Step::Cancel { by, which } => {
                let Some(by) = self.speaker(by) else { return };
                let process = self.processes.get_mut(&by.id).expect("it is there");
                // The answer may be among what waits for one that is stopped.
                if process.open.is_empty() || process.stopped {
                    return;
                }
                let number = process.open.swap_remove(which % process.open.len());
                self.end(by.id, number, End::Cancelled);
                self.take(by, vec![Parcel::Frame(frame(Kind::Cancel, by, Address::default(), "", number))]);
            }
            _ => {}
        }
    }
}
