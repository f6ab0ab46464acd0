//! What follows, once an event is dealt with, for states and mail from who is there now. Pure.

use std::time::Instant;

use super::Cluster;
use crate::bus::frame::Kind;
use crate::master::crew::Crew;
use crate::master::event::{Action, Report};

impl Cluster {
    /// What follows for the states from who leads and who works now.
    pub(super) fn settle_states(&mut self, actions: &mut Vec<Action>) {
        let leads = |action: &Action| match action {
            Action::Send { to, frame } if frame.kind() == Kind::Lead => Some(*to),
            _ => None,
        };
        if let Some(leader) = actions.iter().find_map(leads) {
            self.relay.lead(leader, actions);
        }
        if !self.everywhere.is_idle() {
            let workers = self.supervisor.groups().iter().flat_map(Crew::occupants);
            let workers: Vec<_> = workers.filter(|it| it.is_active()).map(|it| it.id).collect();
            self.everywhere.settle(&workers, |id, topic| self.relay.running(id, topic), actions);
        }
    }

    /// What follows for mail from who fills which slot now, and from who has given up. The end, if it has come, is last.
    pub(super) fn settle_mail(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let end = actions.iter().position(|action| matches!(action, Action::Finish(_)));
        let end = end.map(|at| actions.remove(at));
        let (slots, seats) = self.supervisor.seats();
        self.exchange.follow(slots, seats, actions);
        self.exchange.give_up_on(self.supervisor.given_up(), actions);
        let report = |(place, topics)| Report::MailGivenUp { place: self.roll.describe(place), topics };
        actions.extend(self.exchange.take_losses().into_iter().map(report).map(Action::Report));
        self.laggards.settle(now, end.is_some(), actions);
        actions.extend(end);
    }
}
