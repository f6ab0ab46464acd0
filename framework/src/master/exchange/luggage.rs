//! The descriptors of messages that are on their way: bounded for each receiver by itself, so that who takes nothing is in
//! nobody else's way. They are on their way until their receiver says that it has them.
//! Pure.

use std::collections::HashMap;

use super::Exchange;
use super::backlog::OF_ONE;
use crate::bus::frame::{Kind, MAX_ATTACHMENTS};
use crate::bus::parcel::Parcel;
use crate::master::event::{Action, ChildId};

/// What is on its way to whom.
#[derive(Debug, Default)]
pub(super) struct Luggage {
    on_the_way: HashMap<ChildId, usize>,
}

impl Luggage {
    pub(super) fn load(&mut self, to: ChildId, count: usize) {
        if count > 0 {
            *self.on_the_way.entry(to).or_default() += count;
        }
    }

    pub(super) fn unload(&mut self, to: ChildId, count: usize) {
        if let Some(left) = self.on_the_way.get_mut(&to) {
            *left = left.saturating_sub(count);
        }
    }

    pub(super) fn leave(&mut self, id: ChildId) {
        self.on_the_way.remove(&id);
    }

    /// Whether so many more fit.
    pub(super) fn has_place(&self, to: ChildId, count: usize) -> bool {
        count == 0 || self.of(to) + count <= OF_ONE
    }

    fn of(&self, to: ChildId) -> usize {
        self.on_the_way.get(&to).copied().unwrap_or_default()
    }
}

impl Exchange {
    /// Only messages carry descriptors, and few. What is lost, only the master can tell: who sends something has it.
    pub(super) fn check_luggage(parcel: &Parcel) -> Result<(), String> {
        if matches!(parcel, Parcel::Frame(frame) if frame.came_without_descriptors()) {
            return Err("it sent a message that says its descriptors were lost".to_owned());
        }
        match (parcel.descriptors(), parcel.kind()) {
            (0, _) | (1..=MAX_ATTACHMENTS, Kind::Message) => Ok(()),
            (count, Kind::Message) => Err(format!("it sent a message with {count} descriptors")),
            (_, kind) => Err(format!("it sent a frame of the kind {kind:?} with descriptors")),
        }
    }

    /// Whether what a message carries fits.
    pub(super) fn has_place(&self, to: ChildId, parcel: &Parcel) -> bool {
        self.luggage.has_place(to, parcel.descriptors())
    }

