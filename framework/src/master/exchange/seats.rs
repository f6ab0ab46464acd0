//! Who fills which slot, and therefore who is meant by an address. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smallvec::{SmallVec, smallvec};

use crate::bus::peer::{Address, Form};
use crate::master::event::ChildId;

/// How far a process has come; who is further in this order is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Ready,
    Starting,
    Leaving,
    /// It has taken leave: it finishes what it has, and gets answers, but nothing new.
    Parted,
}

/// A process in its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) id: ChildId,
    /// With its process id.
    pub(crate) address: Address,
    pub(crate) standing: Standing,
}

const NO_SUCH: &str = "there is no such process";

pub(super) const GAVE_UP: &str =
    "its processes died too often, as `status` tells; the next try comes after cluster.restart_delay_max";

/// Some processes; up to eight cost no allocation, which is made for each question otherwise.
pub(super) type Receivers = SmallVec<[ChildId; 8]>;

/// To whom mail goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Goal {
    These(Receivers),
    /// All of these, and whoever fills these slots next.
    All {
        here: Receivers,
        vacant: Vec<Address>,
    },
    /// Whoever fills this slot next, or any slot of this group.
    Later(Address),
    /// There is none, for this reason.
    Nobody(&'static str),
}

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) gone: Vec<(ChildId, Address)>,
    pub(super) come: Vec<Seat>,
    /// Those of which anything has changed: whoever is gone, is new, or stands otherwise than before.
    pub(super) moved: Vec<Address>,
    /// Slots that are no more.
    pub(super) closed: Vec<Address>,
}

/// Where mail for any of a group waits while the group is empty.
pub(super) fn any_of(group: u8) -> Address {
    Address { group, ..Address::to(Form::Any) }
}

/// Of the seats that are not the same among `others`, the addresses.
fn differing<'a>(seats: &'a [Seat], others: &'a [Seat]) -> impl Iterator<Item = Address> + 'a {
    seats.iter().filter(|seat| !others.contains(seat)).map(|seat| seat.address)
}

/// Who is where.
#[derive(Debug, Default)]
pub(super) struct Seats {
    slots: Vec<Address>,
    seats: Vec<Seat>,
    by_id: HashMap<ChildId, Address>,
    by_pid: HashMap<u32, ChildId>,
    /// Those that are at their end, which is not known of them otherwise yet.
    shut: BTreeSet<ChildId>,
    /// Those for whom too much waits, until there is room.
    full: BTreeSet<ChildId>,
    /// The slots in which nobody is, and the next one comes late.
    given_up: BTreeSet<Address>,
    /// The slots in which nobody is who can be sent to.
    vacant: Vec<Address>,
    /// Those that got mail for their slots before others did, and may still have it when they have no seat any more.
    superseded: BTreeSet<ChildId>,
    /// By slot: who got the last mail for it, if anybody did that has not ended.
    pub(super) latest: HashMap<Address, ChildId>,
    /// By group: the index whose turn it was last.
    turns: BTreeMap<u8, u16>,
    /// What makes the choice at random one that nobody foresees, and tests do.
    dice: u64,
}

impl Seats {
    /// Takes note of who is where; `None` when nothing has changed.
    pub(super) fn follow(&mut self, slots: Vec<Address>, seats: Vec<Seat>) -> Option<Change> {
        if (&slots, &seats) == (&self.slots, &self.seats) {
            return None;
        }
        let known: BTreeSet<ChildId> = self.seats.iter().map(|seat| seat.id).collect();
        let present: BTreeSet<ChildId> = seats.iter().map(|seat| seat.id).collect();
        let gone = self.seats.iter().filter(|seat| !present.contains(&seat.id));
        let change = Change {
            gone: gone.map(|seat| (seat.id, seat.address)).collect(),
            come: seats.iter().filter(|seat| !known.contains(&seat.id)).copied().collect(),
            moved: differing(&self.seats, &seats).chain(differing(&seats, &self.seats)).collect(),
            closed: self.slots.iter().filter(|slot| !slots.contains(slot)).copied().collect(),
        };
        self.by_id = seats.iter().map(|seat| (seat.id, seat.address)).collect();
        self.by_pid = seats.iter().map(|seat| (seat.address.pid, seat.id)).collect();
        self.shut.retain(|id| present.contains(id));
        self.full.retain(|id| present.contains(id));
        (self.slots, self.seats) = (slots, seats);
        self.find_vacant();
        Some(change)
    }

