//! Questions and answers: who is asked, who may answer, and what the asker hears when nobody does. Pure.

use super::calls::Call;
use super::seats::Goal;
use super::{Exchange, number_of};
use crate::bus::codec;
use crate::bus::control::Unanswered;
use crate::bus::frame::{Frame, Kind};
use crate::bus::head::Route;
use crate::bus::parcel::Parcel;
use crate::bus::peer::Address;
use crate::master::event::{Action, ChildId};

impl Exchange {
    pub(super) fn ask(&mut self, from: ChildId, parcel: Parcel, actions: &mut Vec<Action>) {
        self.traffic.sent(parcel.topic(), 1);
        let number = number_of(&parcel);
        if !self.calls.open(from, parcel.route().from, number) {
            self.traffic.dropped(None, parcel.topic(), 1);
            return self.refuse(from, number, &Unanswered::Busy, actions);
        }
        match self.goal(from, &parcel) {
            Goal::These(here) | Goal::All { here, .. } => match here.first() {
                Some(&to) => self.deliver(&[to], parcel, actions),
                None => self.give_up(&parcel, &Unanswered::Gone, actions),
            },
            Goal::Later(slot) => {
                if let Err(parcel) = self.backlogs.push(slot, parcel.kept()) {
                    self.give_up(&parcel, &Unanswered::Busy, actions);
                }
            }
            Goal::Nobody(why) => self.refuse_unmet(&parcel, why, actions),
        }
    }

    /// Only who was asked can answer, and once.
    pub(super) fn answer(&mut self, from: ChildId, parcel: Parcel, actions: &mut Vec<Action>) {
        let number = number_of(&parcel);
        if let Some(asker) = self.calls.close(parcel.route().to.pid, number, Some(from)) {
            self.traffic.delivered(&[asker], parcel.topic(), 1, parcel.wire_length());
            actions.push(Action::Deliver { to: asker, parcel });
        }
    }

    pub(super) fn cancel(&mut self, parcel: &Parcel, actions: &mut Vec<Action>) {
        let (number, route) = (number_of(parcel), parcel.route());
        match self.calls.cancel(route.from.pid, number) {
            Some(Call { answerer: Some(to), .. }) => {
                actions.push(cancelled(to, route.from, number));
            }
            Some(_) => self.withdraw(route.from, Some(number), actions),
            None => {}
        }
    }

    /// There is nobody whom a question could get to: its asker hears so, and it counts as nothing.
    pub(super) fn refuse_unmet(&mut self, parcel: &Parcel, why: &str, actions: &mut Vec<Action>) {
        self.traffic.unsent(parcel.topic(), 1);
        self.leave_unanswered(None, parcel, &Unanswered::NoSuchPeer(why.to_owned()), actions);
    }

    /// It will never arrive.
    pub(super) fn give_up(&mut self, parcel: &Parcel, problem: &Unanswered, actions: &mut Vec<Action>) {
        self.traffic.dropped(None, parcel.topic(), parcel.count());
        self.leave_unanswered(None, parcel, problem, actions);
    }

    /// Whether anybody waits for what comes of this, which did not get to `to`: a question may have been cancelled.
    pub(super) fn is_wanted(&self, to: ChildId, parcel: &Parcel) -> bool {
        parcel.kind() != Kind::Ask || self.calls.is_with(parcel.route().from.pid, number_of(parcel), to)
    }

    /// If it is a question to `answerer`, whoever waits for its answer is told.
    pub(super) fn leave_unanswered(
        &mut self,
        answerer: Option<ChildId>,
        parcel: &Parcel,
        problem: &Unanswered,
        actions: &mut Vec<Action>,
    ) {
        if parcel.kind() == Kind::Ask
            && let Some(asker) = self.calls.close(parcel.route().from.pid, number_of(parcel), answerer)
        {
            self.refuse(asker, number_of(parcel), problem, actions);
        }
    }

    pub(super) fn refuse(
        &self,
        asker: ChildId,
        number: u64,
        problem: &Unanswered,
        actions: &mut Vec<Action>,
    ) {
        let body = codec::encode("a refusal", problem).unwrap_or_default();
        actions.push(Action::Send { to: asker, frame: Frame::new(Kind::Refusal, number, body) });
    }

    /// Takes questions of a process that wait for whoever comes next out of where they wait.
    fn withdraw(&mut self, asker: Address, number: Option<u64>, actions: &mut Vec<Action>) {
        for (place, parcel) in self.backlogs.cancel(asker, number) {
            self.traffic.dropped(None, parcel.topic(), 1);
            self.rouse(place, actions);
        }
    }

    /// A process is at its end, or as good as that: who waits for its answers waits no longer.
    pub(crate) fn give_up_answers(&mut self, of: ChildId, actions: &mut Vec<Action>) {
        for (number, asker, _) in self.calls.answerer_gone(of) {
            self.refuse(asker, number, &Unanswered::Gone, actions);
        }
    }

    /// The same of one that may still hear us: nobody waits for what it works on.
    pub(crate) fn call_off_answers(&mut self, of: ChildId, actions: &mut Vec<Action>) {
        for (number, asker, asked_by) in self.calls.answerer_gone(of) {
            self.refuse(asker, number, &Unanswered::Gone, actions);
            actions.push(cancelled(of, asked_by, number));
        }
    }

    /// A process is gone: nobody waits for answers to what it asked.
    pub(super) fn withdraw_all(&mut self, asker: ChildId, address: Address, actions: &mut Vec<Action>) {
        for (number, answerer, from) in self.calls.asker_gone(asker) {
            actions.push(cancelled(answerer, from, number));
        }
        // Another process may get its process id, and ask under the same numbers.
        self.withdraw(address, None, actions);
    }
}

/// Tells who was asked that `asker` waits for the answer no longer.
fn cancelled(to: ChildId, asker: Address, number: u64) -> Action {
    let frame = Frame::new(Kind::Cancel, number, vec![]).on(Route { from: asker, ..Route::default() });
    Action::Send { to, frame }
}
