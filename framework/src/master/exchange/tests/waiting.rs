//! Who was told that too much waits, and what has to change until it is told that another try is worth it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::*;

fn parcel(to: Address, number: u64, attachments: usize) -> Parcel {
    let null: Arc<OwnedFd> = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
    let frame = frame(Kind::Message, AGENT, to, "words", number).with_receipt();
    Parcel::Frame(frame.with_descriptors(vec![null; attachments]))
}

/// The agent has sent one message too many to the worker 3.
fn full(to: Address) -> World {
    let mut world = World::new();
    world.take(AGENT, parcel(to, 1, 0));
    assert_eq!(world.undelivered(3, parcel(to, 1, 0)), ["await room at 3"]);
    assert_eq!(world.confirm(AGENT, 1), ["1 hears of 1: 0 [103] false"]);
    world
}

#[test]
fn who_waits_at_one_whose_link_turns_out_to_be_closed_tries_again_at_once() {
    let to = worker(WEB, 1);
    let mut world = full(to);
    let question = Parcel::Frame(frame(Kind::Ask, web(0), Address::process(103), "orders", 2));
    let back = world.returned(3, question);
    assert_eq!(back, ["1 hears Room 0"]);
    assert_eq!(world.send_receipted(AGENT, to, 3), ["confirm 3 of 1"], "it waits for the next");
}

#[test]
fn who_hears_that_a_link_is_closed_can_try_again_at_once() {
    let to = Address::process(103);
    let mut world = World::new();
    world.take(AGENT, parcel(to, 1, 0));
    let back = world.returned(3, parcel(to, 1, 0));
    assert_eq!(back, ["1 hears Room 0"]);
    assert_eq!(world.confirm(AGENT, 1), ["1 hears of 1: 0 [103] false"]);
    world.send_receipted(AGENT, to, 2);
    assert_eq!(world.confirm(AGENT, 2), ["1 hears of 2: 0 [] true"], "there is nobody any more");
}

#[test]
fn who_waits_at_one_that_leaves_tries_again_when_another_is_ready_in_its_slot() {
    let mut world = full(worker(WEB, 1));
    let second = seat(9, worker(WEB, 1), 109, Standing::Starting);
    assert_eq!(world.join(second), ["1 hears Room 0"]);
    let mut world = full(worker(WEB, 1));
    world.seats[2].standing = Standing::Leaving;
    let seats = world.seats.clone();
    assert_eq!(world.seat(seats), ["1 hears Room 0"], "its standing is another");
}

#[test]
fn who_waits_for_places_for_attachments_at_any_of_a_group_tries_again_when_one_comes() {
    let next = Address { group: WEB, ..Address::to(Form::Next) };
    let mut world = World::new();
    for number in 0..6 {
        assert_eq!(world.take(AGENT, parcel(next, number, 16)).len(), 2);
    }
    assert_eq!(world.take(AGENT, parcel(next, 6, 1)), ["confirm 6 of 1"]);
    let come = world.join(seat(9, worker(WEB, 7), 109, Standing::Ready));
    assert_eq!(come, ["1 hears Room 0"]);
    let sent = world.take(AGENT, parcel(next, 7, 1));
    assert_eq!(sent, ["9 gets Message [7]", "confirm 7 of 1"]);
}

#[test]
fn who_waits_at_an_empty_slot_tries_again_when_questions_in_it_are_cancelled() {
    let mut world = World::new();
    world.exchange = Exchange::new(60);
    let seats = world.seats.clone();
    world.seat(seats);
    assert!(world.ask(web(0), worker(JOBS, 0), 1).is_empty());
    world.send_receipted(AGENT, worker(JOBS, 0), 2);
    assert_eq!(world.confirm(AGENT, 2), ["1 hears of 2: 0 [0] false"]);
    assert_eq!(world.cancel(web(0), 1), ["1 hears Room 0"]);
}

#[test]
fn attachments_that_arrive_make_no_room_for_one_for_whom_too_much_else_waits() {
    let mut world = full(worker(WEB, 1));
    world.take(AGENT, parcel(worker(WEB, 1), 2, 8));
    let unload = |exchange: &mut Exchange, actions: &mut Vec<Action>| {
        exchange.unloaded(ChildId(3), 4, actions);
    };
    assert!(world.with(unload).is_empty());
    assert_eq!(world.with(|exchange, actions| exchange.has_room(ChildId(3), actions)), ["1 hears Room 0"]);
}
