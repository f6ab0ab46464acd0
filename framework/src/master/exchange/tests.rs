//! The exchange by tables: each address, each way for a question to end, each word to a sender.

mod addresses;
mod allocations;
mod empty_slots;
mod questions;
mod undelivered;
mod waiting;

use super::*;
use crate::bus::codec;
use crate::bus::decoder::Decoder;
use crate::bus::frame::{Frame, MAX_LENGTH};
use crate::bus::head::Route;
use crate::bus::peer::Form;
use crate::master::event::Topics;

pub(super) const WEB: u8 = 0;
pub(super) const JOBS: u8 = 1;

pub(super) fn worker(group: u8, index: u16) -> Address {
    Address { group, index, ..Address::to(Form::Worker) }
}

pub(super) fn seat(id: u64, slot: Address, pid: u32, standing: Standing) -> Seat {
    Seat { id: ChildId(id), address: Address { pid, ..slot }, standing }
}

/// A message or a question as its sender makes it.
pub(super) fn frame(kind: Kind, from: Seat, to: Address, topic: &str, number: u64) -> Frame {
    Frame::about(kind, topic, number, b"words").on(Route { to, from: from.address, time: 0 })
}

pub(super) fn reply(from: Seat, to: Address, number: u64) -> Parcel {
    Parcel::Frame(Frame::new(Kind::Reply, number, b"yes".to_vec()).on(Route {
        to,
        from: from.address,
        time: 0,
    }))
}

/// As many messages in one run.
pub(super) fn run(from: Seat, to: Address, topic: &str, numbers: std::ops::Range<u64>) -> Parcel {
    let mut decoder = Decoder::new(MAX_LENGTH);
    for number in numbers {
        let frame = frame(Kind::Message, from, to, topic, number);
        decoder.feed(&[&frame.head()[..], frame.content()].concat(), []);
    }
    decoder.next_parcel().unwrap().unwrap()
}

/// The numbers of the messages in a parcel.
pub(super) fn numbers(parcel: &Parcel) -> Vec<u64> {
    match parcel {
        Parcel::Frame(frame) => vec![frame.number()],
        Parcel::Run(run) => {
            let mut decoder = Decoder::new(MAX_LENGTH);
            decoder.feed(&run.bytes, []);
            std::iter::from_fn(|| decoder.next().unwrap()).map(|frame| frame.number()).collect()
        }
    }
}

/// What was done, in words.
fn said(actions: &[Action]) -> Vec<String> {
    let problem = |frame: &Frame| codec::decode::<Unanswered>("a refusal", frame.payload()).unwrap();
    let receipt = |frame: &Frame| codec::decode::<Receipt>("a receipt", frame.payload()).unwrap();
    let words = |action: &Action| match action {
        Action::Deliver { to, parcel } | Action::HandOver { to, parcel } => {
            format!("{} gets {:?} {:?}", to.0, parcel.kind(), numbers(parcel))
        }
        Action::Send { to, frame } => match frame.kind() {
            Kind::Refusal => format!("{} hears {:?} of {}", to.0, problem(frame), frame.number()),
            Kind::Receipt => {
                let Receipt { queued, full, nobody, .. } = receipt(frame);
                format!("{} hears of {}: {queued} {full:?} {}", to.0, frame.number(), nobody.is_some())
            }
            kind => format!("{} hears {kind:?} {}", to.0, frame.number()),
        },
        Action::Confirm { to, number } => format!("confirm {number} of {}", to.0),
        Action::AwaitRoom { id } => format!("await room at {}", id.0),
        other => format!("{other:?}"),
    };
    actions.iter().map(words).collect()
}

const AGENT: Seat =
    Seat { id: ChildId(1), address: Address { pid: 101, ..Address::AGENT }, standing: Standing::Ready };

fn web(index: u16) -> Seat {
    seat(2 + u64::from(index), worker(WEB, index), 102 + u32::from(index), Standing::Ready)
}

fn slots() -> Vec<Address> {
    vec![Address::AGENT, worker(WEB, 0), worker(WEB, 1), worker(WEB, 2), worker(JOBS, 0), worker(JOBS, 1)]
}

/// An agent 1 and workers 2, 3 and 4 of the group `web`; nobody is in the group `jobs`.
struct World {
    exchange: Exchange,
    seats: Vec<Seat>,
}

impl World {
    fn new() -> Self {
        let mut world = Self { exchange: Exchange::new(4 << 20), seats: Vec::new() };
        assert!(world.seat([AGENT, web(0), web(1), web(2)]).is_empty());
        world
    }

    fn with(&mut self, act: impl FnOnce(&mut Exchange, &mut Vec<Action>)) -> Vec<String> {
        let mut actions = Vec::new();
        act(&mut self.exchange, &mut actions);
        said(&actions)
    }

    /// From now on these are there.
    fn seat(&mut self, seats: impl IntoIterator<Item = Seat>) -> Vec<String> {
        self.seats = seats.into_iter().collect();
        let seats = self.seats.clone();
        self.with(|exchange, actions| exchange.follow(slots(), seats, actions))
    }

    fn join(&mut self, seat: Seat) -> Vec<String> {
        let seats: Vec<_> = self.seats.iter().copied().chain([seat]).collect();
        self.seat(seats)
    }

    fn leave(&mut self, id: u64) -> Vec<String> {
        let seats: Vec<_> = self.seats.iter().copied().filter(|seat| seat.id.0 != id).collect();
        self.seat(seats)
    }

    fn take(&mut self, from: Seat, parcel: Parcel) -> Vec<String> {
        self.with(|exchange, actions| exchange.take(from.id, vec![parcel], actions).unwrap())
    }

    fn send(&mut self, from: Seat, to: Address, number: u64) -> Vec<String> {
        self.take(from, Parcel::Frame(frame(Kind::Message, from, to, "words", number)))
    }

    fn send_receipted(&mut self, from: Seat, to: Address, number: u64) -> Vec<String> {
        self.take(from, Parcel::Frame(frame(Kind::Message, from, to, "words", number).with_receipt()))
    }

    fn ask(&mut self, from: Seat, to: Address, number: u64) -> Vec<String> {
        self.take(from, Parcel::Frame(frame(Kind::Ask, from, to, "orders", number)))
    }

    fn cancel(&mut self, from: Seat, number: u64) -> Vec<String> {
        self.take(from, Parcel::Frame(frame(Kind::Cancel, from, Address::default(), "", number)))
    }

    fn undelivered(&mut self, to: u64, parcel: Parcel) -> Vec<String> {
        self.with(|exchange, actions| exchange.undelivered(ChildId(to), &parcel, actions))
    }

    /// It met the link of one that is at its end.
    fn returned(&mut self, of: u64, parcel: Parcel) -> Vec<String> {
        self.with(|exchange, actions| _ = exchange.take_back(ChildId(of), &[parcel], actions))
    }

    fn confirm(&mut self, sender: Seat, number: u64) -> Vec<String> {
        self.with(|exchange, actions| exchange.confirm(sender.id, number, actions))
    }

    fn topic(&self, name: &str) -> (u64, u64, u64) {
        let topic = self.exchange.topics().into_iter().find(|topic| topic.name == name).unwrap();
        (topic.sent, topic.relayed, topic.dropped)
    }
}