    /// A process has so many descriptors in its hands, or will never have them.
    pub(crate) fn unloaded(&mut self, to: ChildId, count: usize, actions: &mut Vec<Action>) {
        self.luggage.unload(to, count);
        // Where too much waits besides, room is told of later.
        let roomy = self.seats.address(to).filter(|_| count > 0 && self.seats.has_room(to));
        if let Some(address) = roomy {
            self.rouse(address, actions);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Seat, Standing};
    use super::*;
    use crate::bus::decoder::Decoder;
    use crate::bus::frame::Frame;
    use crate::bus::head::{LOST, Route};
    use crate::bus::peer::{Address, Form};

    const SENDER: ChildId = ChildId(1);
    const RECEIVER: ChildId = ChildId(2);

    fn worker(index: u16, pid: u32) -> Address {
        Address { index, pid, ..Address::to(Form::Worker) }
    }

    fn seat(id: ChildId, address: Address) -> Seat {
        Seat { id, address, standing: Standing::Ready }
    }

    /// A sender in the first slot; the second is empty or has a receiver.
    fn exchange(with_receiver: bool) -> Exchange {
        let mut exchange = Exchange::new(4 << 20);
        let receiver = with_receiver.then(|| seat(RECEIVER, worker(1, 12)));
        let seats = [seat(SENDER, worker(0, 11))].into_iter().chain(receiver).collect();
        exchange.follow(vec![worker(0, 0), worker(1, 0)], seats, &mut Vec::new());
        exchange
    }

    fn route() -> Route {
        Route { to: worker(1, 0), from: worker(0, 11), time: 0 }
    }

    fn send(exchange: &mut Exchange, number: u64, count: usize) -> Result<Vec<Action>, String> {
        send_to(exchange, worker(1, 0), number, count)
    }

    /// From the first slot.
    fn send_to(
        exchange: &mut Exchange,
        to: Address,
        number: u64,
        count: usize,
    ) -> Result<Vec<Action>, String> {
        let null: Arc<std::os::fd::OwnedFd> = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
        let frame = Frame::about(Kind::Message, "t", number, b"").on(Route { to, ..route() }).with_receipt();
        let mut actions = Vec::new();
        let parcel = Parcel::Frame(frame.with_descriptors(vec![null; count]));
        let sender = exchange.seats.holder(11).unwrap_or(SENDER);
        exchange.take(sender, vec![parcel], &mut actions)?;
        Ok(actions)
    }

    fn delivered(actions: &[Action]) -> usize {
        let delivery = |action: &&Action| matches!(action, Action::Deliver { .. } | Action::HandOver { .. });
        actions.iter().filter(delivery).count()
    }

    fn tells_of_room(actions: &[Action]) -> bool {
        let room = |action: &Action| matches!(action, Action::Send { to: SENDER, frame } if frame.kind() == Kind::Room);
        actions.iter().any(room)
    }

    #[test]
    fn what_is_on_its_way_is_bounded_until_it_is_in_other_hands() {
        let mut exchange = exchange(true);
        for number in 0..4 {
            assert_eq!(delivered(&send(&mut exchange, number, 8).unwrap()), 1);
        }
        assert_eq!(delivered(&send(&mut exchange, 4, 1).unwrap()), 0);
        let mut actions = Vec::new();
        exchange.unloaded(RECEIVER, 8, &mut actions);
        assert!(tells_of_room(&actions));
        assert_eq!(delivered(&send(&mut exchange, 5, 8).unwrap()), 1);
        assert_eq!(delivered(&send(&mut exchange, 6, 1).unwrap()), 0);
        let mut actions = Vec::new();
        exchange.follow(vec![worker(0, 0), worker(1, 0)], vec![seat(SENDER, worker(0, 11))], &mut actions);
        assert!(tells_of_room(&actions), "who is gone has no use for it");
    }

    #[test]
    fn an_empty_slot_keeps_as_much_as_a_process_can_have() {
        let mut exchange = exchange(false);
        for number in 0..10 {
            send(&mut exchange, number, 8).unwrap();
        }
        let mut actions = Vec::new();
        let seats = vec![seat(SENDER, worker(0, 11)), seat(RECEIVER, worker(1, 12))];
        exchange.follow(vec![worker(0, 0), worker(1, 0)], seats, &mut actions);
        assert_eq!(delivered(&actions), 4);
        assert!(tells_of_room(&actions));
    }

    #[test]
    fn processes_that_take_nothing_are_in_nobody_elses_way() {
        let mut exchange = Exchange::new(4 << 20);
        let seats: Vec<_> =
            (0..50).map(|at| seat(ChildId(at.into()), worker(at, 11 + u32::from(at)))).collect();
        exchange.follow(seats.iter().map(|seat| seat.address.slot()).collect(), seats, &mut Vec::new());
        for at in 1..50 {
            for number in 0..2 {
                let actions = send_to(&mut exchange, worker(at, 0), number, 16).unwrap();
                assert_eq!(delivered(&actions), 1, "to the worker {at}");
            }
        }
    }

    #[test]
    fn a_slot_that_is_no_more_closes_what_waited_for_it() {
        let mut exchange = exchange(false);
        send(&mut exchange, 0, 16).unwrap();
        exchange.follow(vec![worker(0, 0)], vec![seat(SENDER, worker(0, 11))], &mut Vec::new());
        assert!(exchange.backlogs.len() == 0);
    }

    #[test]
    fn a_message_with_too_much_is_no_message() {
        assert!(send(&mut exchange(true), 0, MAX_ATTACHMENTS).is_ok());
        assert!(send(&mut exchange(true), 0, MAX_ATTACHMENTS + 1).is_err());
    }

    #[test]
    fn only_the_master_says_that_something_was_lost() {
        for count in [0, 1] {
            let frame = Frame::about(Kind::Message, "t", 0, b"");
            let null = (0..count).map(|_| Arc::new(std::fs::File::open("/dev/null").unwrap().into()));
            let mut head = frame.with_descriptors(null.collect()).on(route()).head();
            head[7] |= LOST;
            let mut decoder = Decoder::new(1 << 10);
            let null = (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into());
            decoder.feed(&[&head[..], b"t"].concat(), null);
            let parcel = decoder.next_parcel().unwrap().unwrap();
            let Parcel::Frame(frame) = &parcel else { panic!("{parcel:?}") };
            assert_eq!(frame.announced(), count, "what came is counted once");
            let error = exchange(true).take(SENDER, vec![parcel], &mut Vec::new()).unwrap_err();
            assert!(error.contains("says its descriptors were lost"), "{error}");
        }
    }
}
