//! Messages that come from outside of the cluster, such as from the command line, and what their senders are told. Pure.

use std::collections::BTreeMap;

use super::Exchange;
use crate::bus::control::{Answer, Posting, Receipt};
use crate::bus::frame::{Frame, Kind};
use crate::bus::head::Route;
use crate::bus::parcel::Parcel;
use crate::bus::peer::{Address, Roll};
use crate::bus::topic;
use crate::master::event::{Action, ChildId, Reply};

/// Who stands for all senders outside.
pub(super) const OUTSIDE: ChildId = ChildId(u64::MAX);

/// The senders that wait to be told, by the numbers of their messages.
#[derive(Debug, Default)]
pub(super) struct Callers {
    last_number: u64,
    waiting: BTreeMap<u64, Reply>,
}

impl Exchange {
    /// Takes a message from outside; the sender is told when it is known who gets it.
    pub(crate) fn post(&mut self, posting: Posting, reply: Reply, roll: &Roll, actions: &mut Vec<Action>) {
        let Posting { topic, to, payload, time } = posting;
        let checked = topic::check(&topic).map_err(|error| error.to_string());
        let to = match checked.and_then(|()| roll.read(&to)) {
            Ok(to) => to,
            Err(problem) => return actions.push(Action::Reply { reply, answer: Answer::Failed(problem) }),
        };
        self.callers.last_number += 1;
        let number = self.callers.last_number;
        self.callers.waiting.insert(number, reply);
        let route = Route { to, from: Address::default(), time };
        let frame = Frame::about(Kind::Message, &topic, number, &payload).on(route).with_receipt();
        self.pass_on(OUTSIDE, Parcel::Frame(frame), actions);
    }

    /// Tells a sender outside what became of its message.
    pub(super) fn tell_caller(&mut self, number: u64, receipt: Receipt, actions: &mut Vec<Action>) {
        if let Some(reply) = self.callers.waiting.remove(&number) {
            actions.push(Action::Reply { reply, answer: Answer::Posted(receipt) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Seat, Standing};
    use super::*;
    use crate::bus::peer::Form;

    fn post(exchange: &mut Exchange, topic: &str, to: &str) -> Vec<Action> {
        let (sender, _receiver) = tokio::sync::mpsc::channel(1);
        let posting =
            Posting { topic: topic.to_owned(), to: to.to_owned(), payload: vec![0xc0].into(), time: 7 };
        let mut actions = Vec::new();
        exchange.post(posting, Reply(sender), &Roll::new(["web".to_owned()]), &mut actions);
        actions
    }

    fn exchange() -> Exchange {
        let slot = |index| Address { index, ..Address::to(Form::Worker) };
        let seat = |index, id| Seat {
            id: ChildId(id),
            address: Address { pid: 100 + u32::from(index), ..slot(index) },
            standing: Standing::Ready,
        };
        let mut exchange = Exchange::new(4 << 20);
        let seats = vec![seat(0, 1), seat(1, 2)];
        exchange.follow(vec![slot(0), slot(1)], seats, &mut Vec::new());
        exchange
    }

    #[test]
    fn a_message_from_outside_has_no_sender_and_its_caller_is_told() {
        let mut exchange = exchange();
        let actions = post(&mut exchange, "orders", "web");
        let delivered: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Deliver { to, parcel } => Some((to.0, parcel.route().from)),
                _ => None,
            })
            .collect();
        assert_eq!(delivered, [(1, Address::default()), (2, Address::default())]);
        let Some(Action::Deliver { parcel, .. }) = actions.first() else { panic!("{actions:?}") };
        exchange.undelivered(ChildId(2), parcel, &mut Vec::new());
        let mut actions = Vec::new();
        exchange.confirm(OUTSIDE, 1, &mut actions);
        let [Action::Reply { answer: Answer::Posted(receipt), .. }] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!((receipt.queued, &receipt.full[..]), (1, &[101][..]));
        assert_eq!(exchange.waiting.len(), 0, "nobody outside waits for room");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (topic, to) in [("hatchery.trace", "all"), ("config", "all"), ("orders", "jobs")] {
            let actions = post(&mut exchange(), topic, to);
            assert!(
                matches!(&actions[..], [Action::Reply { answer: Answer::Failed(_), .. }]),
                "{topic} {to}: {actions:?}"
            );
        }
    }
}
