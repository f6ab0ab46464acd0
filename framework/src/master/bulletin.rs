//! Who wants to hear what happens in the cluster, and what they are told. Pure.

use std::collections::BTreeSet;

use super::event::{Action, ChildId, Report};
use crate::bus::codec;
use crate::bus::frame::{Frame, Kind};

/// The processes that listen.
#[derive(Debug, Default)]
pub(crate) struct Bulletin {
    readers: BTreeSet<ChildId>,
}

impl Bulletin {
    /// A process wants to hear what happens from now on.
    pub(crate) fn join(&mut self, id: ChildId) {
        self.readers.insert(id);
    }

    pub(crate) fn leave(&mut self, id: ChildId) {
        self.readers.remove(&id);
    }

    /// Tells the readers of every event among `actions`.
    pub(crate) fn spread(&self, actions: &mut Vec<Action>) {
        if self.readers.is_empty() {
            return;
        }
        let news = |action: &Action| match action {
            Action::Report(Report::Event(event)) => codec::encode("an event", event).ok(),
            _ => None,
        };
        let frames: Vec<Frame> =
            actions.iter().filter_map(news).map(|body| Frame::new(Kind::News, 0, body)).collect();
        for frame in frames {
            actions.extend(self.readers.iter().map(|&to| Action::Send { to, frame: frame.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ClusterEvent;

    #[test]
    fn readers_hear_of_events_in_their_order_and_of_nothing_else() {
        let mut bulletin = Bulletin::default();
        let scaled = |to| ClusterEvent::Scaled { group: "web".to_owned(), from: 1, to };
        let happened = || {
            vec![
                Action::Report(Report::Event(scaled(2))),
                Action::AnnounceReady,
                Action::Report(Report::ConfigRefused { problem: "no".to_owned() }),
                Action::Report(Report::Event(scaled(3))),
            ]
        };
        let told = |bulletin: &Bulletin| {
            let mut actions = happened();
            bulletin.spread(&mut actions);
            let send = |action: &Action| match action {
                Action::Send { to, frame } => {
                    Some((to.0, codec::decode::<ClusterEvent>("an event", frame.payload()).unwrap()))
                }
                _ => None,
            };
            actions.iter().filter_map(send).collect::<Vec<_>>()
        };
        assert_eq!(told(&bulletin), []);
        bulletin.join(ChildId(1));
        bulletin.join(ChildId(2));
        bulletin.leave(ChildId(2));
        assert_eq!(told(&bulletin), [(1, scaled(2)), (1, scaled(3))]);
    }
}
