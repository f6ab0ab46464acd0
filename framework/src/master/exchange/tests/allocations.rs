//! What relaying costs in memory that is allocated: from the read of a link to the writes to eight others, at rest.

use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use tokio::runtime::Runtime;

use super::*;
use crate::bus::link::{Arrival, Receiver, Sender, open_queueing};
use crate::bus::outbox::LIMIT;

const RECEIVERS: u16 = 8;

/// A master with the links of an agent and eight workers, and the other ends of these.
struct Rig {
    runtime: Rc<Runtime>,
    exchange: Exchange,
    from_agent: Receiver,
    /// In the order of the workers.
    to_workers: Vec<Sender>,
    agent: UnixStream,
    workers: Vec<UnixStream>,
    /// What is kept so that the links stay open.
    _others: (Sender, Vec<Receiver>),
}

impl Rig {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let runtime = Rc::new(runtime);
        let link = || {
            let (ours, theirs) = UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            (open_queueing(ours.into(), LIMIT).unwrap(), theirs)
        };
        let inside = runtime.enter();
        let ((from_agent, to_agent), agent) = link();
        let (links, workers): (Vec<_>, Vec<_>) = (0..RECEIVERS).map(|_| link()).unzip();
        let (from_workers, to_workers): (Vec<_>, Vec<_>) = links.into_iter().unzip();
        drop(inside);
        to_workers.iter().for_each(Sender::pack);
        let mut exchange = Exchange::new(LIMIT);
        let seats: Vec<Seat> = [AGENT].into_iter().chain((0..RECEIVERS).map(web)).collect();
        let slots = seats.iter().map(|seat| seat.address.slot()).collect();
        exchange.follow(slots, seats, &mut Vec::new());
        let _others = (to_agent, from_workers);
        Self { runtime, exchange, from_agent, to_workers, agent, workers, _others }
    }

    /// Relays what the agent writes; how often memory was allocated for that.
    fn relay(&mut self, wire: &[u8]) -> u64 {
        self.agent.write_all(wire).unwrap();
        let runtime = Rc::clone(&self.runtime);
        let allocated = allocation_counter::measure(|| runtime.block_on(self.pass_on()));
        let mut bytes = vec![0; 128 << 10];
        for worker in &mut self.workers {
            while worker.read(&mut bytes).is_ok() {}
        }
        allocated.count_total
    }

    async fn pass_on(&mut self) {
        let Ok(Some(Arrival::Mail(parcels))) = self.from_agent.next_arrival().await else {
            panic!("no mail has come")
        };
        let mut actions = Vec::new();
        self.exchange.take(AGENT.id, parcels, &mut actions).unwrap();
        for action in actions {
            let Action::Deliver { to, parcel } = action else { panic!("{action:?}") };
            let place = usize::try_from(to.0 - web(0).id.0).unwrap();
            self.to_workers[place].push_parcel(&parcel).unwrap();
        }
        for worker in &self.to_workers {
            worker.flush().await;
        }
    }

    /// The least of many times, when it has been done often before: on a busy machine some of them meet a crowd.
    fn relay_at_rest(&mut self, kind: Kind, to: Address, count: u64) -> u64 {
        let once = |time: u64| {
            let numbers = time * count..(time + 1) * count;
            let allocated = self.relay(&wire(kind, to, numbers.clone()));
            if kind == Kind::Ask {
                let answers = numbers.map(|number| reply(web(0), AGENT.address, number)).collect();
                self.exchange.take(web(0).id, answers, &mut Vec::new()).unwrap();
            }
            allocated
        };
        (0..200).map(once).skip(100).min().unwrap()
    }
}

/// Frames to `to` as the agent writes them.
fn wire(kind: Kind, to: Address, numbers: Range<u64>) -> Vec<u8> {
    let frames = numbers.map(|number| frame(kind, AGENT, to, "tick", number));
    frames.flat_map(|frame| [&frame.head()[..], frame.content()].concat()).collect()
}

#[test]
fn a_message_among_others_is_relayed_without_an_allocation_of_its_own() {
    let mut rig = Rig::new();
    let all = Address { group: WEB, ..Address::to(Form::Group) };
    let [one, few, many] = [1, 2, 1000].map(|count| rig.relay_at_rest(Kind::Message, all, count));
    assert!(one <= few && many <= few && few < 10, "one: {one}, two: {few}, a thousand: {many}");
}

#[test]
fn a_question_among_others_is_relayed_without_an_allocation_of_its_own() {
    let mut rig = Rig::new();
    let [few, many] = [1, 100].map(|count| rig.relay_at_rest(Kind::Ask, worker(WEB, 0), count));
    // What is made of them grows by doubling, and the open ones are in a tree.
    assert!(few < 10 && many < 100 / 2, "one: {few}, a hundred: {many}");
}
