//! The mail for a slot, or for any of a group, while nobody is there. Pure.

use std::collections::BTreeMap;

use crate::bus::decoder::Parcel;
use crate::bus::frame::Kind;
use crate::bus::peer::Address;

/// The most bytes that wait at one place, beside one parcel of any size.
const LIMIT: usize = 1 << 20;

/// The most descriptors that wait for one empty slot, or are on their way to one process.
pub(super) const OF_ONE: usize = 32;

/// All that waits, by the slot or the group in which nobody is.
#[derive(Debug)]
pub(super) struct Backlogs {
    places: BTreeMap<Address, Backlog>,
    limit: usize,
    /// How many parcels have waited.
    count: u64,
}

/// What waits at one place, each with its number among all that waits anywhere.
#[derive(Debug, Default)]
struct Backlog {
    parcels: Vec<(u64, Parcel)>,
    bytes: usize,
}

impl Backlog {
    /// How many descriptors wait here.
    fn descriptors(&self) -> usize {
        self.parcels.iter().map(|(_, parcel)| parcel.descriptors()).sum()
    }
}

impl Backlogs {
    /// Whoever comes will take `queue` bytes at once: what waits for it has to fit, for it was confirmed.
    pub(super) fn new(queue: usize) -> Self {
        Self { places: BTreeMap::new(), limit: LIMIT.min(queue), count: 0 }
    }

    /// Keeps a parcel for whoever comes to `place`; gives it back when too much waits there already.
    pub(super) fn push(&mut self, place: Address, parcel: Parcel) -> Result<(), Parcel> {
        let backlog = self.places.entry(place).or_default();
        let carried = backlog.descriptors() + parcel.descriptors();
        let is_long = backlog.bytes > 0 && backlog.bytes + parcel.wire_length() > self.limit;
        if is_long || carried > OF_ONE {
            return Err(parcel);
        }
        self.count += 1;
        backlog.bytes += parcel.wire_length();
        backlog.parcels.push((self.count, parcel));
        Ok(())
    }

    /// Takes out what waits at these places, in the order in which it came.
    pub(super) fn take(&mut self, places: &[Address]) -> Vec<Parcel> {
        let backlogs = places.iter().filter_map(|place| self.places.remove(place));
        let mut parcels: Vec<_> = backlogs.flat_map(|backlog| backlog.parcels).collect();
        parcels.sort_by_key(|(number, _)| *number);
        parcels.into_iter().map(|(_, parcel)| parcel).collect()
    }

    /// Takes out the questions of `asker` for whose answers nobody waits any more: question `number`, or all.
    pub(super) fn cancel(&mut self, asker: Address, number: Option<u64>) -> Vec<Parcel> {
        let is_meant = |parcel: &Parcel| match parcel {
            Parcel::Frame(frame) => {
                (frame.kind(), frame.route().from) == (Kind::Ask, asker)
                    && number.is_none_or(|number| frame.number() == number)
            }
            Parcel::Run(_) => false,
        };
        let mut cancelled = Vec::new();
        self.places.retain(|_, backlog| {
            cancelled.extend(backlog.parcels.extract_if(.., |(_, parcel)| is_meant(parcel)));
            backlog.bytes = backlog.parcels.iter().map(|(_, parcel)| parcel.wire_length()).sum();
            !backlog.parcels.is_empty()
        });
        cancelled.into_iter().map(|(_, parcel)| parcel).collect()
    }

    /// At how many places anything waits.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}
