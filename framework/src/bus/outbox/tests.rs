//! What waits for one receiver: order, bounds, and which frame takes the place of which.

use crate::bus::parcel::Parcel;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::decoder::Decoder;
use super::super::frame::MAX_LENGTH;
use super::super::head::Route;
use super::super::peer::{Address, Form};
use super::*;

fn state(topic: &str, version: u64, size: usize) -> Frame {
    Frame::about(Kind::State, topic, version, &vec![0; size])
}

fn frames(batch: Vec<Piece>) -> impl Iterator<Item = Frame> {
    batch.into_iter().map(|piece| match piece {
        Piece::Frame(frame) => frame,
        other => panic!("{other:?}"),
    })
}

fn message(number: u64, size: usize) -> Frame {
    Frame::about(Kind::Message, "m", number, &vec![7; size])
}

/// The messages that are written, in their order.
fn written(outbox: &mut Outbox) -> Vec<(u64, usize)> {
    let mut decoder = Decoder::new(MAX_LENGTH);
    while !outbox.is_empty() {
        let batch = outbox.take_batch();
        for piece in &batch {
            match piece {
                Piece::Frame(frame) => decoder.feed(&[&frame.head()[..], frame.content()].concat(), []),
                Piece::Shared(bytes) => decoder.feed(bytes, []),
                Piece::Gathered(bytes) => decoder.feed(bytes, []),
            }
        }
        outbox.recycle(batch);
    }
    let frames = std::iter::from_fn(|| decoder.next().unwrap());
    frames.map(|frame| (frame.number(), frame.payload().len())).collect()
}

#[test]
fn who_takes_many_messages_in_one_frame_gets_them_so() {
    let wire: Vec<u8> =
        (1..=100).flat_map(|number| [&message(number, 9).head()[..], b"m", &[7; 9]].concat()).collect();
    let mut decoder = Decoder::new(MAX_LENGTH);
    decoder.feed(&wire, []);
    let Parcel::Run(run) = decoder.next_parcel().unwrap().unwrap().for_many() else { panic!("no run") };
    let [mut plain, mut packing] = [Outbox::new(LIMIT), Outbox::new(LIMIT)];
    packing.pack();
    for outbox in [&mut plain, &mut packing] {
        outbox.push_bytes(run.bytes_for(outbox.packs())).unwrap();
    }
    assert_eq!(plain.bytes(), wire.len());
    assert!(packing.bytes() < wire.len() / 3, "{} are counted", packing.bytes());
    assert_eq!(written(&mut plain).len(), 100);
}

fn drained(mut outbox: Outbox) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    while !outbox.is_empty() {
        all.extend(frames(outbox.take_batch()).map(|frame| (frame.topic().to_owned(), frame.number())));
    }
    outbox.recycle(Vec::new());
    assert_eq!(outbox.bytes(), 0);
    all
}

