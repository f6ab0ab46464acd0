//! The decoder: streams that are whole, split, damaged or made up.

mod descriptors;

use proptest::prelude::*;

use super::super::frame::MAX_LENGTH;
use super::super::head::Route;
use super::super::packed::Packer;
use super::super::parcel::Unrolled;
use super::super::peer::{Address, Form};
use super::*;

fn wire(frame: &Frame) -> Vec<u8> {
    [&frame.head()[..], frame.content()].concat()
}

fn seen(frame: &Frame) -> (Kind, String, u64, Route, Vec<u8>) {
    (frame.kind(), frame.topic().to_owned(), frame.number(), frame.route(), frame.payload().to_owned())
}

fn any_address() -> impl Strategy<Value = Address> {
    (any::<u8>(), any::<u16>(), any::<u32>()).prop_map(|(group, index, pid)| Address {
        form: Form::Worker,
        group,
        index,
        pid,
    })
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let kind = prop::sample::select(Kind::ALL);
    let route =
        (any_address(), any_address(), any::<u64>()).prop_map(|(to, from, time)| Route { to, from, time });
    (kind, "[a-zé.]{0,20}", any::<u64>(), route, prop::collection::vec(any::<u8>(), 1..300)).prop_map(
        |(kind, topic, number, route, payload)| {
            match kind {
                Kind::Messages => many(&topic, &payload.chunks(50).collect::<Vec<_>>()),
                kind => Frame::about(kind, &topic, number, &payload),
            }
            .on(route)
        },
    )
}

/// Many messages in one frame.
fn many(topic: &str, payloads: &[&[u8]]) -> Frame {
    let count = payloads.len() as u64;
    let first = wire(&Frame::about(Kind::Message, topic, 0, b""));
    let mut packer = Packer::new(&first, 0, 0);
    payloads.iter().zip(1..).for_each(|(payload, number)| packer.add(number, number * number, payload));
    Frame::of_content(Kind::Messages, topic, count, packer.finish(count).unwrap()[HEAD..].to_vec())
}

fn message(topic: &str, to: Form, number: u64) -> Frame {
    Frame::about(Kind::Message, topic, number, b"words").on(Route { to: Address::to(to), ..Route::default() })
}

fn parcels(decoder: &mut Decoder) -> Vec<Parcel> {
    std::iter::from_fn(|| decoder.next_parcel().unwrap()).collect()
}

#[test]
fn malformed_heads_are_typed_errors() {
    let good = Frame::about(Kind::State, "ab", 7, b"x").head();
    let broken = |at: usize, value: u8| {
        let mut head = good;
        head[at] = value;
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(&[&head[..], b"abx"].concat(), []);
        let one_by_one = decoder.next().map(|_| ()).unwrap_err();
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(&[&head[..], b"abx"].concat(), []);
        assert_eq!(decoder.next_parcel().map(|_| ()).unwrap_err(), one_by_one);
        one_by_one
    };
    assert_eq!(broken(4, 0), FrameError::UnknownKind(0));
    assert_eq!(broken(4, 200), FrameError::UnknownKind(200));
    assert_eq!(broken(3, 255), FrameError::TooLong { length: 0xff00_0003, limit: MAX_LENGTH });
    assert_eq!(broken(5, 4), FrameError::TopicTooLong { topic: 4, length: 3 });
    assert_eq!(broken(6, 1), FrameError::MissingDescriptors { announced: 1, came: 0 });
    let too_many = FrameError::TooManyDescriptors { kind: Kind::State, announced: 2, most: 1 };
    assert_eq!(broken(6, 2), too_many);
    assert_eq!(broken(7, 128), FrameError::Flags(128));
    assert_eq!(broken(16, 77), FrameError::Address(77));
    assert_eq!(broken(24, 99), FrameError::Address(99));
}

