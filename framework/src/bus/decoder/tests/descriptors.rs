//! Which frame gets which descriptors, and what is said of those that are lost, or nobody has announced.

use super::*;

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

fn with_null(kind: Kind, number: u64) -> Vec<u8> {
    let frame = Frame::about(kind, "t", number, b"x").with_descriptors(vec![Arc::new(null())]);
    wire(&frame)
}

#[test]
fn descriptors_go_to_the_frames_that_announce_them() {
    let shared = Arc::new(null());
    let plain = Frame::new(Kind::Message, 0, Bytes::new());
    let carrier = plain.clone().with_descriptors(vec![shared]);
    let mut decoder = Decoder::new(MAX_LENGTH);
    decoder.feed(&[wire(&plain), wire(&carrier), wire(&carrier)].concat(), [null(), null()]);
    let counts: Vec<_> = (0..3).map(|_| decoder.next().unwrap().unwrap().descriptors().len()).collect();
    assert_eq!(counts, [0, 1, 1]);
}

#[test]
fn descriptors_beyond_those_that_are_announced_are_an_error() {
    let plain = wire(&Frame::new(Kind::Ready, 0, vec![0; 9]));
    for (bytes, descriptors, strays) in [
        (&plain[..], 1, 1),
        (&plain[..HEAD], 2, 2),
        (&plain[..], 254, 254),
        (&plain[..10], 253, 0),
        (&plain[..10], 254, 1),
        (&[][..], 1, 1),
    ] {
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(bytes, (0..descriptors).map(|_| null()));
        let found = std::iter::from_fn(|| decoder.next().transpose()).find_map(Result::err);
        let expected = (strays > 0).then_some(FrameError::StrayDescriptors(strays));
        assert_eq!(found, expected, "{} bytes, {descriptors} descriptors", bytes.len());
    }
}

#[test]
fn a_message_whose_descriptors_were_lost_says_so_and_those_around_it_keep_theirs() {
    let mut decoder = Decoder::new(MAX_LENGTH);
    decoder.feed(&with_null(Kind::Message, 1), [null()]);
    decoder.feed_stripped(&with_null(Kind::Message, 2));
    decoder.feed(&with_null(Kind::Message, 3), [null()]);
    for (number, lost) in [(1, false), (2, true), (3, false)] {
        let frame = decoder.next().unwrap().unwrap();
        assert_eq!((frame.number(), frame.lost_descriptors()), (number, lost));
        assert_eq!(frame.descriptors().len(), usize::from(!lost));
    }
    for kind in [Kind::State, Kind::Publish] {
        decoder.feed_stripped(&with_null(kind, 1));
        assert!(decoder.next().unwrap().unwrap().lost_descriptors());
    }
    decoder.feed_stripped(&with_null(Kind::Welcome, 4));
    assert_eq!(decoder.next().unwrap_err(), FrameError::DescriptorsLost(Kind::Welcome));
}

#[test]
fn descriptors_of_a_kind_that_carries_none_are_an_error_before_the_frame_is_whole() {
    for kind in Kind::ALL {
        for (mut decoder, most) in [
            (Decoder::new(MAX_LENGTH), kind.most_descriptors()),
            (Decoder::of_child(MAX_LENGTH), kind.most_descriptors_of_child()),
            (Decoder::of_caller(MAX_LENGTH), 0),
        ] {
            for announced in [most, most + 1] {
                let shared = Arc::new(null());
                let frame = Frame::new(*kind, 0, vec![0; 9]).with_descriptors(vec![shared; announced]);
                decoder.feed(&frame.head(), (0..announced.min(2)).map(|_| null()));
                let expected = FrameError::TooManyDescriptors { kind: *kind, announced, most };
                let found = decoder.next().map(|_| ()).err();
                assert_eq!(found, (announced > most).then_some(expected), "{kind:?} with {announced}");
                decoder = Decoder { bytes: BytesMut::new(), descriptors: VecDeque::new(), ..decoder };
            }
        }
    }
}
