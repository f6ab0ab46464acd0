//! What the processes do, a step at a time.

use super::super::super::tests::{frame, reply, run};
use super::super::super::*;
use super::super::steps::Step;
use super::{End, MESSAGES, Process, STANDINGS, TOPICS, World, slot};

impl World {
    pub(in super::super) fn step(&mut self, step: Step) {
        match step {
            Step::Join(place) => self.join(slot(place)),
            Step::Leave(who) => {
                if let Some(seat) = self.pick(who) {
                    self.leave(seat.id);
                }
            }
            Step::Stand(who, standing) => {
                if !self.seats.is_empty() {
                    let who = who % self.seats.len();
                    self.seats[who].standing = STANDINGS[standing];
                    self.follow();
                }
            }
            Step::Close(place) => {
                self.slots.retain(|known| *known != slot(place));
                self.follow();
            }
            Step::Open(place) => {
                if !self.slots.contains(&slot(place)) {
                    self.slots.push(slot(place));
                    self.follow();
                }
            }
            Step::Stop(who) => self.at(who, |process| process.stopped = true),
            Step::Continue(who) => {
                if let Some(seat) = self.pick(who) {
                    let process = self.processes.get_mut(&seat.id).expect("it is there");
                    process.stopped = false;
                    if std::mem::take(&mut process.room_awaited) {
                        self.act(|exchange, actions| exchange.has_room(seat.id, actions));
                    }
                }
            }
            step => self.send(step),
        }
    }

    fn at(&mut self, who: usize, act: impl FnOnce(&mut Process)) {
        if let Some(process) = self.pick(who).and_then(|seat| self.processes.get_mut(&seat.id)) {
            act(process);
        }
    }

    /// What is sent without being asked for.
    fn send(&mut self, step: Step) {
        match step {
            Step::Send { from, to, topic, receipt } => {
                let (Some(from), to) = (self.pick(from), self.address(to)) else { return };
                let number = from.id.0 * MESSAGES + self.next_number(from.id);
                let frame = frame(Kind::Message, from, to, TOPICS[topic], number);
                self.expected += self.receivers(to, from);
                let frame = if receipt { frame.with_receipt() } else { frame };
                if receipt {
                    self.processes.get_mut(&from.id).expect("it is there").receipts.insert(number);
                }
                self.take(from, Parcel::Frame(frame));
                let process = &self.processes[&from.id];
                assert!(process.receipts.is_empty(), "each receipt comes at once: {process:?}");
            }
            Step::SendRun { from, to, topic, count } => {
                let (Some(from), to) = (self.pick(from), self.address(to)) else { return };
                let first = from.id.0 * MESSAGES + self.next_number(from.id);
                self.processes.get_mut(&from.id).expect("it is there").last_number += count - 1;
                self.expected += count * self.receivers(to, from);
                self.take(from, run(from, to, TOPICS[topic], first..first + count));
            }
            Step::Ask { from, to } => {
                let (Some(from), to) = (self.pick(from), self.address(to)) else { return };
                let number = self.next_number(from.id);
                self.expected += 1;
                self.ends.insert((from.id, number), Vec::new());
                self.processes.get_mut(&from.id).expect("it is there").open.push(number);
                self.take(from, Parcel::Frame(frame(Kind::Ask, from, to, "questions", number)));
            }
            step => self.respond(step),
        }
    }

    /// What follows a question.
    fn respond(&mut self, step: Step) {
        match step {
            Step::Answer { by, which } => {
                let Some(by) = self.pick(by) else { return };
                let process = self.processes.get_mut(&by.id).expect("it is there");
                if process.asked.is_empty() || process.stopped {
                    return;
                }
                let (asker, number) = process.asked.swap_remove(which % process.asked.len());
                self.expected += 1;
                let before = self.arrived_and_dropped();
                self.take(by, reply(by, asker, number));
                assert_eq!(self.arrived_and_dropped(), before + 1, "an answer that is awaited arrives");
            }
            Step::Invent { by, to, number } => {
                let (Some(by), Some(to)) = (self.pick(by), self.pick(to)) else { return };
                let was_asked = self.processes[&by.id].asked.contains(&(to.address, number));
                if !was_asked {
                    self.take(by, reply(by, to.address, number));
                }
            }
            Step::Cancel { by, which } => {
                let Some(by) = self.pick(by) else { return };
                let process = self.processes.get_mut(&by.id).expect("it is there");
                if process.open.is_empty() {
                    return;
                }
                let number = process.open.swap_remove(which % process.open.len());
                self.end(by.id, number, End::Cancelled);
                self.take(by, Parcel::Frame(frame(Kind::Cancel, by, Address::default(), "", number)));
            }
            _ => {}
        }
    }
}
