//! The mail for a slot, or for any of a group, while nobody is there. Pure.

use std::collections::BTreeMap;

use crate::bus::frame::Kind;
use crate::bus::parcel::Parcel;
use crate::bus::peer::Address;

/// The most bytes that wait at one place, beside one parcel of any size.
const LIMIT: usize = 1 << 20;

/// The most descriptors that wait for one empty slot, or are on their way to one process.
pub(super) const OF_ONE: usize = 32;

/// What is taken back of a process that is at its end is older than all that came while nobody was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    TakenBack,
    New,
}

/// Where a parcel stands among all that waits anywhere: its age, and a number that rises.
type Spot = (Age, u64);

/// All that waits, by the slot or the group in which nobody is.
#[derive(Debug)]
pub(super) struct Backlogs {
    places: BTreeMap<Address, Backlog>,
    /// Where each question waits, by its asker and its number: the place, and its spot there.
    questions: BTreeMap<(Address, u64), (Address, Spot)>,
    limit: usize,
    /// The most bytes that wait at one place, with what was taken back.
    most: usize,
    /// How many parcels have waited.
    count: u64,
}

/// What waits at one place.
#[derive(Debug, Default)]
struct Backlog {
    parcels: BTreeMap<Spot, Parcel>,
    bytes: usize,
    descriptors: usize,
}

impl Backlogs {
    /// Whoever comes will take `queue` bytes at once: what waits for it has to fit, for it was confirmed.
    pub(super) fn new(queue: usize) -> Self {
        let limit = LIMIT.min(queue);
        Self { places: BTreeMap::new(), questions: BTreeMap::new(), limit, most: queue + limit, count: 0 }
    }

    /// Keeps a parcel, which keeps no more memory than it counts, for whoever comes to `place`; gives it back when too much
    /// waits there already.
    pub(super) fn push(&mut self, place: Address, parcel: Parcel) -> Result<(), Parcel> {
        if !self.has_place(place, parcel.wire_length(), parcel.descriptors()) {
            return Err(parcel);
        }
        self.insert(place, Age::New, parcel);
        Ok(())
    }

    /// Keeps what was taken back of a process in front of all that came since. It was confirmed, and was bounded where it waited
    /// before, so that it always fits.
    pub(super) fn put_back(&mut self, place: Address, parcel: Parcel) -> Result<(), Parcel> {
        let waiting = self.places.get(&place).map_or(0, |backlog| backlog.bytes);
        if waiting > 0 && waiting + parcel.wire_length() > self.most {
            return Err(parcel);
        }
        self.insert(place, Age::TakenBack, parcel);
        Ok(())
    }

    fn insert(&mut self, place: Address, age: Age, parcel: Parcel) {
        self.count += 1;
        let (spot, backlog) = ((age, self.count), self.places.entry(place).or_default());
        backlog.descriptors += parcel.descriptors();
        backlog.bytes += parcel.wire_length();
        if let Some(question) = question_of(&parcel) {
            self.questions.insert(question, (place, spot));
        }
        backlog.parcels.insert(spot, parcel);
    }

    /// Whether a parcel of `length` bytes with so many descriptors fits at `place`.
    pub(super) fn has_place(&self, place: Address, length: usize, descriptors: usize) -> bool {
        self.places.get(&place).is_none_or(|backlog| {
            let is_short = backlog.bytes == 0 || backlog.bytes + length <= self.limit;
            is_short && backlog.descriptors + descriptors <= OF_ONE
        })
    }

    /// Takes out what waits at these places: what was taken back first, and the rest in the order in which it came.
    pub(super) fn take(&mut self, places: &[Address]) -> Vec<Parcel> {
        let backlogs = places.iter().filter_map(|place| self.places.remove(place));
        let parcels: BTreeMap<Spot, Parcel> = backlogs.flat_map(|backlog| backlog.parcels).collect();
        for parcel in parcels.values() {
            if let Some(question) = question_of(parcel) {
                self.questions.remove(&question);
            }
        }
        parcels.into_values().collect()
    }

    /// Takes out the questions of `asker` for whose answers nobody waits any more, with where they waited: question
    /// `number`, or all.
    pub(super) fn cancel(&mut self, asker: Address, number: Option<u64>) -> Vec<(Address, Parcel)> {
        let numbers = number.map_or(0..=u64::MAX, |number| number..=number);
        let meant = self.questions.range((asker, *numbers.start())..=(asker, *numbers.end()));
        let meant: Vec<_> = meant.map(|(&question, &spot)| (question, spot)).collect();
        let cancel = |(question, (place, at))| {
            self.questions.remove(&question);
            let backlog = self.places.get_mut(&place)?;
            let parcel = backlog.parcels.remove(&at)?;
            backlog.bytes -= parcel.wire_length();
            if backlog.parcels.is_empty() {
                self.places.remove(&place);
            }
            Some((place, parcel))
        };
        meant.into_iter().filter_map(cancel).collect()
    }

