//! Who wants to hear what happens in the cluster, and what they are told. Pure.

use std::collections::BTreeSet;

use super::event::{Action, ChildId, Report};
use crate::bus::codec;
use crate::bus::frame::{Frame, Kind};

/// The processes that listen.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    members: BTreeSet<ChildId>,
}

impl Readers {
    /// A process wants to hear what happens from now on.
    pub(crate) fn join(&mut self, id: ChildId) {
        self.members.insert(id);
    }

    pub(crate) fn leave(&mut self, id: ChildId) {
        self.members.remove(&id);
    }

    /// Tells the readers of every event among `actions`.
    pub(crate) fn spread(&self, actions: &mut Vec<Action>) {
        if self.members.is_empty() {
            return;
        }
        let news = |action: &Action| match action {
            Action::Report(Report::Event(event)) => codec::encode("an event", event).ok(),
            _ => None,
        };
        let frames: Vec<Frame> =
            actions.iter().filter_map(news).map(|body| Frame::new(Kind::News, 0, body)).collect();
        for frame in frames {
            actions.extend(self.members.iter().map(|&to| Action::Send { to, frame: frame.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ClusterEvent;

    #[test]
    fn readers_hear_of_events_in_their_order_and_of_nothing_else() {
        let mut readers = Readers::default();
        let scaled = |to| ClusterEvent::Scaled { group: "web".to_owned(), from: 1, to };
        let happened = || {
            vec![
                Action::Report(Report::Event(scaled(2))),
                Action::AnnounceReady,
                Action::Report(Report::ConfigRefused { problem: "no".to_owned() }),
                Action::Report(Report::Event(scaled(3))),
            ]
        };
        let told = |readers: &Readers| {
            let mut actions = happened();
            readers.spread(&mut actions);
            let send = |action: &Action| match action {
                Action::Send { to, frame } => {
                    Some((to.0, codec::decode::<ClusterEvent>("an event", frame.payload()).unwrap()))
                }
                _ => None,
            };
            actions.iter().filter_map(send).collect::<Vec<_>>()
        };
        assert_eq!(told(&readers), []);
        readers.join(ChildId(1));
        readers.join(ChildId(2));
        readers.leave(ChildId(2));
        assert_eq!(told(&readers), [(1, scaled(2)), (1, scaled(3))]);
    }
}
