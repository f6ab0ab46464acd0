//! Whom an address finds, and what is no address of a sender's.

use super::*;

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