#[test]
fn a_newer_state_takes_the_place_of_the_older() {
    let mut outbox = Outbox::new(LIMIT);
    for frame in [state("a", 1, 10), state("b", 1, 10), state("a", 2, 99)] {
        outbox.push(&frame).unwrap();
    }
    assert_eq!(drained(outbox), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
}

#[test]
fn a_full_outbox_refuses_messages_and_never_states() {
    let mut outbox = Outbox::new(124);
    let message = || Frame::new(Kind::Pulse, 0, vec![0; 60]);
    outbox.push(&state("a", 1, 500)).unwrap();
    outbox.push(&message()).unwrap();
    assert_eq!(outbox.push(&message()), Err(Full { waiting: 100, attachments: 0 }));
    outbox.push(&state("a", 2, 60)).unwrap();
    outbox.push(&state("b", 1, 500)).unwrap();
    assert_eq!(outbox.bytes(), 101 + 100 + 541);
    while !outbox.is_empty() {
        let batch = outbox.take_batch();
        outbox.recycle(batch);
    }
    assert_eq!((outbox.bytes(), outbox.message_bytes), (0, 0));
    outbox.push(&message()).unwrap();
}

#[test]
fn answers_find_room_in_a_full_outbox_but_not_without_end() {
    let mut outbox = Outbox::new(LIMIT);
    while outbox.push(&message(1, 1 << 20)).is_ok() {}
    let receipt = || Frame::new(Kind::Receipt, 1, vec![0; 60]);
    let fitting = (0..1_000_000).take_while(|_| outbox.push(&receipt()).is_ok()).count();
    assert!((ANSWERS / 100..=2 * ANSWERS / 100).contains(&fitting), "{fitting}");
    assert!(outbox.bytes() <= LIMIT + ANSWERS);
    let _ = written(&mut outbox);
    assert_eq!((outbox.bytes(), outbox.message_bytes), (0, 0));
}

#[test]
fn a_state_behind_many_messages_is_the_newest_when_its_turn_comes() {
    let mut outbox = Outbox::new(LIMIT);
    let mut count = 0;
    outbox.push(&state("a", 1, 1000)).unwrap();
    while outbox.push(&message(count, 5000)).is_ok() {
        count += 1;
    }
    for version in 2..100 {
        outbox.push(&state("a", version, 1000)).unwrap();
        outbox.push(&state("b", version, 1000)).unwrap();
    }
    let all = drained(outbox);
    let states: Vec<_> = all.iter().filter(|(topic, _)| topic != "m").collect();
    assert_eq!(states, [&("a".to_owned(), 99), &("b".to_owned(), 99)]);
    assert_eq!(all.len() as u64, count + 2);
}

#[test]
fn one_write_is_within_what_the_kernel_gathers_and_keeps_little_memory() {
    let mut outbox = Outbox::new(LIMIT);
    for number in 0..1000 {
        let _ = outbox.push(&message(number, 5000));
        let _ = outbox.push(&message(number, 100));
    }
    while !outbox.is_empty() {
        let batch = outbox.take_batch();
        // A head and a body for each, and the kernel takes 1024.
        assert!(2 * batch.len() <= 1024);
        outbox.recycle(batch);
    }
    assert!(outbox.spare.capacity() <= 2 * GATHERED, "{}", outbox.spare.capacity());
}

#[test]
fn a_frame_with_descriptors_is_written_alone() {
    let null = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
    let plain = || Frame::new(Kind::Ready, 0, vec![]);
    let mut outbox = Outbox::new(LIMIT);
    for frame in [plain(), plain(), plain().with_descriptors(vec![null]), plain()] {
        outbox.push(&frame).unwrap();
    }
    let sizes: Vec<_> = (0..3).map(|_| outbox.take_batch().len()).collect();
    assert!(outbox.is_empty());
    assert_eq!(sizes, [1, 1, 1], "small frames are written as one piece");
}

#[test]
fn descriptors_that_wait_with_messages_are_bounded_whatever_their_receiver_claims() {
    let null: Arc<std::os::fd::OwnedFd> = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
    let carrier = |number, count| message(number, 1).with_descriptors(vec![Arc::clone(&null); count]);
    let mut outbox = Outbox::new(LIMIT);
    for number in 0..4 {
        assert!(outbox.push(&carrier(number, 16)).is_ok());
    }
    assert!(outbox.push(&carrier(4, 1)).is_err() && !outbox.has_room());
    outbox.push(&message(5, 1)).unwrap();
    outbox.push(&state("a", 1, 1).with_memory(Arc::clone(&null), 1)).unwrap();
    while !outbox.is_empty() {
        let batch = outbox.take_batch();
        outbox.recycle(batch);
    }
    assert!(outbox.has_room() && outbox.push(&carrier(6, 16)).is_ok());
}

#[test]
fn values_of_different_workers_are_kept_apart() {
    let from = |index| Route { from: Address { index, ..Address::to(Form::Worker) }, ..Route::default() };
    let mut outbox = Outbox::new(LIMIT);
    for (index, number) in [(0, 1), (1, 1), (0, 2)] {
        outbox.push(&Frame::about(Kind::Contribution, "load", number, b"").on(from(index))).unwrap();
    }
    assert_eq!(drained(outbox), [("load".to_owned(), 2), ("load".to_owned(), 1)]);
}

#[test]
fn a_state_that_is_observed_no_more_waits_no_longer() {
    let mut outbox = Outbox::new(LIMIT);
    for key in 0..1000 {
        let topic = format!("price\0{key}");
        outbox.push(&state(&topic, 1, 1000)).unwrap();
        outbox.push(&state("other", key, 10)).unwrap();
        outbox.recall(&topic);
        outbox.recall(&topic);
    }
    assert_eq!((outbox.queue.len(), outbox.conflated.len()), (1, 1));
    assert_eq!(outbox.state_bytes, outbox.bytes());
    assert_eq!(drained(outbox), [("other".to_owned(), 999)]);
}

#[test]
fn states_that_wait_take_no_more_than_all_that_are_retained() {
    let mut outbox = Outbox { states_limit: 1000, ..Outbox::new(LIMIT) };
    let large = |topic: &str| {
        let null: std::os::fd::OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        state(topic, 1, 0).with_memory(Arc::new(null), 500)
    };
    outbox.push(&large("a")).unwrap();
    outbox.recall("a");
    assert!(outbox.push(&large("b")).is_err(), "what is in sealed memory waits until its receiver has it");
    outbox.push(&state("b", 1, 300)).unwrap();
    assert!(outbox.push(&state("c", 1, 300)).is_err());
    outbox.push(&state("b", 2, 350)).unwrap();
    assert_eq!(drained(outbox), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
}

proptest! {
    #[test]
    fn messages_keep_their_order_whatever_their_size(
        sizes in prop::collection::vec(prop_oneof![0usize..200, 3000usize..5000, 10_000usize..40_000], 1..80),
        batches in prop::collection::vec(1usize..30, 1..4),
    ) {
        let mut outbox = Outbox::new(LIMIT);
        let mut sent = Vec::new();
        let mut got = Vec::new();
        let mut left = sizes.as_slice();
        for count in batches.into_iter().chain([sizes.len()]) {
            let (now, later) = left.split_at(count.min(left.len()));
            left = later;
            for size in now {
                let frame = message(sent.len() as u64, *size);
                sent.push((frame.number(), *size));
                if size % 2 == 0 {
                    outbox.push(&frame).unwrap();
                } else {
                    outbox.push_bytes(&[&frame.head()[..], frame.content()].concat().into()).unwrap();
                }
            }
            got.extend(written(&mut outbox));
        }
        prop_assert_eq!(got, sent);
        prop_assert_eq!((outbox.bytes(), outbox.message_bytes), (0, 0));
    }

    #[test]
    fn waiting_bytes_are_bounded_and_the_newest_state_survives(
        pushes in prop::collection::vec(("[ab]", 0usize..50), 1..100)
    ) {
        let mut outbox = Outbox::new(260);
        let mut newest = std::collections::BTreeMap::new();
        for (version, (topic, size)) in (1u64..).zip(&pushes) {
            outbox.push(&state(topic, version, *size)).unwrap();
            newest.insert(topic.clone(), version);
            prop_assert!(outbox.bytes() <= 260);
        }
        let left: std::collections::BTreeMap<_, _> = drained(outbox).into_iter().collect();
        prop_assert_eq!(left, newest);
    }
}

#[test]
fn what_waits_is_told_without_its_payload() {
    let mut outbox = Outbox::new(LIMIT);
    outbox.push(&Frame::about(Kind::Message, "m", 1, b"secret")).unwrap();
    outbox.push(&Frame::about(Kind::State, "s", 1, b"secret")).unwrap();
    outbox.push_bytes(&b"secret".repeat(1000).into()).unwrap();
    let told = format!("{outbox:?}");
    for piece in ["Gathered(47 bytes)", r#"State "s" #1 (6 bytes, 0 descriptors)"#, "Shared(6000 bytes)"] {
        assert!(told.contains(piece), "{piece} is not in {told}");
    }
    let raw = format!("{:?}", b"secret");
    assert!(!told.contains("secret") && !told.contains(raw.trim_matches(['[', ']'])), "{told}");
}
