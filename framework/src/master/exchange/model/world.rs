//! The processes as the model has them, and what must be true of what the exchange does for them; `doing` is what they do
//! themselves.

mod doing;

use std::collections::HashMap;

use super::super::tests::{JOBS, WEB, numbers, worker};
use super::super::*;
use super::steps::SLOTS;
use crate::bus::peer::Form;

fn slot(place: usize) -> Address {
    [Address::AGENT, worker(WEB, 0), worker(WEB, 1), worker(JOBS, 0), worker(JOBS, 1)][place % SLOTS]
}

/// Messages are numbered from multiples of this, by which their senders are known: whoever has a process id after another
/// is another sender. Questions are not: the numbers of two askers with one process id are the same.
const MESSAGES: u64 = 1 << 32;

const TOPICS: [&str; 2] = ["words", "orders"];

const STANDINGS: [Standing; 4] = [Standing::Ready, Standing::Starting, Standing::Leaving, Standing::Parted];

/// How a question can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answered,
    Refused,
    Cancelled,
    AskerGone,
}

#[derive(Debug, Default)]
struct Process {
    last_number: u64,
    stopped: bool,
    room_awaited: bool,
    /// By sender and topic: the number of the last message.
    heard: HashMap<(u64, String), u64>,
    /// What it was asked, by whom.
    asked: Vec<(Address, u64)>,
    /// What it wants to know.
    open: Vec<u64>,
    receipts: BTreeSet<u64>,
}

