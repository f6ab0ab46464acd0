//! Each way for a question to end.

use super::*;

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
fn a_question_or_an_answer_that_does_not_fit_is_refused_to_its_asker() {
    let mut world = World::new();
    world.ask(AGENT, worker(WEB, 0), 7);
    let question = Parcel::Frame(frame(Kind::Ask, AGENT, worker(WEB, 0), "orders", 7));
    assert_eq!(world.undelivered(2, question), ["await room at 2", "1 hears Busy of 7"]);
    world.ask(AGENT, worker(WEB, 0), 8);
    world.take(web(0), reply(web(0), AGENT.address, 8));
    assert_eq!(world.undelivered(1, reply(web(0), AGENT.address, 8)), ["1 hears Busy of 8"]);
    assert_eq!(world.exchange.calls.sizes().0, 0);
    assert_eq!(world.exchange.totals(), (1, 2));
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
    let come = world.join(seat(9, worker(WEB, 0), 109, Standing::Ready));
    assert_eq!(come, ["9 gets Message [1]", "9 gets Message [3]"]);
}

#[test]
fn a_question_that_is_cancelled_goes_to_nobody_else() {
    let mut world = World::new();
    let next = Address { group: WEB, ..Address::to(Form::Next) };
    let question = || Parcel::Frame(frame(Kind::Ask, AGENT, next, "orders", 7));
    assert_eq!(world.take(AGENT, question()), ["2 gets Ask [7]"]);
    // What it did not fit is told behind all that came with it.
    assert_eq!(world.cancel(AGENT, 7), ["2 hears Cancel 7"]);
    assert_eq!(world.undelivered(2, question()), ["await room at 2"]);
    // Another has the same number by now.
    assert_eq!(world.take(AGENT, question()), ["3 gets Ask [7]"]);
    assert!(world.undelivered(2, question()).is_empty());
    assert_eq!(world.take(web(1), reply(web(1), AGENT.address, 7)), ["1 gets Reply [7]"]);
}

#[test]
fn a_question_that_meets_a_closed_link_ends_at_once_and_once() {
    let mut world = World::new();
    let question = |number| Parcel::Frame(frame(Kind::Ask, AGENT, worker(WEB, 0), "orders", number));
    for number in [7, 8, 9] {
        world.take(AGENT, question(number));
    }
    world.cancel(AGENT, 9);
    assert_eq!(world.returned(2, question(8)), ["1 hears Gone of 8"]);
    assert!(world.returned(2, question(9)).is_empty());
    // What it had read before it may have answered.
    assert_eq!(world.take(web(0), reply(web(0), AGENT.address, 7)), ["1 gets Reply [7]"]);
    assert!(world.take(web(0), reply(web(0), AGENT.address, 8)).is_empty());
    assert!(world.leave(2).is_empty());
    assert_eq!(world.topic("orders"), (3, 1, 2));
}
