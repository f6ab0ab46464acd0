//! What becomes of mail for slots in which nobody is.

use super::*;

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
    assert_eq!(world.topic("words"), (1, 1, 0));
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
fn a_broadcast_waits_for_the_slots_that_are_empty_for_the_moment() {
    let mut world = World::new();
    let jobs = Address { group: JOBS, ..Address::to(Form::Group) };
    assert_eq!(world.send_receipted(AGENT, jobs, 1), ["confirm 1 of 1"]);
    assert_eq!(world.confirm(AGENT, 1), ["1 hears of 1: 2 [] false"]);
    assert_eq!(world.send(web(0), Address::to(Form::Others), 2).len(), 3);
    assert_eq!(world.send(AGENT, worker(JOBS, 0), 3), [""; 0]);
    let flushed = world.join(seat(10, worker(JOBS, 0), 110, Standing::Starting));
    assert_eq!(flushed, ["10 gets Message [1]", "10 gets Message [2]", "10 gets Message [3]"]);
    let flushed = world.join(seat(11, worker(JOBS, 1), 111, Standing::Starting));
    assert_eq!(flushed, ["11 gets Message [1]", "11 gets Message [2]"]);
    assert_eq!(world.topic("words"), (3, 8, 0));
}

#[test]
fn a_broadcast_that_does_not_fit_an_empty_slot_or_has_none_is_counted() {
    let mut world = World::new();
    let jobs = Address { group: JOBS, ..Address::to(Form::Group) };
    let large = |number| {
        let route = Route { to: jobs, from: AGENT.address, time: 0 };
        let frame = Frame::about(Kind::Message, "words", number, &vec![0; 700 << 10]).on(route);
        Parcel::Frame(frame.with_receipt())
    };
    world.take(AGENT, large(1));
    world.confirm(AGENT, 1);
    world.take(AGENT, large(2));
    assert_eq!(world.confirm(AGENT, 2), ["1 hears of 2: 0 [0, 0] false"]);
    assert_eq!(world.topic("words"), (2, 0, 2));
    let nobody = Address { group: 77, ..jobs };
    world.send_receipted(AGENT, nobody, 3);
    assert_eq!(world.confirm(AGENT, 3), ["1 hears of 3: 0 [] false"]);
    assert_eq!(world.topic("words"), (3, 0, 3));
    assert_eq!(world.join(seat(10, worker(JOBS, 0), 110, Standing::Starting))[0], "1 hears Room 0");
}

#[test]
fn who_writes_to_a_slot_that_has_given_up_or_asks_there_hears_so_at_once() {
    let mut world = World::new();
    world.send(AGENT, worker(JOBS, 0), 1);
    world.ask(AGENT, worker(JOBS, 0), 2);
    let any = Address { group: JOBS, ..Address::to(Form::Any) };
    world.ask(web(0), any, 1);
    let give_up = |world: &mut World, slots: &[Address]| {
        let slots = slots.iter().copied().collect();
        world.with(|exchange, actions| exchange.give_up_on(slots, actions))
    };
    let refusal = |who: u64, number: u64| format!("{who} hears NoSuchPeer({:?}) of {number}", seats::GAVE_UP);
    assert_eq!(give_up(&mut world, &[worker(JOBS, 0)]), [refusal(1, 2)]);
    assert_eq!(world.ask(AGENT, worker(JOBS, 0), 3), [refusal(1, 3)]);
    assert_eq!(world.send_receipted(AGENT, worker(JOBS, 0), 4), ["confirm 4 of 1"]);
    assert_eq!(world.confirm(AGENT, 4), ["1 hears of 4: 0 [] true"]);
    assert_eq!(give_up(&mut world, &[worker(JOBS, 0), worker(JOBS, 1)]), [refusal(2, 1)]);
    assert_eq!((world.topic("words"), world.topic("orders")), ((1, 0, 0), (0, 0, 0)));
    // What was confirmed before that waits on.
    assert_eq!(world.exchange.waiting_by_topic(), Topics::from([("words".into(), 1)]));
    assert!(world.exchange.waiting_bytes(Some(worker(JOBS, 0))) > 0);
    assert_eq!(world.join(seat(9, worker(JOBS, 0), 109, Standing::Starting)), ["9 gets Message [1]"]);
    assert_eq!(world.exchange.waiting_bytes(None), 0);
}
