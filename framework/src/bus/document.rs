//! Holds `docs/protocol.md` against the code: its numbers, its names and its example are the ones in use.

use serde::Serialize;

use super::codec;
use super::control::{Failure, Hello, PublishAnswer, Pulse, Receipt, SUCCESSION, Unanswered};
use super::decoder::Decoder;
use super::frame::{Frame, Kind, MAX_DESCRIPTORS, MAX_LENGTH, PROTOCOL};
use super::head::{HEAD, LOST, MEMFD, RECEIPT, Route};
use super::parcel::{Parcel, Unrolled};
use super::peer::{Address, Form};
use crate::role::{APP_DIR_VARIABLE, BUILD_VARIABLE, ROLE_VARIABLE, Slot};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// The bytes of an example; what stands behind three spaces is said of them.
fn example(nth: usize) -> Vec<u8> {
    let rest = DOCUMENT.split("```hex\n").nth(nth + 1).unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let bytes = block.lines().filter_map(|line| line.split("   ").next());
    let digits = bytes.flat_map(str::split_whitespace);
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

fn wire(frame: &Frame) -> Vec<u8> {
    [&frame.head()[..], frame.content()].concat()
}

/// The names of a map's fields, and of the maps in it.
fn names_in(value: &serde_json::Value) -> Vec<String> {
    let inner = |(name, value): (&String, _)| std::iter::once(name.clone()).chain(names_in(value)).collect();
    value.as_object().into_iter().flatten().flat_map::<Vec<String>, _>(inner).collect()
}

fn fields_of<T: Serialize>(value: &T) -> Vec<String> {
    names_in(&codec::decode("a map", &codec::encode("a map", value).unwrap()).unwrap())
}

/// A message of `py.0` to `web.1`, that was sent so many microseconds after the first.
fn message(number: u64, later: u64) -> Frame {
    let web = Address { index: 1, ..Address::to(Form::Worker) };
    let py = Address { group: 1, pid: 4711, ..Address::to(Form::Worker) };
    let words = codec::encode("words", &serde_json::json!({ "text": "aha" })).unwrap();
    let route = Route { to: web, from: py, time: 1_763_689_027_322_880 + later };
    Frame::about(Kind::Message, "words", number, &words).on(route)
}

#[test]
fn the_example_of_the_document_is_what_the_code_writes_and_reads() {
    let frames = [Frame::about(Kind::Ack, "config", 3, &[]), message(9, 0).with_receipt()];
    let written: Vec<u8> = frames.iter().flat_map(wire).collect();
    assert_eq!(example(0), written, "it should be {written:02x?}");
    let mut decoder = Decoder::new(MAX_LENGTH);
    decoder.feed(&example(0), []);
    for frame in &frames {
        assert_eq!(wire(&decoder.next().unwrap().unwrap()), wire(frame));
    }
    assert!(decoder.next().unwrap().is_none() && !decoder.is_mid_frame());
}

#[test]
fn the_example_of_many_messages_in_one_frame_is_what_the_code_writes_and_reads() {
    let run_of = |bytes: &[u8]| {
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(bytes, []);
        match decoder.next_parcel().unwrap().unwrap().for_many() {
            Parcel::Run(run) => run,
            Parcel::Frame(frame) => panic!("{frame:?} is no run"),
        }
    };
    let alone = [message(9, 0), message(10, 4)].map(|frame| wire(&frame));
    let run = run_of(&alone.concat());
    let packed = run.bytes_for(true);
    assert_eq!(example(1), packed[..], "it should be {packed:02x?}");
    let mut unrolled = Unrolled::new(run_of(&example(1)));
    let read = [(); 2].map(|()| wire(&unrolled.next_frame().unwrap()));
    assert!(read == alone && unrolled.next_frame().is_none());
}

#[test]
fn every_kind_stands_in_the_document_with_its_number() {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| ") && line.contains('→')).count();
    for kind in Kind::ALL {
        let row = format!("\n| {} | `{kind:?}` | ", *kind as u8);
        assert!(
            DOCUMENT.contains(&row),
            "docs/protocol.md has no row for {kind:?}, which is {}",
            *kind as u8
        );
    }
    for kind in Kind::ALL {
        let most = kind.most_descriptors();
        let said = [format!("`{kind:?}` ({most} at most)"), format!("`{kind:?}` ({most})")];
        let is_said = said.iter().any(|words| DOCUMENT.contains(words));
        assert_eq!(is_said, most > 0, "docs/protocol.md on the {most} descriptors of {kind:?}");
    }
    // One more is the head of the table.
    assert_eq!(rows, Kind::ALL.len() + 1, "docs/protocol.md has rows for kinds that there are not");
}

#[test]
fn the_limits_and_words_of_the_document_are_those_of_the_code() {
    let said = [
        format!("and this is number {PROTOCOL}."),
        format!("`protocol` ({PROTOCOL})"),
        format!("an envelope of {HEAD} bytes"),
        format!("at most 64 MiB ({MAX_LENGTH})"),
        format!("come along, at most {MAX_DESCRIPTORS} |"),
        format!("flags | {RECEIPT}: the sender wants a receipt; {MEMFD}: the payload"),
        format!("; {LOST}, and only from the master: descriptors came"),
        format!("text: `{}`, ", String::from_utf8_lossy(SUCCESSION)),
    ];
    let variables = [ROLE_VARIABLE, BUILD_VARIABLE, APP_DIR_VARIABLE].map(|name| format!("| `{name}` |"));
    for words in said.iter().chain(&variables) {
        assert!(DOCUMENT.contains(words), "docs/protocol.md does not say: {words}");
    }
}

#[test]
fn every_field_and_choice_that_a_worker_meets_is_in_the_document() {
    let hello =
        Hello { protocol: 0, build: String::new(), slot: Slot::worker("py", 0), generation: 1, packed: true };
    let failure = Failure { reason: String::new(), detail: String::new() };
    let refusals = [Unanswered::NoSuchPeer, Unanswered::Codec, Unanswered::Refused]
        .map(|refusal| refusal(String::new()));
    let words = [Unanswered::Gone, Unanswered::Busy, Unanswered::Nobody, Unanswered::Panicked];
    let mut names = [fields_of(&hello), fields_of(&failure), fields_of(&Pulse::default())].concat();
    names.extend([fields_of(&Receipt::default()), fields_of(&PublishAnswer::Version(1))].concat());
    names.extend(refusals.iter().flat_map(fields_of));
    names.extend(words.iter().map(|word| serde_json::to_value(word).unwrap().as_str().unwrap().to_owned()));
    for name in names {
        let quoted = [format!("`{name}`"), format!("\"{name}\"")];
        assert!(
            quoted.iter().any(|name| DOCUMENT.contains(name)),
            "docs/protocol.md does not tell of {name}"
        );
    }
}
