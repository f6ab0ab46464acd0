//! What finds no room or no link: what its sender hears, and who gets it instead.

use super::*;

#[test]
fn a_receipt_tells_who_got_it_who_did_not_and_when_there_is_room() {
    let mut world = World::new();
    let everyone = Address::to(Form::Everyone);
    let sent = world.send_receipted(web(0), everyone, 5);
    let gets = |id| format!("{id} gets Message [5]");
    assert_eq!(sent, [gets(1), gets(2), gets(3), gets(4), "confirm 5 of 2".to_owned()]);
    let parcel = || Parcel::Frame(frame(Kind::Message, web(0), everyone, "words", 5).with_receipt());
    assert_eq!(world.undelivered(3, parcel()), ["await room at 3"]);
    assert_eq!(world.confirm(web(0), 5), ["2 hears of 5: 5 [103] false"]);
    world.send_receipted(AGENT, worker(WEB, 1), 6);
    let parcel = || Parcel::Frame(frame(Kind::Message, AGENT, worker(WEB, 1), "words", 6).with_receipt());
    assert!(world.undelivered(3, parcel()).is_empty(), "room is awaited already");
    assert_eq!(world.confirm(AGENT, 6), ["1 hears of 6: 0 [103] false"]);
    let told = world.with(|exchange, actions| exchange.has_room(ChildId(3), actions));
    assert_eq!(told, ["1 hears Room 0", "2 hears Room 0"]);
    assert_eq!(world.topic("words"), (1, 3, 1), "a try that was refused is no sent message");
    assert_eq!(world.send_receipted(AGENT, Address::process(9), 7), ["confirm 7 of 1"]);
    assert_eq!(world.confirm(AGENT, 7), ["1 hears of 7: 0 [] true"]);
}

#[test]
fn a_receipt_names_the_slot_of_one_that_is_gone_meanwhile() {
    let mut world = World::new();
    let everyone = Address::to(Form::Everyone);
    let parcel = || Parcel::Frame(frame(Kind::Message, AGENT, everyone, "words", 5).with_receipt());
    world.take(AGENT, parcel());
    world.leave(3);
    assert_eq!(world.undelivered(3, parcel()), ["1 hears Room 0"]);
    assert_eq!(world.exchange.receipts[&(ChildId(1), 5)].places, [worker(WEB, 1).to_bytes()]);
    assert_eq!(world.confirm(AGENT, 5), ["1 hears of 5: 5 [0] false"]);
}

#[test]
fn what_did_not_fit_counts_no_bytes() {
    let mut world = World::new();
    for number in [1, 2] {
        world.send(AGENT, worker(WEB, 1), number);
    }
    let parcel = Parcel::Frame(frame(Kind::Message, AGENT, worker(WEB, 1), "words", 2));
    let length = parcel.wire_length() as u64;
    world.undelivered(3, parcel);
    let (peer, topics) = (world.exchange.of(ChildId(3)), world.exchange.topics());
    assert_eq!((peer.relayed, peer.dropped, peer.bytes, topics[0].bytes), (1, 1, length, length));
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
    assert_eq!(world.confirm(AGENT, 6), ["1 hears of 6: 0 [0] false"]);
    assert_eq!(world.exchange.traffic.past(worker(WEB, 1)).relayed, 0);
    assert_eq!(world.exchange.traffic.peers(), 0, "one that is gone is not counted again");
}

#[test]
fn what_meets_a_closed_link_waits_for_the_next_in_the_slot_or_its_sender_is_told() {
    let mut world = World::new();
    let to = worker(WEB, 1);
    let parcel = || Parcel::Frame(frame(Kind::Message, AGENT, to, "words", 6).with_receipt());
    world.take(AGENT, parcel());
    let back = world.returned(3, parcel());
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
    let back = world.returned(9, parcel());
    assert_eq!(back, ["1 hears Room 0"]);
    assert_eq!(world.confirm(AGENT, 7), ["1 hears of 7: 0 [109] false"]);
    assert_eq!(world.topic("words"), (1, 1, 0));
}