    /// Takes out the questions that wait at a place.
    pub(super) fn take_questions(&mut self, place: Address) -> Vec<Parcel> {
        let there = self.questions.iter().filter(|(_, (at, _))| *at == place);
        let there: Vec<_> = there.map(|(&question, _)| question).collect();
        let cancel = |(asker, number)| self.cancel(asker, Some(number));
        there.into_iter().flat_map(cancel).map(|(_, parcel)| parcel).collect()
    }

    /// The bytes that wait at one place, or at all.
    pub(super) fn bytes(&self, place: Option<Address>) -> usize {
        let meant = self.places.iter().filter(|(at, _)| place.is_none_or(|place| place == **at));
        meant.map(|(_, backlog)| backlog.bytes).sum()
    }

    /// All that waits, wherever that is.
    pub(super) fn parcels(&self) -> impl Iterator<Item = &Parcel> {
        self.places.values().flat_map(|backlog| backlog.parcels.values())
    }

    /// At how many places anything waits.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

/// Of a question, its asker and its number.
fn question_of(parcel: &Parcel) -> Option<(Address, u64)> {
    match parcel {
        Parcel::Frame(frame) if frame.kind() == Kind::Ask => Some((frame.route().from, frame.number())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::frame::Frame;
    use crate::bus::head::Route;
    use crate::bus::peer::Form;

    fn asker(pid: u32) -> Address {
        Address { pid, ..Address::to(Form::Worker) }
    }

    fn question(pid: u32, number: u64) -> Parcel {
        let route = Route { from: asker(pid), ..Route::default() };
        Parcel::Frame(Frame::about(Kind::Ask, "t", number, b"").on(route))
    }

    fn numbers<'a>(parcels: impl IntoIterator<Item = &'a Parcel>) -> Vec<u64> {
        parcels.into_iter().map(|parcel| question_of(parcel).unwrap().1).collect()
    }

    #[test]
    fn what_is_taken_back_again_and_again_is_bounded_and_in_front_of_the_rest() {
        let (agent, message) = (Address::to(Form::Agent), |size: usize| {
            Parcel::Frame(Frame::about(Kind::Message, "t", 1, &vec![0; size]))
        });
        let mut backlogs = Backlogs::new(4 * LIMIT);
        let kept = (0..100).take_while(|_| backlogs.put_back(agent, message(LIMIT / 2)).is_ok()).count();
        assert_eq!(kept, 9, "as much as a queue and a slot hold");
        backlogs.push(agent, message(1)).unwrap_err();
        assert_eq!(backlogs.take(&[agent]).len(), kept);
        backlogs.push(agent, message(1)).unwrap();
        backlogs.put_back(agent, message(2)).unwrap();
        let lengths: Vec<usize> = backlogs.take(&[agent]).iter().map(Parcel::wire_length).collect();
        assert!(lengths[0] > lengths[1], "{lengths:?}");
    }

    #[test]
    fn what_is_taken_or_cancelled_leaves_nothing_behind() {
        let (agent, any) = (Address::to(Form::Agent), Address::to(Form::Any));
        let mut backlogs = Backlogs::new(LIMIT);
        for number in 1..=4 {
            backlogs.push(if number % 2 == 0 { agent } else { any }, question(7, number)).unwrap();
            backlogs.push(agent, question(8, number)).unwrap();
        }
        let mut cancel = |pid, number| {
            let cancelled = backlogs.cancel(asker(pid), number);
            assert!(cancelled.iter().all(|(place, _)| *place == agent));
            numbers(cancelled.iter().map(|(_, parcel)| parcel))
        };
        assert_eq!(cancel(7, Some(2)), [2]);
        assert_eq!(cancel(7, Some(2)), [0; 0]);
        assert_eq!(cancel(8, None), [1, 2, 3, 4]);
        assert_eq!(backlogs.places[&agent].bytes, question(7, 4).wire_length());
        assert_eq!(numbers(&backlogs.take(&[any, agent])), [1, 3, 4]);
        assert!(backlogs.places.is_empty() && backlogs.questions.is_empty());
    }
}