pub(super) struct World {
    exchange: Exchange,
    slots: Vec<Address>,
    seats: Vec<Seat>,
    processes: HashMap<ChildId, Process>,
    ends: HashMap<(ChildId, u64), Vec<End>>,
    last_id: u64,
    expected: u64,
    arrived: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            exchange: Exchange::new(4 << 20),
            slots: (0..SLOTS).map(slot).collect(),
            seats: Vec::new(),
            processes: HashMap::new(),
            ends: HashMap::new(),
            last_id: 0,
            expected: 0,
            arrived: 0,
        }
    }

    fn pick(&self, who: usize) -> Option<Seat> {
        self.seats.get(who % self.seats.len().max(1)).copied()
    }

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
        let reachable = || self.seats.iter().filter(|seat| seat.standing != Standing::Parted);
        let here = |wanted: &dyn Fn(&Seat) -> bool| reachable().filter(|seat| wanted(seat)).count() as u64;
        match to.form {
            Form::Everyone => here(&|_| true),
            Form::Others => here(&|seat| seat.id != from.id),
            Form::Group => here(&|seat| (seat.address.form, seat.address.group) == (Form::Worker, to.group)),
            _ => 1,
        }
    }

    fn next_number(&mut self, id: ChildId) -> u64 {
        let process = self.processes.get_mut(&id).expect("it is there");
        process.last_number += 1;
        process.last_number
    }

    /// A process comes under the smallest free process id, so that ids are used again and again.
    fn join(&mut self, slot: Address) {
        let in_slot = self.seats.iter().filter(|seat| seat.address.slot() == slot).count();
        if in_slot >= 2 || !self.slots.contains(&slot) {
            return;
        }
        self.last_id += 1;
        let id = ChildId(self.last_id);
        let is_free = |pid: &u32| self.seats.iter().all(|seat| seat.address.pid != *pid);
        let pid = (1..).find(is_free).expect("there are many");
        self.processes.insert(id, Process::default());
        self.seats.push(Seat { id, address: Address { pid, ..slot }, standing: Standing::Starting });
        self.follow();
    }

    fn leave(&mut self, id: ChildId) {
        self.seats.retain(|seat| seat.id != id);
        let process = self.processes.remove(&id).expect("it is there");
        for number in process.open {
            self.end(id, number, End::AskerGone);
        }
        self.follow();
    }

    fn follow(&mut self) {
        let (slots, seats) = (self.slots.clone(), self.seats.clone());
        self.act(|exchange, actions| exchange.follow(slots, seats, actions));
    }

    fn take(&mut self, from: Seat, parcel: Parcel) {
        self.act(|exchange, actions| {
            exchange.take(from.id, vec![parcel], actions).expect("nothing is wrong")
        });
    }

    /// Does what the exchange wants, as the master does it: what follows from it comes after all of it.
    fn act(&mut self, act: impl FnOnce(&mut Exchange, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        act(&mut self.exchange, &mut actions);
        while !actions.is_empty() {
            let mut next = Vec::new();
            for action in actions {
                self.apply(action, &mut next);
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
                if process.stopped {
                    self.exchange.undelivered(to, &parcel, next);
                } else {
                    self.arrive(to, &parcel);
                }
            }
            Action::Confirm { to, number } => self.exchange.confirm(to, number, next),
            Action::AwaitRoom { id } => {
                self.processes.get_mut(&id).expect("it is there").room_awaited = true;
            }
            Action::Send { to, frame } => {
                // The master knows that it has no link to one that is gone.
                let Some(process) = self.processes.get_mut(&to) else { return };
                match frame.kind() {
                    Kind::Receipt => assert!(process.receipts.remove(&frame.number())),
                    Kind::Refusal => self.close(to, frame.number(), End::Refused),
                    Kind::Cancel => {
                        let asker = frame.route().from;
                        process.asked.retain(|asked| *asked != (asker, frame.number()));
                    }
                    kind => assert_eq!(kind, Kind::Room),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn arrive(&mut self, to: ChildId, parcel: &Parcel) {
        self.arrived += parcel.count();
        let process = self.processes.get_mut(&to).expect("it is there");
        let from = parcel.route().from;
        match parcel.kind() {
            Kind::Message => {
                for number in numbers(parcel) {
                    let last =
                        process.heard.entry((number / MESSAGES, parcel.topic().to_owned())).or_default();
                    assert!(number > *last, "{number} of {from:?} comes after {last}");
                    *last = number;
                }
            }
            Kind::Ask => process.asked.push((from, number_of(parcel))),
            Kind::Reply => self.close(to, number_of(parcel), End::Answered),
            kind => panic!("{kind:?}"),
        }
    }

    /// A question of a process has ended.
    fn close(&mut self, asker: ChildId, number: u64, end: End) {
        let open = &mut self.processes.get_mut(&asker).expect("it is there").open;
        let place = open.iter().position(|open| *open == number).expect("it waits for this");
        open.swap_remove(place);
        self.end(asker, number, end);
    }

    fn end(&mut self, asker: ChildId, number: u64, end: End) {
        self.ends.get_mut(&(asker, number)).expect("it has asked that").push(end);
    }

    fn arrived_and_dropped(&self) -> u64 {
        let (relayed, dropped) = self.exchange.totals();
        relayed + dropped
    }

    /// Everybody leaves and every slot closes; then nothing is open and nothing is kept.
    pub(super) fn wind_up(mut self) {
        while let Some(seat) = self.pick(0) {
            self.leave(seat.id);
        }
        self.slots.clear();
        self.follow();
        for (question, ends) in &self.ends {
            assert_eq!(ends.len(), 1, "{question:?} ended by {ends:?}");
        }
        let (relayed, dropped) = self.exchange.totals();
        assert_eq!((relayed, relayed + dropped), (self.arrived, self.expected));
        for topic in self.exchange.topics().iter().filter(|topic| topic.name == "questions") {
            assert_eq!(topic.relayed + topic.dropped, topic.sent);
        }
        let Exchange { backlogs, calls, receipts, crowded, traffic, .. } = &self.exchange;
        assert_eq!(
            (backlogs.len(), calls.sizes(), receipts.len(), crowded.len(), traffic.peers()),
            (0, (0, 0), 0, 0, 0)
        );
    }
}