#[test]
fn a_large_frame_leaves_no_memory_behind() {
    let large = Frame::about(Kind::Message, "a", 1, &vec![7; 60 << 20]);
    let small = wire(&message("a", Form::Everyone, 2));
    let mut decoder = Decoder::new(MAX_LENGTH);
    let bytes = [wire(&large), small.clone()].concat();
    let mut cut = Vec::new();
    for piece in bytes.chunks(64 << 10) {
        decoder.feed(piece, []);
        cut.extend(parcels(&mut decoder));
    }
    let Parcel::Run(run) = &cut[0] else { panic!("{cut:?}") };
    assert!(run.bytes.is_unique(), "what comes next is elsewhere");
    assert_eq!(cut.iter().map(Parcel::wire_length).collect::<Vec<_>>(), [wire(&large).len(), small.len()]);
    assert!(decoder.bytes.capacity() < KEPT, "{}", decoder.bytes.capacity());
}

#[test]
fn messages_that_go_the_same_way_are_one_run() {
    let all = Form::Everyone;
    let frames = [
        message("a", all, 1),
        message("a", all, 2),
        message("b", all, 3),
        message("b", Form::Agent, 4),
        Frame::about(Kind::Ask, "b", 5, b"?"),
        message("b", Form::Agent, 6),
    ];
    let mut decoder = Decoder::new(MAX_LENGTH);
    decoder.feed(&frames.iter().flat_map(wire).collect::<Vec<_>>(), []);
    decoder.feed(&wire(&message("b", Form::Agent, 7))[..44], []);
    let found: Vec<_> =
        parcels(&mut decoder).iter().map(|one| (one.kind(), one.topic().to_owned(), one.count())).collect();
    let run = |topic: &str, count| (Kind::Message, topic.to_owned(), count);
    assert_eq!(found, [run("a", 2), run("b", 1), run("b", 1), (Kind::Ask, "b".to_owned(), 1), run("b", 1)]);
    assert!(decoder.is_mid_frame());
}

#[test]
fn only_the_master_sends_many_messages_in_one_frame() {
    let frame = wire(&Frame::about(Kind::Messages, "a", 1, &[1, 2, 0, b'x']));
    for (mut decoder, is_run) in [
        (Decoder::new(MAX_LENGTH), true),
        (Decoder::of_child(MAX_LENGTH), false),
        (Decoder::of_caller(MAX_LENGTH), false),
    ] {
        decoder.feed(&frame, []);
        let parcel = decoder.next_parcel().unwrap().unwrap();
        assert_eq!(matches!(parcel, Parcel::Run(_)), is_run, "{parcel:?}");
    }
}

#[test]
fn many_messages_in_one_frame_are_as_many_as_it_says() {
    let miscounted = |claimed, found, left| Err(FrameError::Miscounted { claimed, found, left });
    for (claimed, payload, wanted) in [
        (1, &[1, 2, 0, b'x'][..], Ok(1)),
        (2, &[1, 2, 0, b'x', 0, 2, 0], Ok(2)),
        (0, &[], miscounted(0, 0, 0)),
        (0, &[1, 2, 0, b'x'], miscounted(0, 0, 4)),
        (1, &[1, 2, 0, b'x', 0, 2, 0], miscounted(1, 1, 3)),
        (2, &[1, 2, 0, b'x'], miscounted(2, 1, 0)),
        (u64::MAX, &[1, 2, 0, b'x'], miscounted(u64::MAX, 1, 0)),
        (1, &[2, 2, 0, b'x'], miscounted(1, 0, 4)),
        (1, &[0x80], miscounted(1, 0, 1)),
        (1, &[], miscounted(1, 0, 0)),
    ] {
        let frame = wire(&Frame::about(Kind::Messages, "a", claimed, payload));
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(&frame, []);
        let found = decoder.next_parcel().map(|parcel| parcel.unwrap().count());
        assert_eq!(found, wanted, "{claimed}: {payload:?}");
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(&frame, []);
        let found = decoder.next().map(|frame| frame.unwrap().number());
        assert_eq!(found, wanted, "one by one, {claimed}: {payload:?}");
    }
}

