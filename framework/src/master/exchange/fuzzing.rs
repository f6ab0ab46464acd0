//! Drives an exchange by any bytes, three for each step. What it wants is done as the master does it, but for a process
//! that is stopped nothing fits.

use std::collections::BTreeSet;

use super::{Exchange, Seat, Standing};
use crate::bus::frame::{Frame, Kind};
use crate::bus::head::Route;
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Form};
use crate::master::event::{Action, ChildId};

const KINDS: [Kind; 5] = [Kind::Message, Kind::Ask, Kind::Reply, Kind::Refusal, Kind::Cancel];

/// The places of the processes: an agent, and three workers of each of two groups.
const PLACES: u8 = 7;

/// # Panics
/// When mail goes to one that is gone.
pub(crate) fn drive(bytes: &[u8]) {
    let mut world =
        World { exchange: Exchange::new(64 << 10), seats: Vec::new(), stopped: BTreeSet::new(), last: 0 };
    for step in bytes.as_chunks::<3>().0 {
        world.step(*step);
    }
}

struct World {
    exchange: Exchange,
    seats: Vec<Seat>,
    stopped: BTreeSet<ChildId>,
    last: u64,
}

fn slot(place: u8) -> Address {
    match place % PLACES {
        0 => Address::AGENT,
        place => Address { group: place / 4, index: u16::from(place % 4), ..Address::to(Form::Worker) },
    }
}

impl World {
    fn step(&mut self, [deed, who, whom]: [u8; 3]) {
        match deed % 8 {
            0 => self.join(who),
            1 if !self.seats.is_empty() => {
                let gone = self.seats.remove(usize::from(who) % self.seats.len());
                self.exchange.ended(gone.id);
            }
            2 => self.stopped.extend(self.seat(who).map(|seat| seat.id)),
            3 => {
                let id = self.seat(who).map(|seat| seat.id).filter(|id| self.stopped.remove(id));
                if let Some(id) = id {
                    self.act(|exchange, actions| exchange.has_room(id, actions));
                }
            }
            _ => return self.send([deed, who, whom]),
        }
        let (seats, closed) = (self.seats.clone(), whom % 16);
        let slots = (0..PLACES).filter(|place| *place != closed).map(slot).collect();
        self.act(|exchange, actions| exchange.follow(slots, seats, actions));
    }

    fn seat(&self, who: u8) -> Option<Seat> {
        self.seats.get(usize::from(who) % self.seats.len().max(1)).copied()
    }

    fn join(&mut self, place: u8) {
        if self.seats.len() < 12 {
            self.last += 1;
            let is_free = |pid: &u32| self.seats.iter().all(|seat| seat.address.pid != *pid);
            let pid = (1..).find(is_free).unwrap_or_default();
            let standing = [Standing::Ready, Standing::Starting, Standing::Leaving][usize::from(place % 3)];
            let address = Address { pid, ..slot(place) };
            self.seats.push(Seat { id: ChildId(self.last), address, standing });
        }
    }

    fn send(&mut self, [deed, who, whom]: [u8; 3]) {
        let Some(from) = self.seat(who) else { return };
        let form = [
            Form::Nobody,
            Form::Agent,
            Form::Worker,
            Form::Process,
            Form::Everyone,
            Form::Others,
            Form::Group,
            Form::Any,
            Form::Next,
        ][usize::from(whom % 9)];
        let to = Address { form, pid: u32::from(whom / 16), ..slot(whom / 9) };
        let kind = KINDS[usize::from(deed / 8) % KINDS.len()];
        let payload = vec![0; usize::from(who) << (deed % 8)];
        let frame = Frame::about(kind, "words", u64::from(whom % 4), &payload);
        let frame = frame.on(Route { to, from: from.address, time: 0 });
        let parcel = Parcel::Frame(if deed > 127 { frame.with_receipt() } else { frame });
        self.act(|exchange, actions| {
            let taken = exchange.take(from.id, vec![parcel], actions);
            assert!(taken.is_ok(), "nothing is wrong with it");
        });
    }

    fn act(&mut self, act: impl FnOnce(&mut Exchange, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        act(&mut self.exchange, &mut actions);
        while !actions.is_empty() {
            let mut next = Vec::new();
            for action in actions {
                match action {
                    Action::Deliver { to, parcel } => {
                        assert!(self.seats.iter().any(|seat| seat.id == to), "{to:?} is gone");
                        if self.stopped.contains(&to) {
                            self.exchange.undelivered(to, &parcel, &mut next);
                        }
                    }
                    Action::HandOver { to, .. } => {
                        assert!(self.seats.iter().any(|seat| seat.id == to), "{to:?} is gone");
                    }
                    Action::Confirm { to, number } => self.exchange.confirm(to, number, &mut next),
                    _ => {}
                }
            }
            actions = next;
        }
    }
}
