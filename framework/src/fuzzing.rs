//! The doors for fuzzers, behind the feature `fuzzing`: each takes any bytes and panics when something is wrong. No part of
//! the public API; `fuzz/` uses it.

use crate::bus::codec::decode;
use crate::bus::control::{Failure, Hello, Pulse, Receipt, Request, Unanswered};
use crate::bus::decoder::{Decoder, Parcel};
use crate::bus::frame::{Frame, MAX_LENGTH};
use crate::events::ClusterEvent;
use crate::launch::Launch;
use crate::status::DutyStatus;

/// Cuts the bytes into frames and into parcels, in pieces whose size the first byte tells; both ways find the same.
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
                Ok(Some(Parcel::Run(run))) => found.extend(&run.bytes),
                Ok(None) => break,
                Err(problem) => return Some(problem),
            }
        }
    }
    None
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
pub fn exchange(bytes: &[u8]) {
    crate::master::fuzz_exchange(bytes);
}
