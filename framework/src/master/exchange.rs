//! The mail between the processes: to whom each message, question and answer goes, what becomes of it when nobody is
//! there, and who must be told. Pure, and the payload stays closed.

mod backlog;
mod calls;
mod losses;
mod luggage;
mod outside;
mod questions;
mod receipts;
mod seats;
mod traffic;
mod turnover;
mod waiting;

use std::collections::BTreeMap;

use self::backlog::Backlogs;
use self::calls::Calls;
use self::losses::Losses;
use self::luggage::Luggage;
use self::outside::Callers;
use self::seats::{Goal, Receivers, Seats};
use self::traffic::Traffic;
use self::waiting::Waiting;
use super::event::{Action, ChildId};
use crate::bus::control::{Lost, Receipt, Unanswered};
use crate::bus::frame::Kind;
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Form};
use crate::bus::topic::{CONFIG, RESERVED_PREFIX};
use crate::status::{PeerTraffic, TopicTraffic};

pub(crate) use self::seats::{Seat, Standing};

/// A message of which the sender wants to know who got it.
type Ticket = (ChildId, u64);

/// Passes mail between the processes.
#[derive(Debug)]
pub(crate) struct Exchange {
    seats: Seats,
    backlogs: Backlogs,
    calls: Calls,
    receipts: BTreeMap<Ticket, Receipt>,
    losses: Losses,
    waiting: Waiting,
    luggage: Luggage,
    callers: Callers,
    traffic: Traffic,
}

impl Exchange {
    /// An exchange without processes, each of which will take `queue` bytes of mail at once.
    pub(crate) fn new(queue: usize) -> Self {
        Self {
            seats: Seats::default(),
            backlogs: Backlogs::new(queue),
            calls: Calls::default(),
            receipts: BTreeMap::new(),
            losses: Losses::default(),
            waiting: Waiting::default(),
            luggage: Luggage::default(),
            callers: Callers::default(),
            traffic: Traffic::default(),
        }
    }