proptest! {
    #[test]
    fn many_messages_in_one_damaged_frame_are_as_many_as_it_says_or_an_error(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..9),
        at in any::<prop::sample::Index>(), value: u8
    ) {
        let mut bytes = wire(&many("words", &payloads.iter().map(|it| &it[..]).collect::<Vec<_>>()));
        let at = at.index(bytes.len());
        bytes[at] = value;
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(&bytes, []);
        while let Ok(Some(parcel)) = decoder.next_parcel() {
            let Parcel::Run(run) = parcel else { continue };
            let (count, mut unrolled) = (run.count, Unrolled::new(run));
            prop_assert_eq!(std::iter::from_fn(|| unrolled.next_frame()).count() as u64, count);
        }
    }

    #[test]
    fn frames_survive_any_split(frames in prop::collection::vec(any_frame(), 1..8), step in 1usize..97) {
        let bytes: Vec<u8> = frames.iter().flat_map(wire).collect();
        let mut decoder = Decoder::new(MAX_LENGTH);
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            decoder.feed(piece, []);
            while let Some(frame) = decoder.next().unwrap() {
                out.push(seen(&frame));
            }
        }
        prop_assert_eq!(out, frames.iter().map(seen).collect::<Vec<_>>());
        prop_assert!(!decoder.is_mid_frame());
    }

    #[test]
    fn parcels_are_the_same_bytes_in_the_same_order(
        frames in prop::collection::vec((any_frame(), 1usize..4), 1..8), step in 1usize..400
    ) {
        let repeated = frames.iter().flat_map(|(frame, times)| std::iter::repeat_n(frame, *times));
        let bytes: Vec<u8> = repeated.flat_map(wire).collect();
        let mut decoder = Decoder::new(MAX_LENGTH);
        let (mut out, mut count) = (Vec::new(), 0);
        for piece in bytes.chunks(step) {
            decoder.feed(piece, []);
            for parcel in parcels(&mut decoder) {
                count += parcel.count();
                match parcel {
                    Parcel::Frame(frame) => out.extend(wire(&frame)),
                    Parcel::Run(run) => out.extend(&run.bytes),
                }
            }
        }
        prop_assert_eq!(out, bytes);
        let claimed = |frame: &Frame| if frame.kind() == Kind::Messages { frame.number() } else { 1 };
        let expected: u64 = frames.iter().map(|(frame, times)| claimed(frame) * *times as u64).sum();
        prop_assert_eq!(count, expected);
    }

    #[test]
    fn garbage_is_an_error_or_a_wait_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(&bytes, []);
        while let Ok(Some(_)) = decoder.next() {}
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(&bytes, []);
        while let Ok(Some(_)) = decoder.next_parcel() {}
    }

    #[test]
    fn a_damaged_stream_is_an_error_or_a_wait_and_never_a_panic(
        frames in prop::collection::vec(any_frame(), 1..6), at in any::<prop::sample::Index>(), value: u8
    ) {
        let mut bytes: Vec<u8> = frames.iter().flat_map(wire).collect();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(&bytes, []);
        let mut length = 0;
        while let Ok(Some(parcel)) = decoder.next_parcel() {
            length += parcel.wire_length();
        }
        prop_assert!(length <= bytes.len());
    }
}

#[test]
fn what_is_kept_shares_no_memory_with_what_was_read_beside_it() {
    let mut decoder = Decoder::new(MAX_LENGTH);
    for kind in [Kind::Publish, Kind::Message] {
        let frame = Frame::about(kind, "topic", 1, b"payload");
        decoder.feed(&[&frame.head()[..], frame.content()].concat(), []);
    }
    decoder.feed(&[0; 60_000], []);
    let address = |parcel: &Parcel| match parcel {
        Parcel::Frame(frame) => frame.content().as_ptr(),
        Parcel::Run(run) => run.bytes.as_ptr(),
    };
    for _ in 0..2 {
        let parcel = decoder.next_parcel().unwrap().unwrap();
        let kept = parcel.clone().kept();
        assert_ne!(address(&kept), address(&parcel));
        assert_eq!((kept.topic(), kept.wire_length()), ("topic", parcel.wire_length()));
    }
}

#[test]
fn what_has_begun_is_told_without_its_bytes() {
    let mut decoder = Decoder::new(100);
    decoder.feed(b"secret", []);
    assert_eq!(format!("{decoder:?}"), "Decoder { limit: 100, bytes: 6, descriptors: 0 }");
}
