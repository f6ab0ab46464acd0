//! The exchange against a model: processes come and go, write, ask, answer and get stuck in any order, and whatever they
//! do, each question ends once, order is kept, the figures add up, and nothing is left behind.

mod mail;
mod steps;

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::tests::{JOBS, WEB, frame, numbers, reply, run, worker};
use super::*;
use crate::bus::codec;
use crate::bus::peer::Form;

use self::steps::{Step, steps};

const SLOTS: usize = 5;

fn slot(place: usize) -> Address {
    [Address::AGENT, worker(WEB, 0), worker(WEB, 1), worker(JOBS, 0), worker(JOBS, 1)][place % SLOTS]
}

/// Messages are numbered from multiples of this, by which their senders are known: whoever has a process id after another
/// is another sender. Questions are not: the numbers of two askers with one process id are the same.
const MESSAGES: u64 = 1 << 32;

const STANDINGS: [Standing; 4] = [Standing::Ready, Standing::Starting, Standing::Leaving, Standing::Parted];

/// How a question can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answered,
    Refused,
    Cancelled,
    AskerGone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Link {
    #[default]
    Open,
    Shut,
    /// Something came back from it.
    KnownShut,
}

#[derive(Debug, Default)]
struct Process {
    last_number: u64,
    stopped: bool,
    link: Link,
    room_awaited: bool,
    /// What came while it was stopped.
    waiting: Vec<Parcel>,
    /// By sender and topic: the number of the last message.
    heard: HashMap<(u64, String), u64>,
    /// The same of messages to a slot alone.
    heard_in_slot: HashMap<(u64, String), u64>,
    /// Questions that were given up while they waited.
    cancelled: Vec<(Address, u64)>,
    /// What it was asked, by whom.
    asked: Vec<(Address, u64)>,
    /// What it wants to know.
    open: Vec<u64>,
    /// Of messages, and whether each is for one process.
    receipts: BTreeMap<u64, bool>,
}

struct World {
    exchange: Exchange,
    slots: Vec<Address>,
    seats: Vec<Seat>,
    processes: HashMap<ChildId, Process>,
    ends: HashMap<(ChildId, u64), Vec<End>>,
    last_id: u64,
    expected: u64,
    arrived: u64,
    /// The numbers of messages that waited for one that is gone: they may go on to others behind newer ones that were not
    /// for the slot alone.
    late: BTreeSet<u64>,
}

/// As many wait for a process that is stopped.
const MOST_WAITING: usize = 4;

impl World {
    fn new() -> Self {
        Self {
            exchange: Exchange::new(4 << 20),
            slots: (0..SLOTS).map(slot).collect(),
            seats: Vec::new(),
            processes: HashMap::new(),
            ends: HashMap::new(),
            last_id: 0,
            expected: 0,
            arrived: 0,
            late: BTreeSet::new(),
        }
    }

    fn pick(&self, who: usize) -> Option<Seat> {
        self.seats.get(who % self.seats.len().max(1)).copied()
    }

    fn next_number(&mut self, id: ChildId) -> u64 {
        let process = self.processes.get_mut(&id).expect("it is there");
        process.last_number += 1;
        process.last_number
    }

    fn step(&mut self, step: Step) {
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
            Step::Shut(who) => self.at(who, |process| {
                if process.link == Link::Open {
                    process.link = Link::Shut;
                }
            }),
            Step::Continue(who) => {
                if let Some(seat) = self.pick(who) {
                    let process = self.processes.get_mut(&seat.id).expect("it is there");
                    process.stopped = false;
                    let room_awaited = std::mem::take(&mut process.room_awaited);
                    for parcel in std::mem::take(&mut process.waiting) {
                        self.arrive(seat.id, &parcel);
                    }
                    if room_awaited {
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
        self.act(|_, actions| actions.push(Action::Kill { id }));
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
                } else if process.stopped && process.waiting.len() < MOST_WAITING {
                    process.waiting.push(parcel);
                } else if process.stopped {
                    self.exchange.undelivered(to, &parcel, next);
                } else {
                    self.arrive(to, &parcel);
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
                        let is_for_one = process.receipts.remove(&frame.number()).expect("it is awaited");
                        let receipt: Receipt =
                            codec::decode("a receipt", frame.payload()).expect("it is one");
                        // A try that was refused is no sent message.
                        let is_refused = is_for_one && receipt.queued == 0 && receipt.nobody.is_none();
                        self.expected -= u64::from(is_refused);
                    }
                    Kind::Refusal => self.close(to, frame.number(), End::Refused),
                    Kind::Cancel => {
                        let asker = frame.route().from;
                        process.asked.retain(|asked| *asked != (asker, frame.number()));
                        process.cancelled.push((asker, frame.number()));
                    }
                    kind => assert_eq!(kind, Kind::Room),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Its end is known: what waits for it goes elsewhere.
    fn take_back(&mut self, of: ChildId, next: &mut Vec<Action>) {
        let process = self.processes.get_mut(&of).expect("it is there");
        process.link = Link::KnownShut;
        let left = std::mem::take(&mut process.waiting);
        self.late.extend(left.iter().filter(|it| it.kind() == Kind::Message).flat_map(numbers));
        self.exchange.take_back(of, &left, next);
    }

    fn arrive(&mut self, to: ChildId, parcel: &Parcel) {
        self.arrived += parcel.count();
        let process = self.processes.get_mut(&to).expect("it is there");
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
    fn wind_up(mut self) {
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
        let Exchange { backlogs, calls, receipts, waiting, traffic, .. } = &self.exchange;
        assert_eq!(
            (backlogs.len(), calls.sizes(), receipts.len(), waiting.len(), traffic.peers()),
            (0, (0, 0), 0, 0, 0)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_questions_end_once_order_is_kept_and_nothing_is_left(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.wind_up();
    }
}
