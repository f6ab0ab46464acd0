//! The doors for fuzzers, behind the feature `fuzzing`: each takes any bytes and panics when something is wrong. No part of
//! the public API; `fuzz/` uses it.

use crate::bus::codec::decode;
use crate::bus::control::{Failure, Hello, Pulse, Receipt, Request, Unanswered};
use crate::bus::decoder::Decoder;
use crate::bus::frame::{Frame, MAX_LENGTH};
use crate::bus::parcel::{Parcel, Run, Unrolled};
use crate::events::ClusterEvent;
use crate::launch::Launch;
use crate::status::DutyStatus;

/// Cuts the bytes into frames and into parcels, in pieces whose size the first byte tells; both ways find the same, and
/// what is found in runs stays the same when it is packed.
pub fn decoder(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let step = usize::from(*step) + 1;
    let (mut one_by_one, mut by_parcels) = (Vec::new(), Vec::new());
    let one = cut(bytes, step, &mut one_by_one, |decoder| {
        decoder.next().map(|frame| frame.map(Parcel::Frame)).map_err(|error| error.to_string())
    });
    let many =
        cut(bytes, step, &mut by_parcels, |decoder| decoder.next_parcel().map_err(|error| error.to_string()));
    assert_eq!((one, &one_by_one), (many, &by_parcels), "frames and parcels differ");
    assert!(bytes.starts_with(&one_by_one), "what is relayed is what came");
}

/// What was found as it stands on the wire, and what was wrong.
fn cut(
    bytes: &[u8],
    step: usize,
    found: &mut Vec<u8>,
    next: impl Fn(&mut Decoder) -> Result<Option<Parcel>, String>,
) -> Option<String> {
    let mut decoder = Decoder::new(MAX_LENGTH);
    for piece in bytes.chunks(step) {
        decoder.feed(piece, []);
        loop {
            match next(&mut decoder) {
                Ok(Some(Parcel::Frame(frame))) => found.extend(wire(&frame)),
                Ok(Some(Parcel::Run(run))) => {
                    found.extend(&run.bytes);
                    unroll(run);
                }
                Ok(None) => break,
                Err(problem) => return Some(problem),
            }
        }
    }
    None
}

/// Takes one message after the other, which come to an end, and again from what the run is for many.
fn unroll(run: Run) {
    let messages = messages_of(run.clone());
    let Parcel::Run(run) = Parcel::Run(run).for_many() else { panic!("a run is none any more") };
    let packed = run.bytes_for(true);
    if packed != &run.bytes {
        assert_eq!(messages.concat(), run.bytes, "a run is not its messages");
        let mut decoder = Decoder::new(MAX_LENGTH);
        decoder.feed(packed, []);
        match decoder.next_parcel() {
            Ok(Some(Parcel::Run(packed))) => {
                assert_eq!(messages_of(packed), messages, "packed it is another")
            }
            other => panic!("what was packed is {other:?}"),
        }
    }
}

/// The messages of a run, each as it would stand on the wire alone.
fn messages_of(run: Run) -> Vec<Vec<u8>> {
    let count = run.count;
    let mut unrolled = Unrolled::new(run);
    let messages: Vec<_> = std::iter::from_fn(|| unrolled.next_frame()).map(|frame| wire(&frame)).collect();
    assert_eq!(messages.len() as u64, count, "a run has other messages than it says");
    messages
}

fn wire(frame: &Frame) -> Vec<u8> {
    [&frame.head()[..], frame.content()].concat()
}

/// Decodes the bytes as each body that there is.
pub fn bodies(bytes: &[u8]) {
    let _ = decode::<Hello>("the hello", bytes);
    let _ = decode::<Failure>("the last words", bytes);
    let _ = decode::<Pulse>("the pulse", bytes);
    let _ = decode::<Receipt>("a receipt", bytes);
    let _ = decode::<Unanswered>("a refusal", bytes);
    let _ = decode::<Request>("a request", bytes);
    let _ = decode::<Vec<DutyStatus>>("the duties", bytes);
    let _ = decode::<Option<String>>("why the configuration was refused", bytes);
    let _ = decode::<ClusterEvent>("an event", bytes);
    let _ = decode::<Launch>("the welcome", bytes);
}

/// Has processes come, go, write, ask and answer as the bytes say.
#[cfg(feature = "fuzzing")]
pub fn exchange(bytes: &[u8]) {
    crate::master::fuzz_exchange(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_LENGTH, Parcel, decoder};
    use crate::bus::decoder::Decoder;
    use crate::bus::frame::{Frame, Kind};

    /// Messages that go the same way, a frame of many, one that claims to be, and anything.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
        let frame = |kind, number, payload: &[u8]| super::wire(&Frame::about(kind, "words", number, payload));
        let many = move |payloads: Vec<Vec<u8>>| {
            let mut decoder = Decoder::new(MAX_LENGTH);
            let messages = payloads.iter().map(|payload| frame(Kind::Message, 7, payload));
            messages.for_each(|message| decoder.feed(&message, []));
            match decoder.next_parcel().unwrap().unwrap().for_many() {
                Parcel::Run(run) => run.bytes_for(true).to_vec(),
                other => panic!("{other:?} is no run"),
            }
        };
        prop_oneof![
            2 => prop::collection::vec(bytes(40), 1..20).prop_map(many),
            4 => (any::<u64>(), bytes(40)).prop_map(move |(number, it)| frame(Kind::Message, number, &it)),
            1 => (0..500_u64, bytes(4096)).prop_map(move |(count, it)| frame(Kind::Messages, count, &it)),
            1 => bytes(60),
        ]
    }

    proptest! {
        #[test]
        fn runs_of_any_kind_are_unrolled_to_an_end(
            step in any::<u8>(),
            pieces in prop::collection::vec(pieces(), 1..20),
        ) {
            decoder(&[&[step][..], &pieces.concat()].concat());
        }
    }
}
