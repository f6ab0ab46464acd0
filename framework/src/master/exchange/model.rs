//! The exchange against a model: processes come and go, write, ask, answer and get stuck in any order, and whatever they
//! do, each question ends once, order is kept, who waits for a place is told of it, the figures add up, and nothing is left
//! behind.

mod effects;
mod liveness;
mod mail;
mod process;
mod steps;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{JOBS, WEB, frame, numbers, reply, run, worker};
use super::*;
use crate::bus::codec;
use crate::bus::peer::Form;
use crate::master::event::Event;

use self::process::{End, Link, Process, QUEUE, Try};
use self::steps::{Step, steps};

const SLOTS: usize = 5;

fn slot(place: usize) -> Address {
    [Address::AGENT, worker(WEB, 0), worker(WEB, 1), worker(JOBS, 0), worker(JOBS, 1)][place % SLOTS]
}

/// Messages are numbered from multiples of this, by which their senders are known: whoever has a process id after another
/// is another sender. Questions are not: the numbers of two askers with one process id are the same.
const MESSAGES: u64 = 1 << 32;

const STANDINGS: [Standing; 4] = [Standing::Ready, Standing::Starting, Standing::Leaving, Standing::Parted];

struct World {
    exchange: Exchange,
    attachment: Arc<OwnedFd>,
    slots: Vec<Address>,
    seats: Vec<Seat>,
    /// Those that have no seat any more, but their links and what waits there: they are hung, or killed.
    hung: Vec<Seat>,
    processes: HashMap<ChildId, Process>,
    /// The slots that are given up for now.
    given_up: BTreeSet<Address>,
    /// What follows from what was done.
    queue: VecDeque<Event>,
    unconfirmed: VecDeque<Event>,
    ends: HashMap<(ChildId, u64), Vec<End>>,
    last_id: u64,
    expected: u64,
    arrived: u64,
    /// The numbers of messages that waited for one that is gone: they may go on to others behind newer ones that were not
    /// for the slot alone.
    late: BTreeSet<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            exchange: Exchange::new(QUEUE),
            attachment: Arc::new(std::io::pipe().expect("there are descriptors").0.into()),
            slots: (0..SLOTS).map(slot).collect(),
            seats: Vec::new(),
            hung: Vec::new(),
            given_up: BTreeSet::new(),
            queue: VecDeque::new(),
            unconfirmed: VecDeque::new(),
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

    /// One that is heard.
    fn speaker(&self, who: usize) -> Option<Seat> {
        self.pick(who).filter(|seat| self.processes[&seat.id].link != Link::Lost)
    }

    /// Those to whom something new can be sent, as far as is known.
    fn reachable(&self) -> impl Iterator<Item = &Seat> {
        let is_shut = |seat: &&Seat| self.processes[&seat.id].link.is_known_shut();
        self.seats.iter().filter(|seat| seat.standing != Standing::Parted).filter(move |seat| !is_shut(seat))
    }

    /// All that have not ended.
    fn holders(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().chain(&self.hung)
    }

    fn next_number(&mut self, id: ChildId) -> u64 {
        let process = self.processes.get_mut(&id).expect("it is there");
        process.last_number += 1;
        process.last_number
    }

