//! How versions of states reach their receivers. What is in sealed memory goes one version at a time: each that is on
//! its way keeps its memory, wherever it waits, so that a stopped receiver would keep all of them. Pure.

use std::collections::BTreeMap;

use super::event::{Action, ChildId};
use crate::bus::frame::Frame;

/// What is on its way to whom.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    under_way: BTreeMap<ChildId, BTreeMap<String, UnderWay>>,
    sent: u64,
}

/// A version in sealed memory that its receiver has not taken yet.
#[derive(Debug)]
struct UnderWay {
    version: u64,
    /// Whether there is a newer one by now.
    owed: bool,
}

impl Courier {
    /// Sends a version, now or when the one before it was taken.
    pub(crate) fn deliver(&mut self, to: ChildId, state: &Frame, actions: &mut Vec<Action>) {
        let earlier = self.under_way.get_mut(&to).and_then(|topics| topics.get_mut(state.topic()));
        match earlier {
            Some(earlier) => {
                earlier.owed = state.is_in_memory();
                if earlier.owed {
                    return;
                }
            }
            None if state.is_in_memory() => {
                let under_way = UnderWay { version: state.number(), owed: false };
                self.under_way.entry(to).or_default().insert(state.topic().to_owned(), under_way);
            }
            None => {}
        }
        self.sent += 1;
        actions.push(Action::Send { to, frame: state.clone() });
    }

    /// A receiver has taken a version, whatever it made of it. Returns whether it is owed a newer one; `None` if that
    /// version was not under way.
    pub(crate) fn taken(&mut self, from: ChildId, topic: &str, version: u64) -> Option<bool> {
        let topics = self.under_way.get_mut(&from)?;
        topics.get(topic).filter(|earlier| earlier.version <= version)?;
        topics.remove(topic).map(|earlier| earlier.owed)
    }

    pub(crate) fn leave(&mut self, id: ChildId) {
        self.under_way.remove(&id);
    }

    /// How many versions were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bus::frame::Kind;

    const WORKER: ChildId = ChildId(2);

    fn small(version: u64) -> Frame {
        Frame::about(Kind::State, "s", version, b"x")
    }

    fn large(version: u64) -> Frame {
        let descriptor = std::io::pipe().unwrap().0;
        Frame::about(Kind::State, "s", version, &[]).with_memory(Arc::new(descriptor.into()), 1 << 20)
    }

    /// The versions that go out.
    fn deliver(courier: &mut Courier, state: &Frame) -> Vec<u64> {
        let mut actions = Vec::new();
        courier.deliver(WORKER, state, &mut actions);
        let version = |action: &Action| match action {
            Action::Send { to: WORKER, frame } => frame.number(),
            other => panic!("{other:?}"),
        };
        actions.iter().map(version).collect()
    }

    #[test]
    fn large_versions_go_one_at_a_time_and_small_ones_at_once() {
        let mut courier = Courier::default();
        assert_eq!(deliver(&mut courier, &small(1)), [1]);
        assert_eq!(deliver(&mut courier, &large(2)), [2]);
        assert_eq!(deliver(&mut courier, &large(3)), [0; 0]);
        assert_eq!(deliver(&mut courier, &large(4)), [0; 0]);
        assert_eq!(courier.taken(WORKER, "s", 1), None, "that is not the one on its way");
        assert_eq!(courier.taken(WORKER, "s", 2), Some(true), "there is a newer one");
        assert_eq!(deliver(&mut courier, &large(4)), [4]);
        assert_eq!(courier.taken(WORKER, "s", 4), Some(false));
        assert_eq!(courier.sent(), 3);
    }

    #[test]
    fn a_small_version_makes_up_for_a_large_one_that_waits() {
        let mut courier = Courier::default();
        deliver(&mut courier, &large(1));
        deliver(&mut courier, &large(2));
        assert_eq!(deliver(&mut courier, &small(3)), [3]);
        assert_eq!(
            courier.taken(WORKER, "s", 3),
            Some(false),
            "whether the first arrived or was replaced on the way"
        );
        assert_eq!(deliver(&mut courier, &large(4)), [4]);
    }

    #[test]
    fn who_leaves_is_owed_nothing() {
        let mut courier = Courier::default();
        deliver(&mut courier, &large(1));
        courier.leave(WORKER);
        assert!(courier.under_way.is_empty());
    }
}
