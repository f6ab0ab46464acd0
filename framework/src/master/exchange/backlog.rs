//! The mail for a slot that nobody fills for now. Pure.

use crate::bus::decoder::Parcel;
use crate::bus::frame::Kind;
use crate::bus::peer::Address;

/// The most bytes that wait for one empty slot, beside one parcel of any size.
const LIMIT: usize = 1 << 20;

/// The most descriptors that wait for one empty slot, or are on their way to one process.
pub(super) const OF_ONE: usize = 32;

/// What waits for the next process of a slot, in its order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    parcels: Vec<Parcel>,
    bytes: usize,
}

impl Backlog {
    /// Keeps a parcel; gives it back when too much waits already.
    pub(super) fn push(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        let carried = self.descriptors() + parcel.descriptors();
        if (self.bytes > 0 && self.bytes + parcel.wire_length() > LIMIT) || carried > OF_ONE {
            return Err(parcel);
        }
        self.bytes += parcel.wire_length();
        self.parcels.push(parcel);
        Ok(())
    }

    /// How many descriptors wait with them.
    pub(super) fn descriptors(&self) -> usize {
        self.parcels.iter().map(Parcel::descriptors).sum()
    }

    /// Forgets a question for whose answer nobody waits any more.
    pub(super) fn cancel(&mut self, asker: Address, number: u64) {
        self.parcels.retain(|parcel| match parcel {
            Parcel::Frame(frame) => {
                (frame.kind(), frame.number(), frame.route().from) != (Kind::Ask, number, asker)
            }
            Parcel::Run(_) => true,
        });
        self.bytes = self.parcels.iter().map(Parcel::wire_length).sum();
    }

    pub(super) fn into_parcels(self) -> Vec<Parcel> {
        self.parcels
    }
}