    /// Takes mail of a process.
    ///
    /// # Errors
    /// When it is not what a process may send.
    pub(crate) fn take(
        &mut self,
        from: ChildId,
        parcels: Vec<Parcel>,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        let Some(address) = self.seats.address(from) else { return Ok(()) };
        for parcel in parcels {
            if parcel.route().from != address {
                return Err("it sent mail in somebody else's name".to_owned());
            }
            Self::check_luggage(&parcel)?;
            match parcel.kind() {
                Kind::Message | Kind::Ask if is_reserved(parcel.topic()) => {
                    let topic = parcel.topic().escape_debug().to_string();
                    return Err(format!(
                        "it sent mail on the topic `{topic}`, which belongs to the framework"
                    ));
                }
                Kind::Message => self.pass_on(from, parcel, actions),
                Kind::Ask => self.ask(from, parcel, actions),
                Kind::Reply | Kind::Refusal => self.answer(from, parcel, actions),
                _ => self.cancel(&parcel, actions),
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, from: ChildId, parcel: Parcel, actions: &mut Vec<Action>) {
        self.traffic.sent(parcel.topic(), parcel.count());
        let ticket = ticket_of(from, &parcel);
        let mut receipt = Receipt::default();
        let (mut here, vacant) = match self.goal(from, &parcel) {
            Goal::These(here) => (here, vec![]),
            Goal::All { here, vacant } => (here, vacant),
            Goal::Later(place) => (Receivers::new(), vec![place]),
            Goal::Nobody(why) => {
                receipt.nobody = Some(why.to_owned());
                (Receivers::new(), vec![])
            }
        };
        if here.is_empty() && vacant.is_empty() && parcel.route().to.form != Form::Others {
            self.count_unmet(ticket.is_some(), &parcel);
        }
        self.put_aside(from, &vacant, &parcel, &mut receipt);
        here.retain(|&mut to| {
            let missed = (!self.has_place(to, &parcel)).then(|| self.seats.address(to)).flatten();
            if let Some(missed) = missed {
                self.turn_away(from, missed, &parcel, &mut receipt);
            }
            missed.is_none()
        });
        receipt.queued += u32::try_from(here.len()).unwrap_or(u32::MAX);
        let parcel = if here.len() > 1 { parcel.for_many() } else { parcel };
        self.deliver(&here, parcel, actions);
        if let Some(ticket) = ticket {
            self.receipts.insert(ticket, receipt);
            actions.push(Action::Confirm { to: from, number: ticket.1 });
        }
    }

    fn goal(&mut self, from: ChildId, parcel: &Parcel) -> Goal {
        let luggage = &self.luggage;
        self.seats.goal(parcel.route().to, from, &|id| luggage.has_place(id, parcel.descriptors()))
    }

    /// Counts what is passed on; a question is with who gets it from now on.
    fn note_delivered(&mut self, receivers: &[ChildId], parcel: &Parcel) {
        self.traffic.delivered(receivers, parcel.topic(), parcel.count(), parcel.wire_length());
        for &to in receivers {
            self.luggage.load(to, parcel.descriptors());
            if parcel.kind() == Kind::Ask {
                self.calls.taken_by(parcel.route().from.pid, number_of(parcel), to);
            }
        }
    }

    fn deliver(&mut self, receivers: &[ChildId], parcel: Parcel, actions: &mut Vec<Action>) {
        self.note_delivered(receivers, &parcel);
        // The last gets the parcel itself: to share what goes to one alone would cost for nothing.
        let Some((&last, others)) = receivers.split_last() else { return };
        actions.reserve(receivers.len());
        actions.extend(others.iter().map(|&to| Action::Deliver { to, parcel: parcel.clone() }));
        actions.push(Action::Deliver { to: last, parcel });
    }

    /// What was to be delivered did not fit.
    pub(crate) fn undelivered(&mut self, to: ChildId, parcel: &Parcel, actions: &mut Vec<Action>) {
        if matches!(parcel.kind(), Kind::Message | Kind::Ask) && self.seats.note_full(to) {
            actions.push(Action::AwaitRoom { id: to });
        }
        self.unloaded(to, parcel.descriptors(), actions);
        if self.is_wanted(to, parcel) && self.pass_over(to, parcel, actions) {
            return;
        }
        if !self.write_off(to, parcel) {
            self.note_dropped(to, parcel);
        }
        match parcel.kind() {
            Kind::Message => self.note_missed(to, parcel, actions),
            Kind::Ask => self.leave_unanswered(Some(to), parcel, &Unanswered::Busy, actions),
            // The asker reads nothing, but an answer as short as this is always kept for it.
            _ => self.refuse(to, number_of(parcel), &Unanswered::Busy, actions),
        }
    }

    /// What went by on each topic.
    pub(crate) fn topics(&self) -> Vec<TopicTraffic> {
        self.traffic.topics()
    }

    /// Of a process that has its place, as the others see it.
    pub(crate) fn address(&self, id: ChildId) -> Option<Address> {
        self.seats.address(id)
    }

    /// What went to a process.
    pub(crate) fn of(&self, id: ChildId) -> PeerTraffic {
        self.traffic.of(id)
    }

    /// What a process that ended said of itself at last.
    pub(crate) fn note_last_words(&mut self, slot: Address, traffic: PeerTraffic) {
        self.traffic.add_past(slot, traffic);
    }

    /// A process says anew what it has lost of its mail, by topic.
    pub(crate) fn note_lost(&mut self, before: &BTreeMap<String, Lost>, now: &BTreeMap<String, Lost>) {
        for (topic, lost) in now {
            self.traffic.lost(topic, before.get(topic).copied().unwrap_or_default(), *lost);
        }
    }

    /// What went to those that are gone from a slot.
    pub(crate) fn past(&self, slot: Address) -> PeerTraffic {
        self.traffic.past(slot)
    }

    /// The frames that were relayed, and those that were not.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.traffic.totals()
    }
}

fn is_reserved(topic: &str) -> bool {
    topic.is_empty() || topic == CONFIG || topic.starts_with(RESERVED_PREFIX)
}

/// The number of a frame; runs need none.
fn number_of(parcel: &Parcel) -> u64 {
    match parcel {
        Parcel::Frame(frame) => frame.number(),
        Parcel::Run(_) => 0,
    }
}

fn ticket_of(from: ChildId, parcel: &Parcel) -> Option<Ticket> {
    match parcel {
        Parcel::Frame(frame) if frame.wants_receipt() => Some((from, frame.number())),
        _ => None,
    }
}

#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