    fn find_vacant(&mut self) {
        let filled: BTreeSet<Address> = self.reachable().map(|seat| seat.address.slot()).collect();
        self.vacant = self.slots.iter().filter(|slot| !filled.contains(slot)).copied().collect();
    }

    /// Whether the group has slots, be they filled or not.
    pub(super) fn has_group(&self, group: u8) -> bool {
        self.slots_of(group).next().is_some()
    }

    fn slots_of(&self, group: u8) -> impl Iterator<Item = &Address> {
        self.slots.iter().filter(move |slot| slot.form == Form::Worker && slot.group == group)
    }

    fn has_given_up(&self, group: u8) -> bool {
        self.slots_of(group).all(|slot| self.given_up.contains(slot))
    }

    /// Takes note of the slots for which nothing new is kept. Returns the places of which that is news.
    pub(super) fn give_up_on(&mut self, slots: BTreeSet<Address>) -> Vec<Address> {
        let before = std::mem::replace(&mut self.given_up, slots);
        let fresh: Vec<Address> = self.given_up.difference(&before).copied().collect();
        let of_workers =
            fresh.iter().filter(|slot| slot.form == Form::Worker && self.has_given_up(slot.group));
        let groups: BTreeSet<Address> = of_workers.map(|slot| any_of(slot.group)).collect();
        fresh.into_iter().chain(groups).collect()
    }

    /// The address of a process.
    pub(super) fn address(&self, id: ChildId) -> Option<Address> {
        self.by_id.get(&id).copied()
    }

    /// Nothing gets to this process any more; its address, when that is new.
    pub(super) fn shut(&mut self, id: ChildId) -> Option<Address> {
        let address = self.address(id).filter(|_| self.shut.insert(id))?;
        self.find_vacant();
        Some(address)
    }

    /// Too much waits for this process; whether that is new.
    pub(super) fn note_full(&mut self, id: ChildId) -> bool {
        self.by_id.contains_key(&id) && self.full.insert(id)
    }

    pub(super) fn note_room(&mut self, id: ChildId) {
        self.full.remove(&id);
    }

    /// A process has ended, and nothing is left of what was for it.
    pub(super) fn forget(&mut self, id: ChildId) {
        self.superseded.remove(&id);
        self.latest.retain(|_, latest| *latest != id);
    }

    /// A process gets mail for its slot: what others have of it is older.
    pub(super) fn note_latest(&mut self, slot: Address, id: ChildId) {
        let before = self.latest.insert(slot, id);
        self.superseded.extend(before.filter(|before| *before != id));
    }

    /// Of how many it is known that they got mail for a slot.
    #[cfg(test)]
    pub(super) fn heirs(&self) -> usize {
        self.superseded.len() + self.latest.len()
    }

    /// Whether another got mail for its slot after it.
    pub(super) fn is_superseded(&self, id: ChildId) -> bool {
        self.superseded.contains(&id)
    }

