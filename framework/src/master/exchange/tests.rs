//! The exchange by tables: each address, each way for a question to end, each word to a sender.

use super::*;
use crate::bus::decoder::Decoder;
use crate::bus::frame::MAX_LENGTH;
use crate::bus::head::Route;
use crate::bus::peer::Form;

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
        Action::Deliver { to, parcel } => format!("{} gets {:?} {:?}", to.0, parcel.kind(), numbers(parcel)),
        Action::Send { to, frame } => match frame.kind() {
            Kind::Refusal => format!("{} hears {:?} of {}", to.0, problem(frame), frame.number()),
            Kind::Receipt => {
                let Receipt { queued, full, nobody } = receipt(frame);
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

    fn confirm(&mut self, sender: Seat, number: u64) -> Vec<String> {
        self.with(|exchange, actions| exchange.confirm(sender.id, number, actions))
    }

    fn topic(&self, name: &str) -> (u64, u64, u64) {
        let topic = self.exchange.topics().into_iter().find(|topic| topic.name == name).unwrap();
        (topic.sent, topic.relayed, topic.dropped)
    }
}

#[test]
fn every_form_of_address_finds_those_who_are_meant() {
    let group = |form, group| Address { group, ..Address::to(form) };
    for (to, receivers) in [
        (Address::to(Form::Nobody), vec![]),
        (Address::AGENT, vec![1]),
        (worker(WEB, 1), vec![3]),
        (worker(WEB, 9), vec![]),
        (worker(JOBS, 1), vec![]),
        (worker(77, 0), vec![]),
        (Address::process(104), vec![4]),
        (Address::process(999), vec![]),
        (Address::to(Form::Everyone), vec![1, 2, 3, 4]),
        (Address::to(Form::Others), vec![1, 3, 4]),
        (group(Form::Group, WEB), vec![2, 3, 4]),
        (group(Form::Group, JOBS), vec![]),
        (group(Form::Next, WEB), vec![2]),
        (group(Form::Any, JOBS), vec![]),
        (group(Form::Next, 77), vec![]),
    ] {
        let mut world = World::new();
        let expected: Vec<_> = receivers.iter().map(|id| format!("{id} gets Message [5]")).collect();
        assert_eq!(world.send(web(0), to, 5), expected, "{to:?}");
    }
}

#[test]
fn any_of_a_group_is_sooner_or_later_each_of_it_and_the_next_by_turns() {
    let mut world = World::new();
    let mut receiver = |form, number| {
        let said = world.send(AGENT, Address { group: WEB, ..Address::to(form) }, number).remove(0);
        said[..1].parse::<u64>().unwrap()
    };
    let turns: Vec<_> = (0..7).map(|number| receiver(Form::Next, number)).collect();
    assert_eq!(turns, [2, 3, 4, 2, 3, 4, 2]);
    let mut counts = [0; 5];
    for number in 0..3000 {
        counts[usize::try_from(receiver(Form::Any, number)).unwrap()] += 1;
    }
    assert!(counts[2..].iter().all(|count| (900..1100).contains(count)), "{counts:?}");
}

#[test]
fn who_is_ready_comes_before_who_starts_and_who_starts_before_who_leaves() {
    use Standing::{Leaving, Ready, Starting};
    for (standings, chosen) in [
        ([Leaving, Starting, Ready], 12),
        ([Ready, Leaving, Starting], 10),
        ([Leaving, Starting, Leaving], 11),
        ([Leaving, Leaving, Leaving], 10),
        ([Starting, Starting, Leaving], 10),
    ] {
        let mut world = World::new();
        let in_slot = |id: u32, standing| seat(10 + u64::from(id), worker(JOBS, 0), 110 + id, standing);
        let newcomers = (0..).zip(standings).map(|(id, standing)| in_slot(id, standing));
        let seats: Vec<_> = world.seats.clone().into_iter().chain(newcomers).collect();
        world.seat(seats);
        for to in [worker(JOBS, 0), Address { group: JOBS, ..Address::to(Form::Next) }] {
            assert_eq!(world.send(AGENT, to, 1), [format!("{chosen} gets Message [1]")], "{standings:?}");
        }
    }
}

#[test]
fn mail_for_an_empty_slot_goes_to_its_next_process_in_order() {
    let mut world = World::new();
    for number in 1..=3 {
        assert!(world.send(AGENT, worker(JOBS, 1), number).is_empty());
        assert!(
            world
                .take(web(0), run(web(0), worker(JOBS, 1), "words", 10 * number..10 * number + 2))
                .is_empty()
        );
    }
    assert!(world.ask(AGENT, worker(JOBS, 1), 4).is_empty());
    assert!(
        world.join(seat(10, worker(JOBS, 0), 110, Standing::Starting)).is_empty(),
        "it is another slot's"
    );
    let flushed = world.join(seat(11, worker(JOBS, 1), 111, Standing::Starting));
    let message = |numbers: &str| format!("11 gets Message {numbers}");
    let expected = ["[1]", "[10, 11]", "[2]", "[20, 21]", "[3]", "[30, 31]"].map(message);
    assert_eq!(flushed[..6], expected);
    assert_eq!(flushed[6..], ["11 gets Ask [4]"]);
    assert_eq!(world.topic("words"), (9, 9, 0));
    assert!(world.exchange.backlogs.len() == 0);
}

#[test]
fn mail_for_any_of_an_empty_group_goes_to_whoever_comes_first() {
    let mut world = World::new();
    let any = Address { group: JOBS, ..Address::to(Form::Any) };
    let next = Address { group: JOBS, ..Address::to(Form::Next) };
    for (to, number) in [(any, 1), (worker(JOBS, 1), 2), (next, 3), (worker(JOBS, 0), 4)] {
        assert!(world.send(AGENT, to, number).is_empty());
    }
    let flushed = world.join(seat(11, worker(JOBS, 1), 111, Standing::Starting));
    assert_eq!(flushed, ["11 gets Message [1]", "11 gets Message [2]", "11 gets Message [3]"]);
    assert_eq!(world.join(seat(10, worker(JOBS, 0), 110, Standing::Starting)), ["10 gets Message [4]"]);
}

#[test]
fn an_empty_slot_keeps_no_more_than_its_limit_and_its_senders_hear_of_room() {
    let mut world = World::new();
    let large = |number| {
        let route = Route { to: worker(JOBS, 0), from: AGENT.address, time: 0 };
        Parcel::Frame(
            Frame::about(Kind::Message, "words", number, &vec![0; 700 << 10]).on(route).with_receipt(),
        )
    };
    assert_eq!(world.take(AGENT, large(1)), ["confirm 1 of 1"]);
    assert_eq!(world.confirm(AGENT, 1), ["1 hears of 1: 1 [] false"]);
    assert_eq!(world.take(AGENT, large(2)), ["confirm 2 of 1"]);
    assert_eq!(world.confirm(AGENT, 2), ["1 hears of 2: 0 [0] false"]);
    assert_eq!(world.ask(AGENT, worker(JOBS, 0), 3), Vec::<String>::new(), "a small one still fits");
    let come = world.join(seat(10, worker(JOBS, 0), 110, Standing::Starting));
    assert_eq!(come, ["1 hears Room 0", "10 gets Message [1]", "10 gets Ask [3]"]);
    assert_eq!(world.topic("words"), (2, 1, 1));
}

#[test]
fn what_waits_for_a_slot_fits_the_queue_of_its_next_process() {
    let mut world = World::new();
    world.exchange = Exchange::new(64 << 10);
    world.seat([AGENT]);
    let mut kept = 0;
    for number in 0..100 {
        let route = Route { to: worker(JOBS, 0), from: AGENT.address, time: 0 };
        let frame = Frame::about(Kind::Message, "words", number, &[0; 2000]).on(route);
        world.take(AGENT, Parcel::Frame(frame.with_receipt()));
        kept += usize::from(world.confirm(AGENT, number)[0].contains(": 1 []"));
    }
    assert_eq!(kept, (64 << 10) / 2045);
}

#[test]
fn what_waits_for_a_slot_that_closes_is_given_up() {
    let mut world = World::new();
    let any = Address { group: JOBS, ..Address::to(Form::Any) };
    world.send(AGENT, worker(JOBS, 0), 1);
    world.ask(AGENT, worker(JOBS, 0), 2);
    world.ask(web(0), any, 1);
    let mut left = slots();
    left.pop();
    let seats = world.seats.clone();
    let close = |world: &mut World, slots| {
        world.with(|exchange, actions| exchange.follow(slots, seats.clone(), actions))
    };
    assert!(close(&mut world, left.clone()).is_empty(), "it was another");
    left.pop();
    assert_eq!(close(&mut world, left), ["1 hears Gone of 2", "2 hears Gone of 1"]);
    assert_eq!((world.topic("words"), world.topic("orders")), ((1, 0, 1), (2, 0, 2)));
    assert_eq!(world.exchange.calls.sizes().0, 0);
}

#[test]
fn a_question_that_waits_can_be_cancelled() {
    let mut world = World::new();
    for number in 1..=3 {
        world.ask(AGENT, worker(JOBS, 0), number);
    }
    assert!(world.cancel(AGENT, 2).is_empty());
    let come = world.join(seat(10, worker(JOBS, 0), 110, Standing::Ready));
    assert_eq!(come, ["10 gets Ask [1]", "10 gets Ask [3]"]);
    assert_eq!(world.topic("orders"), (3, 2, 1));
}

#[test]
fn only_who_was_asked_can_answer_and_once() {
    let mut world = World::new();
    assert_eq!(world.ask(AGENT, worker(WEB, 0), 7), ["2 gets Ask [7]"]);
    assert!(world.take(web(1), reply(web(1), AGENT.address, 7)).is_empty());
    assert!(world.take(web(0), reply(web(0), AGENT.address, 8)).is_empty());
    assert!(world.take(web(0), reply(web(0), web(1).address, 7)).is_empty());
    assert_eq!(world.take(web(0), reply(web(0), AGENT.address, 7)), ["1 gets Reply [7]"]);
    assert!(world.take(web(0), reply(web(0), AGENT.address, 7)).is_empty());
    assert!(world.cancel(AGENT, 7).is_empty());
}

#[test]
fn a_question_to_many_is_one_persons_to_answer() {
    let mut world = World::new();
    assert_eq!(world.ask(web(2), Address::to(Form::Everyone), 1), ["1 gets Ask [1]"]);
    let group = Address { group: JOBS, ..Address::to(Form::Group) };
    assert_eq!(world.ask(web(2), group, 2), ["4 hears Gone of 2"]);
    let nobody = world.ask(web(2), Address::default(), 3);
    assert_eq!(nobody, [r#"4 hears NoSuchPeer("there is no such process") of 3"#]);
}

#[test]
fn who_asked_one_that_is_gone_hears_it_at_once() {
    let mut world = World::new();
    world.ask(AGENT, worker(WEB, 0), 7);
    world.ask(web(1), worker(WEB, 0), 7);
    world.ask(web(1), worker(WEB, 0), 8);
    world.ask(web(1), worker(WEB, 2), 9);
    assert_eq!(world.leave(2), ["1 hears Gone of 7", "3 hears Gone of 7", "3 hears Gone of 8"]);
    assert_eq!(world.exchange.calls.sizes().0, 1);
}

#[test]
fn who_was_asked_by_one_that_is_gone_hears_it() {
    let mut world = World::new();
    world.ask(AGENT, worker(WEB, 0), 7);
    world.ask(AGENT, worker(WEB, 1), 8);
    world.ask(AGENT, worker(JOBS, 0), 9);
    assert_eq!(world.leave(1), ["2 hears Cancel 7", "3 hears Cancel 8"]);
    assert!(
        world.join(seat(10, worker(JOBS, 0), 110, Standing::Ready)).is_empty(),
        "nobody wants it answered"
    );
    assert!(world.take(web(0), reply(web(0), AGENT.address, 7)).is_empty());
    assert_eq!(world.topic("orders"), (3, 2, 1));
}

#[test]
fn another_process_with_the_same_id_asks_under_the_same_numbers() {
    let mut world = World::new();
    world.ask(AGENT, worker(WEB, 0), 1);
    world.ask(AGENT, worker(JOBS, 0), 2);
    world.leave(1);
    let second = Seat { id: ChildId(20), ..AGENT };
    world.join(second);
    assert_eq!(world.ask(second, worker(WEB, 1), 1), ["3 gets Ask [1]"]);
    assert_eq!(world.ask(second, worker(WEB, 1), 2), ["3 gets Ask [2]"]);
    assert!(world.take(web(0), reply(web(0), AGENT.address, 1)).is_empty(), "it was asked by another");
    assert!(world.join(seat(10, worker(JOBS, 0), 110, Standing::Ready)).is_empty());
    assert_eq!(world.take(web(1), reply(web(1), AGENT.address, 1)), ["20 gets Reply [1]"]);
    assert_eq!(world.take(web(1), reply(web(1), AGENT.address, 2)), ["20 gets Reply [2]"]);
}

#[test]
fn who_waits_for_too_many_answers_is_refused() {
    let mut world = World::new();
    for number in 0..16 << 10 {
        assert_eq!(world.ask(AGENT, worker(WEB, 0), number).len(), 1);
    }
    assert_eq!(world.ask(AGENT, worker(WEB, 0), 1 << 20), ["1 hears Busy of 1048576"]);
    assert_eq!(world.ask(web(1), worker(WEB, 0), 1), ["2 gets Ask [1]"], "others are not");
    assert_eq!(world.ask(web(1), worker(WEB, 0), 1), ["3 hears Busy of 1"], "the number is taken");
    world.take(web(0), reply(web(0), AGENT.address, 5));
    assert_eq!(world.ask(AGENT, worker(WEB, 0), 1 << 20), ["2 gets Ask [1048576]"]);
    assert_eq!(world.topic("orders"), ((16 << 10) + 4, (16 << 10) + 2, 2));
}

#[test]
fn a_receipt_tells_who_got_it_who_did_not_and_when_there_is_room() {
    let mut world = World::new();
    let everyone = Address::to(Form::Everyone);
    let sent = world.send_receipted(web(0), everyone, 5);
    let gets = |id| format!("{id} gets Message [5]");
    assert_eq!(sent, [gets(1), gets(2), gets(3), gets(4), "confirm 5 of 2".to_owned()]);
    let parcel = || Parcel::Frame(frame(Kind::Message, web(0), everyone, "words", 5).with_receipt());
    assert_eq!(world.undelivered(3, parcel()), ["await room at 3"]);
    assert_eq!(world.confirm(web(0), 5), ["2 hears of 5: 3 [103] false"]);
    world.send_receipted(AGENT, worker(WEB, 1), 6);
    let parcel = || Parcel::Frame(frame(Kind::Message, AGENT, worker(WEB, 1), "words", 6).with_receipt());
    assert!(world.undelivered(3, parcel()).is_empty(), "room is awaited already");
    assert_eq!(world.confirm(AGENT, 6), ["1 hears of 6: 0 [103] false"]);
    let told = world.with(|exchange, actions| exchange.has_room(ChildId(3), actions));
    assert_eq!(told, ["1 hears Room 0", "2 hears Room 0"]);
    assert_eq!(world.topic("words"), (2, 3, 2));
    assert_eq!(world.send_receipted(AGENT, Address::process(9), 7), ["confirm 7 of 1"]);
    assert_eq!(world.confirm(AGENT, 7), ["1 hears of 7: 0 [] true"]);
}

#[test]
fn who_waits_for_room_at_one_that_is_gone_tries_again() {
    let parcel = || Parcel::Frame(frame(Kind::Message, AGENT, worker(WEB, 1), "words", 6).with_receipt());
    let mut world = World::new();
    world.take(AGENT, parcel());
    world.undelivered(3, parcel());
    world.confirm(AGENT, 6);
    assert_eq!(world.leave(3), ["1 hears Room 0"]);
    // It can be gone before it is known that the message did not fit.
    let mut world = World::new();
    world.take(AGENT, parcel());
    world.leave(3);
    assert_eq!(world.undelivered(3, parcel()), ["1 hears Room 0"]);
    assert_eq!(world.confirm(AGENT, 6), ["1 hears of 6: 0 [] false"]);
    assert_eq!(world.exchange.traffic.peers(), 0, "one that is gone is not counted again");
}

#[test]
fn what_meets_a_closed_link_waits_for_the_next_in_the_slot_or_its_sender_is_told() {
    let mut world = World::new();
    let to = worker(WEB, 1);
    let parcel = || Parcel::Frame(frame(Kind::Message, AGENT, to, "words", 6).with_receipt());
    world.take(AGENT, parcel());
    let back = world.with(|exchange, actions| exchange.returned(ChildId(3), &parcel(), actions));
    assert!(back.is_empty(), "{back:?}");
    assert_eq!(world.confirm(AGENT, 6), ["1 hears of 6: 1 [] false"]);
    assert_eq!(world.topic("words"), (1, 0, 0));
    world.leave(3);
    assert_eq!(world.join(seat(9, to, 109, Standing::Ready)), ["9 gets Message [6]"]);
    assert_eq!(world.topic("words"), (1, 1, 0));
    // One that is for the process alone has nobody else to go to.
    let parcel =
        || Parcel::Frame(frame(Kind::Message, AGENT, Address::process(109), "words", 7).with_receipt());
    world.take(AGENT, parcel());
    world.with(|exchange, actions| exchange.returned(ChildId(9), &parcel(), actions));
    assert_eq!(world.confirm(AGENT, 7), ["1 hears of 7: 0 [109] false"]);
    assert_eq!(world.leave(9), ["1 hears Room 0"]);
    assert_eq!(world.topic("words"), (2, 1, 1));
}

#[test]
fn what_meets_a_closed_link_goes_to_the_successor_and_never_back() {
    let mut world = World::new();
    let to = worker(WEB, 1);
    let parcel = || Parcel::Frame(frame(Kind::Message, AGENT, to, "words", 6));
    world.join(seat(9, to, 109, Standing::Starting));
    world.take(AGENT, parcel());
    let passed_on = |world: &mut World, id| {
        world.with(|exchange, actions| exchange.returned(ChildId(id), &parcel(), actions))
    };
    assert_eq!(passed_on(&mut world, 3), ["9 gets Message [6]"]);
    assert_eq!(world.send(AGENT, to, 7), ["9 gets Message [7]"], "what comes now does not try it again");
    assert!(passed_on(&mut world, 9).is_empty());
    assert_eq!(world.exchange.backlogs.len(), 1);
}

#[test]
fn what_was_for_any_of_a_group_and_meets_a_closed_link_goes_to_another_of_it_at_once() {
    let mut world = World::new();
    world.leave(4);
    let to = Address { group: WEB, ..Address::to(Form::Next) };
    let parcel = |number| Parcel::Frame(frame(Kind::Message, AGENT, to, "words", number).with_receipt());
    let passed_on = |world: &mut World, id, number| {
        world.with(|exchange, actions| exchange.returned(ChildId(id), &parcel(number), actions))
    };
    assert_eq!(world.take(AGENT, parcel(6)), ["2 gets Message [6]", "confirm 6 of 1"]);
    assert_eq!(passed_on(&mut world, 2, 6), ["3 gets Message [6]"]);
    assert!(passed_on(&mut world, 3, 6).is_empty(), "it waits for whoever comes to the group");
    world.leave(2);
    assert_eq!(world.join(seat(9, worker(WEB, 0), 109, Standing::Starting)), ["9 gets Message [6]"]);
    // Nobody comes any more in a stop: its sender hears so.
    world.take(AGENT, parcel(7));
    let seats = world.seats.clone();
    world.with(|exchange, actions| exchange.follow(vec![], seats, actions));
    assert!(passed_on(&mut world, 9, 7).is_empty());
    assert_eq!(world.confirm(AGENT, 7), ["1 hears of 7: 0 [109] false"]);
    assert_eq!(world.topic("words").2, 1);
}

#[test]
fn a_sender_that_is_gone_hears_nothing() {
    let mut world = World::new();
    world.send_receipted(web(1), worker(WEB, 0), 6);
    let parcel = Parcel::Frame(frame(Kind::Message, web(1), worker(WEB, 0), "words", 6).with_receipt());
    assert_eq!(world.undelivered(2, parcel), ["await room at 2"]);
    assert!(world.leave(3).is_empty());
    assert!(world.confirm(web(1), 6).is_empty());
    assert!(world.with(|exchange, actions| exchange.has_room(ChildId(2), actions)).is_empty());
    assert!(world.send(web(1), Address::AGENT, 7).is_empty(), "nor is anything taken of it");
}

#[test]
fn a_question_or_an_answer_that_does_not_fit_is_refused_to_its_asker() {
    let mut world = World::new();
    world.ask(AGENT, worker(WEB, 0), 7);
    let question = Parcel::Frame(frame(Kind::Ask, AGENT, worker(WEB, 0), "orders", 7));
    assert_eq!(world.undelivered(2, question), ["1 hears Busy of 7"]);
    world.ask(AGENT, worker(WEB, 0), 8);
    world.take(web(0), reply(web(0), AGENT.address, 8));
    assert_eq!(world.undelivered(1, reply(web(0), AGENT.address, 8)), ["1 hears Busy of 8"]);
    assert_eq!(world.exchange.calls.sizes().0, 0);
    assert_eq!(world.exchange.totals(), (1, 2));
}

#[test]
fn mail_in_another_name_or_on_a_topic_of_the_framework_is_an_error() {
    let everyone = Address::to(Form::Everyone);
    for (parcel, problem) in [
        (frame(Kind::Message, web(1), everyone, "words", 1), "somebody else's name"),
        (frame(Kind::Ask, web(1), worker(WEB, 0), "words", 1), "somebody else's name"),
        (frame(Kind::Cancel, web(1), Address::default(), "", 1), "somebody else's name"),
        (frame(Kind::Reply, web(1), AGENT.address, "", 1), "somebody else's name"),
        (frame(Kind::Message, AGENT, everyone, "hatchery.exited", 1), "`hatchery.exited`, which belongs to"),
        (frame(Kind::Ask, AGENT, worker(WEB, 0), "hatchery.\n", 1), r"`hatchery.\n`, which belongs to"),
        (frame(Kind::Message, AGENT, everyone, "config", 1), "`config`, which belongs to"),
        (frame(Kind::Message, AGENT, everyone, "", 1), "``, which belongs to"),
    ] {
        let (mut world, mut actions) = (World::new(), Vec::new());
        let good = Parcel::Frame(frame(Kind::Message, AGENT, worker(WEB, 0), "words", 1));
        let taken = world.exchange.take(AGENT.id, vec![good, Parcel::Frame(parcel)], &mut actions);
        let error = taken.unwrap_err();
        assert!(error.contains(problem), "{error}");
        assert_eq!(said(&actions), ["2 gets Message [1]"], "what came before it is delivered");
    }
}

#[test]
fn more_topics_than_are_told_apart_are_counted_as_one() {
    let mut world = World::new();
    for number in 0..300 {
        let topic = format!("topic {number}");
        world.take(AGENT, Parcel::Frame(frame(Kind::Message, AGENT, worker(WEB, 0), &topic, number)));
    }
    let topics = world.exchange.topics();
    assert_eq!(topics.len(), 257);
    assert_eq!(world.topic("…"), (44, 44, 0));
}

#[test]
fn one_that_has_taken_leave_gets_answers_and_nothing_new() {
    let mut world = World::new();
    let parted = Seat { standing: Standing::Parted, ..web(0) };
    let _ = world.ask(parted, Address::AGENT, 7);
    let _ = world.ask(AGENT, worker(WEB, 0), 8);
    assert_eq!(world.seat([AGENT, parted, web(1)]), [""; 0], "neither question is given up");
    assert_eq!(world.send_receipted(AGENT, worker(WEB, 0), 1), ["confirm 1 of 1"], "it waits for the next");
    assert_eq!(world.send_receipted(AGENT, Address::process(102), 2), ["confirm 2 of 1"]);
    assert_eq!(world.confirm(AGENT, 2), ["1 hears of 2: 0 [] true"]);
    assert_eq!(world.send(AGENT, Address::to(Form::Others), 3), ["3 gets Message [3]"]);
    assert_eq!(world.take(AGENT, reply(AGENT, parted.address, 7)), ["2 gets Reply [7]"]);
    assert_eq!(world.take(parted, reply(parted, AGENT.address, 8)), ["1 gets Reply [8]"]);
    assert_eq!(world.join(seat(9, worker(WEB, 0), 109, Standing::Ready)), ["9 gets Message [1]"]);
}