#[test]
fn what_meets_a_closed_link_goes_to_the_successor_and_never_back() {
    let mut world = World::new();
    let to = worker(WEB, 1);
    let parcel = || Parcel::Frame(frame(Kind::Message, AGENT, to, "words", 6));
    world.join(seat(9, to, 109, Standing::Starting));
    world.take(AGENT, parcel());
    let passed_on = |world: &mut World, id| world.returned(id, parcel());
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
    let passed_on = |world: &mut World, id, number| world.returned(id, parcel(number));
    assert_eq!(world.take(AGENT, parcel(6)), ["2 gets Message [6]", "confirm 6 of 1"]);
    assert_eq!(passed_on(&mut world, 2, 6), ["3 gets Message [6]"]);
    assert!(passed_on(&mut world, 3, 6).is_empty(), "it waits for whoever comes to the group");
    world.leave(2);
    assert_eq!(world.join(seat(9, worker(WEB, 0), 109, Standing::Starting)), ["9 gets Message [6]"]);
    // Nobody comes any more in a stop: its sender hears so.
    world.take(AGENT, parcel(7));
    let seats = world.seats.clone();
    world.with(|exchange, actions| exchange.follow(vec![], seats, actions));
    assert_eq!(passed_on(&mut world, 9, 7), ["1 hears Room 0"]);
    assert_eq!(world.confirm(AGENT, 7), ["1 hears of 7: 0 [109] false"]);
    assert_eq!(world.topic("words"), (1, 1, 0));
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
fn what_waits_for_one_that_dies_goes_on_in_its_order_or_is_counted() {
    let mut world = World::new();
    let next = Address { group: WEB, ..Address::to(Form::Next) };
    let parcel = |to, number| Parcel::Frame(frame(Kind::Message, AGENT, to, "words", number));
    let left = [
        parcel(worker(WEB, 1), 1),
        run(AGENT, worker(WEB, 1), "words", 2..4),
        parcel(next, 4),
        parcel(Address::process(103), 5),
        parcel(Address::to(Form::Everyone), 6),
    ];
    world.exchange.seats.latest.insert(worker(WEB, 1), ChildId(3));
    world.exchange.traffic.delivered(&[ChildId(3)], "words", 6, 60);
    let mut lost = Topics::new();
    let take_back = |exchange: &mut Exchange, actions: &mut Vec<Action>| {
        lost = exchange.take_back(ChildId(3), &left, actions);
    };
    assert_eq!(world.with(take_back), ["2 gets Message [4]"]);
    assert_eq!(lost, Topics::from([("words".into(), 2)]));
    assert_eq!(world.exchange.of(ChildId(3)).dropped, 2);
    world.leave(3);
    let flushed = world.join(seat(9, worker(WEB, 1), 109, Standing::Starting));
    assert_eq!(flushed, ["9 gets Message [1]", "9 gets Message [2, 3]"]);
    assert_eq!(world.topic("words"), (0, 4, 2));
}

#[test]
fn what_waits_for_one_whose_successor_has_newer_mail_is_lost_with_it() {
    let mut world = World::new();
    let to = worker(WEB, 1);
    assert_eq!(world.send(AGENT, to, 1), ["3 gets Message [1]"]);
    world.seats[2].standing = Standing::Leaving;
    world.join(seat(9, to, 109, Standing::Ready));
    assert_eq!(world.send(AGENT, to, 2), ["9 gets Message [2]"]);
    let left = [Parcel::Frame(frame(Kind::Message, AGENT, to, "words", 1))];
    let mut lost = Topics::new();
    let said = world.with(|exchange, actions| lost = exchange.take_back(ChildId(3), &left, actions));
    assert_eq!((said.len(), lost), (0, Topics::from([("words".into(), 1)])));
    assert_eq!(world.topic("words"), (2, 1, 1));
}

#[test]
fn one_for_whom_too_much_waits_is_passed_over_while_another_of_the_group_has_room() {
    let mut world = World::new();
    let to = Address { group: WEB, ..Address::to(Form::Next) };
    let parcel = |number| Parcel::Frame(frame(Kind::Message, AGENT, to, "words", number).with_receipt());
    assert_eq!(world.take(AGENT, parcel(1)), ["2 gets Message [1]", "confirm 1 of 1"]);
    assert_eq!(world.undelivered(2, parcel(1)), ["await room at 2", "3 gets Message [1]"]);
    assert_eq!(world.confirm(AGENT, 1), ["1 hears of 1: 1 [] false"]);
    assert_eq!(world.ask(AGENT, to, 2), ["4 gets Ask [2]"]);
    assert_eq!(world.ask(AGENT, to, 3), ["3 gets Ask [3]"], "it is passed over untried");
    let ask = |number| Parcel::Frame(frame(Kind::Ask, AGENT, to, "orders", number));
    assert_eq!(world.undelivered(3, ask(3)), ["await room at 3", "4 gets Ask [3]"]);
    assert_eq!(world.undelivered(4, ask(3)), ["await room at 4", "1 hears Busy of 3"]);
    // All are full: the sender waits for any of them, or for one that comes.
    world.take(AGENT, parcel(4));
    assert!(world.undelivered(2, parcel(4)).is_empty());
    assert_eq!(world.confirm(AGENT, 4), ["1 hears of 4: 0 [102] false"]);
    assert_eq!(world.with(|exchange, actions| exchange.has_room(ChildId(3), actions)), ["1 hears Room 0"]);
    assert_eq!(world.send(AGENT, to, 5), ["3 gets Message [5]"]);
    let come = world.join(seat(9, worker(WEB, 7), 109, Standing::Ready));
    assert!(come.is_empty(), "it was told already");
}

#[test]
fn what_waits_for_one_that_hangs_comes_before_what_came_since_and_all_of_it_fits() {
    let mut world = World::new();
    let to = worker(WEB, 1);
    let large = |number| {
        let route = Route { to, from: AGENT.address, time: 0 };
        Parcel::Frame(Frame::about(Kind::Message, "words", number, &vec![0; 900 << 10]).on(route))
    };
    for number in 1..=3 {
        assert_eq!(world.take(AGENT, large(number)).len(), 1);
    }
    // It has no seat any more, and is not at its end.
    world.leave(3);
    assert_eq!(world.take(AGENT, large(4)), [""; 0]);
    let left = [large(1), large(2), large(3)];
    assert_eq!(world.with(|exchange, actions| _ = exchange.take_back(ChildId(3), &left, actions)), [""; 0]);
    world.exchange.ended(ChildId(3));
    let flushed = world.join(seat(9, to, 109, Standing::Starting));
    assert_eq!(flushed, [1, 2, 3, 4].map(|number| format!("9 gets Message [{number}]")));
    assert_eq!((world.topic("words"), world.exchange.seats.heirs()), ((4, 4, 0), 1));
}

#[test]
fn what_waits_for_one_that_is_killed_after_its_successor_got_mail_is_lost_though_it_has_no_seat() {
    let mut world = World::new();
    let to = worker(WEB, 1);
    let parcel = |number| Parcel::Frame(frame(Kind::Message, AGENT, to, "words", number));
    assert_eq!(world.take(AGENT, parcel(1)), ["3 gets Message [1]"]);
    world.seats[2].standing = Standing::Leaving;
    world.join(seat(9, to, 109, Standing::Ready));
    assert_eq!(world.take(AGENT, parcel(2)), ["9 gets Message [2]"]);
    world.leave(3);
    assert_eq!(world.returned(3, parcel(1)), [""; 0]);
    assert_eq!(world.topic("words"), (2, 1, 1));
}

#[test]
fn what_waits_for_one_that_has_parted_comes_before_what_waits_for_its_successor() {
    let mut world = World::new();
    let to = worker(WEB, 1);
    let parcel = |number| Parcel::Frame(frame(Kind::Message, AGENT, to, "words", number));
    assert_eq!(world.take(AGENT, parcel(1)), ["3 gets Message [1]"]);
    world.seats[2].standing = Standing::Parted;
    world.seat(world.seats.clone());
    assert_eq!(world.take(AGENT, parcel(2)), [""; 0]);
    assert_eq!(world.returned(3, parcel(1)), [""; 0]);
    let flushed = world.join(seat(9, to, 109, Standing::Ready));
    assert_eq!(flushed, ["9 gets Message [1]", "9 gets Message [2]"]);
}
