//! What must come by itself: who was told that there is no place is told when there is one, and nobody works on a question
//! for whose answer nobody waits.

use super::super::seats::any_of;
use super::*;

impl World {
    pub(super) fn check_liveness(&self) {
        for (id, process) in &self.processes {
            for made in &process.full {
                assert!(!self.has_place(made), "{id:?} is not told that there is a place for {made:?}");
            }
            for (asker, number) in process.asked.iter().filter(|_| process.link == Link::Open) {
                let asker = self.seats.iter().find(|seat| seat.address == *asker);
                let is_open = asker.is_some_and(|asker| self.processes[&asker.id].open.contains(number));
                assert!(is_open, "{id:?} answers question {number}, for which nobody waits");
            }
        }
    }

    /// Whether a message would be taken now, as far as the master knows, or refused for good.
    fn has_place(&self, made: &Try) -> bool {
        let (to, place) = match made.to.form {
            Form::Any | Form::Next => (made.to, any_of(made.to.group)),
            _ => (made.to, made.to.slot()),
        };
        let is_meant = |seat: &&Seat| match to.form {
            Form::Process => seat.address.pid == to.pid,
            Form::Agent | Form::Worker => seat.address.slot() == place,
            _ => seat.address.form == Form::Worker && seat.address.group == to.group,
        };
        let mut meant: Vec<&Seat> = self.reachable().filter(is_meant).collect();
        let Some(best) = meant.iter().map(|seat| seat.standing).min() else {
            let is_meant = |slot: &Address| *slot == place || place == any_of(slot.group);
            let exists = |slot: &Address| is_meant(slot) && !self.given_up.contains(slot);
            let is_awaited = to.form != Form::Process && self.slots.iter().any(exists);
            return !is_awaited || self.exchange.backlogs.has_place(place, made.length, made.attachments);
        };
        meant.retain(|seat| seat.standing == best);
        if matches!(to.form, Form::Agent | Form::Worker) {
            meant.truncate(1);
        }
        meant.iter().any(|seat| {
            let is_roomy = !self.processes[&seat.id].room_awaited;
            is_roomy && self.exchange.luggage.has_place(seat.id, made.attachments)
        })
    }
}