    fn step(&mut self, step: Step) {
        self.happen(step);
        self.try_again();
        self.check_liveness();
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Stop(who) => self.at(who, |process| process.stopped = true),
            Step::Shut(who) => self.at(who, |process| {
                if process.link == Link::Open {
                    process.link = Link::Shut;
                }
            }),
            Step::LoseLink(who) => {
                if let Some(seat) = self.pick(who) {
                    self.lose_link(seat.id);
                }
            }
            Step::Unload(who) => {
                if let Some(seat) = self.speaker(who) {
                    let process = self.processes.get_mut(&seat.id).expect("it is there");
                    let count = std::mem::take(&mut process.unconfirmed);
                    self.act(|exchange, actions| exchange.unloaded(seat.id, count, actions));
                }
            }
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
            step => self.turn_over(step),
        }
    }

    /// Who comes and goes.
    fn turn_over(&mut self, step: Step) {
        match step {
            Step::Join(place) => self.join(slot(place)),
            Step::Leave(who) => {
                if let Some(seat) = self.pick(who) {
                    self.leave(seat.id);
                }
            }
            Step::Stand(who, standing) => {
                let who = who % self.seats.len().max(1);
                // Who has taken leave does not come back.
                if self.seats.get(who).is_some_and(|seat| seat.standing != Standing::Parted) {
                    self.seats[who].standing = STANDINGS[standing];
                    self.follow();
                }
            }
            Step::Hang(who) => self.hang(who),
            Step::HangUnder { place, from, topic } => self.hang_under(place, from, topic),
            Step::Bury(which) => {
                if !self.hung.is_empty() {
                    self.bury(which % self.hung.len());
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
            Step::GiveUp(place) => {
                if self.holders().all(|seat| seat.address.slot() != slot(place)) {
                    self.given_up.insert(slot(place));
                    self.follow();
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
        let in_slot = self.holders().filter(|seat| seat.address.slot() == slot).count();
        // One that hangs is replaced when it has ended, unless it was leaving.
        let is_blocked = |seat: &Seat| seat.address.slot() == slot && seat.standing < Standing::Leaving;
        if in_slot >= 2 || self.hung.iter().any(is_blocked) || !self.slots.contains(&slot) {
            return;
        }
        self.last_id += 1;
        let id = ChildId(self.last_id);
        let is_free = |pid: &u32| self.holders().all(|seat| seat.address.pid != *pid);
        let pid = (1..).find(is_free).expect("there are many");
        self.given_up.remove(&slot);
        self.processes.insert(id, Process::default());
        self.seats.push(Seat { id, address: Address { pid, ..slot }, standing: Standing::Starting });
        self.follow();
    }

    fn leave(&mut self, id: ChildId) {
        self.take_back(id);
        self.exchange.ended(id);
        self.unseat(id);
        self.processes.remove(&id);
    }

    fn unseat(&mut self, id: ChildId) {
        self.seats.retain(|seat| seat.id != id);
        let process = self.processes.get_mut(&id).expect("it is there");
        process.asked.clear();
        process.full.clear();
        process.again.clear();
        for number in std::mem::take(&mut process.open) {
            self.end(id, number, End::AskerGone);
        }
        self.follow();
    }

    /// It takes nothing, gets nothing new, and has not ended.
    fn hang(&mut self, who: usize) {
        if let Some(seat) = self.pick(who) {
            self.at(who, |process| process.stopped = true);
            self.hung.push(seat);
            self.unseat(seat.id);
        }
    }

    fn hang_under(&mut self, place: usize, from: usize, topic: usize) {
        let position = |world: &Self, id| world.seats.iter().position(|seat| seat.id == id);
        let victim = self.seats.iter().find(|seat| seat.address.slot() == slot(place)).map(|seat| seat.id);
        let sender = self.speaker(from).map(|seat| seat.id).filter(|id| Some(*id) != victim);
        let (Some(victim), Some(sender)) = (victim, sender) else { return };
        self.processes.get_mut(&victim).expect("it is there").stopped = true;
        for hangs in [false, true] {
            if let Some(who) = position(self, victim).filter(|_| hangs) {
                self.hang(who);
            }
            if let Some(from) = position(self, sender) {
                self.send(Step::Send { from, to: place, topic, size: 1, attachments: 0, receipt: false });
            }
        }
    }

    fn bury(&mut self, which: usize) {
        let id = self.hung.remove(which).id;
        self.take_back(id);
        self.exchange.ended(id);
        self.processes.remove(&id);
    }

    /// The end of its link is read: nothing more comes from it, nor goes to it.
    fn lose_link(&mut self, id: ChildId) {
        self.take_back(id);
        let process = self.processes.get_mut(&id).expect("it is there");
        process.link = Link::Lost;
        self.act(|exchange, actions| {
            exchange.shut(id, actions);
            exchange.give_up_answers(id, actions);
        });
    }

    fn follow(&mut self) {
        let (slots, seats) = (self.slots.clone(), self.seats.clone());
        let given_up = self.given_up.clone();
        self.act(|exchange, actions| {
            exchange.follow(slots, seats, actions);
            exchange.give_up_on(given_up, actions);
        });
    }

    fn take(&mut self, from: Seat, parcels: Vec<Parcel>) {
        self.act(|exchange, actions| {
            exchange.take(from.id, parcels, actions).expect("nothing is wrong");
        });
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
        while !self.hung.is_empty() {
            self.bury(0);
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
        let Exchange { backlogs, calls, receipts, waiting, traffic, seats, .. } = &self.exchange;
        assert_eq!(
            (backlogs.len(), calls.sizes(), receipts.len(), waiting.len(), traffic.peers(), seats.heirs()),
            (0, (0, 0), 0, 0, 0, 0)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_questions_end_once_order_is_kept_who_waits_is_told_and_nothing_is_left(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.wind_up();
    }
}
