//! What can happen, and how often each of it does.

use proptest::prelude::*;

use super::SLOTS;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Join(usize),
    Leave(usize),
    Stand(usize, usize),
    Close(usize),
    Open(usize),
    Send {
        from: usize,
        to: usize,
        topic: usize,
        receipt: bool,
    },
    SendRun {
        from: usize,
        to: usize,
        topic: usize,
        count: u64,
    },
    Ask {
        from: usize,
        to: usize,
    },
    Answer {
        by: usize,
        which: usize,
    },
    /// An answer to what it was never asked.
    Invent {
        by: usize,
        to: usize,
        number: u64,
    },
    Cancel {
        by: usize,
        which: usize,
    },
    /// It takes nothing any more.
    Stop(usize),
    Continue(usize),
    /// Its link is closed, of which the master hears later.
    Shut(usize),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (who, which) = (0usize..8, 0usize..16);
    let to = 0usize..15;
    let topic = 0usize..2;
    let step = prop_oneof![
        3 => (0..SLOTS).prop_map(Step::Join),
        2 => who.clone().prop_map(Step::Leave),
        2 => (who.clone(), 0usize..4).prop_map(|(who, standing)| Step::Stand(who, standing)),
        1 => (0..SLOTS).prop_map(Step::Close),
        1 => (0..SLOTS).prop_map(Step::Open),
        6 => (who.clone(), to.clone(), topic.clone(), any::<bool>())
            .prop_map(|(from, to, topic, receipt)| Step::Send { from, to, topic, receipt }),
        3 => (who.clone(), to.clone(), topic, 1u64..5)
            .prop_map(|(from, to, topic, count)| Step::SendRun { from, to, topic, count }),
        6 => (who.clone(), to).prop_map(|(from, to)| Step::Ask { from, to }),
        5 => (who.clone(), which.clone()).prop_map(|(by, which)| Step::Answer { by, which }),
        1 => (who.clone(), 0usize..8, 0u64..10).prop_map(|(by, to, number)| Step::Invent { by, to, number }),
        2 => (who.clone(), which).prop_map(|(by, which)| Step::Cancel { by, which }),
        1 => who.clone().prop_map(Step::Stop),
        2 => who.clone().prop_map(Step::Continue),
        1 => who.prop_map(Step::Shut),
    ];
    prop::collection::vec(step, 1..150)
}