    /// Those to whom something new can be sent.
    fn reachable(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.standing != Standing::Parted && !self.shut.contains(&seat.id))
    }

    /// Whether something new can be sent to this process.
    pub(super) fn is_reachable(&self, id: ChildId) -> bool {
        self.reachable().any(|seat| seat.id == id)
    }

    /// The process with this id of the kernel's.
    pub(super) fn holder(&self, pid: u32) -> Option<ChildId> {
        self.by_pid.get(&pid).copied()
    }

    /// Who is meant by `to`, when `from` says it. Of those of whom one is meant, those for whom too much waits, or whom it does
    /// not fit, are passed over as long as there is another.
    pub(super) fn goal(&mut self, to: Address, from: ChildId, fits: &dyn Fn(ChildId) -> bool) -> Goal {
        let of_group = |address: Address| address.form == Form::Worker && address.group == to.group;
        match to.form {
            Form::Everyone => self.all(None, |_| true),
            Form::Others => self.all(Some(from), |_| true),
            Form::Group => self.all(None, of_group),
            Form::Process => self.process(to.pid),
            Form::Agent | Form::Worker => self.in_slot(to.slot()),
            Form::Any => self.one_of(to.group, fits, Self::throw),
            Form::Next => self.one_of(to.group, fits, Self::turn),
            Form::Nobody => Goal::Nobody(NO_SUCH),
        }
    }

    fn all(&self, but: Option<ChildId>, are_meant: impl Fn(Address) -> bool) -> Goal {
        let here = self.reachable().filter(|seat| Some(seat.id) != but && are_meant(seat.address));
        let vacant = self.vacant.iter().filter(|slot| are_meant(**slot)).copied();
        Goal::All { here: here.map(|seat| seat.id).collect(), vacant: vacant.collect() }
    }

    /// Whether there is room at a process, as far as is known.
    pub(super) fn has_room(&self, id: ChildId) -> bool {
        !self.full.contains(&id)
    }

    fn process(&self, pid: u32) -> Goal {
        let meant = self.reachable().find(|seat| seat.address.pid == pid);
        meant.map_or(Goal::Nobody(NO_SUCH), |seat| Goal::These(smallvec![seat.id]))
    }

    fn in_slot(&mut self, slot: Address) -> Goal {
        let here = self.reachable().filter(|seat| seat.address.slot() == slot);
        match here.min_by_key(|seat| seat.standing).map(|seat| seat.id) {
            Some(id) => {
                self.note_latest(slot, id);
                Goal::These(smallvec![id])
            }
            None if self.given_up.contains(&slot) => Goal::Nobody(GAVE_UP),
            None if self.slots.contains(&slot) => Goal::Later(slot),
            None => Goal::Nobody(NO_SUCH),
        }
    }

    fn one_of(
        &mut self,
        group: u8,
        fits: &dyn Fn(ChildId) -> bool,
        choose: fn(&mut Self, u8, &[Seat]) -> usize,
    ) -> Goal {
        let is_in = |address: &Address| address.form == Form::Worker && address.group == group;
        let here: Vec<Seat> = self.reachable().filter(|seat| is_in(&seat.address)).copied().collect();
        let best = here.iter().map(|seat| seat.standing).min();
        let mut best: Vec<Seat> = here.into_iter().filter(|seat| Some(seat.standing) == best).collect();
        if best.is_empty() {
            return match self.has_group(group) {
                true if self.has_given_up(group) => Goal::Nobody(GAVE_UP),
                true => Goal::Later(any_of(group)),
                false => Goal::Nobody(NO_SUCH),
            };
        }
        let has_room = |seat: &Seat| !self.full.contains(&seat.id) && fits(seat.id);
        if best.iter().any(has_room) {
            best.retain(has_room);
        }
        best.sort_unstable_by_key(|seat| (seat.address.index, seat.id));
        let place = choose(self, group, &best);
        Goal::These(smallvec![best[place].id])
    }

    /// A generator by Marsaglia (xorshift, 2003); what is asked of it is an even spread, not secrecy.
    fn throw(&mut self, _: u8, seats: &[Seat]) -> usize {
        self.dice = if self.dice == 0 { 0x9e37_79b9_7f4a_7c15 } else { self.dice };
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        usize::try_from(self.dice % seats.len().max(1) as u64).unwrap_or_default()
    }

    fn turn(&mut self, group: u8, seats: &[Seat]) -> usize {
        let last = self.turns.get(&group).copied();
        let place = seats.iter().position(|seat| last.is_none_or(|last| seat.address.index > last));
        let place = place.unwrap_or_default();
        self.turns.insert(group, seats[place].address.index);
        place
    }
}
