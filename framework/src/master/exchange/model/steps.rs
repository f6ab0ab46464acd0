//! What can happen, and how often each of it does.

use proptest::prelude::*;

use super::SLOTS;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Join(usize),
    Leave(usize),
    Stand(usize, usize),
    /// It is hung: it has no seat any more, but its link, and what waits there.
    Hang(usize),
    /// It takes nothing, and then it is hung, while somebody goes on to write to its slot.
    HangUnder {
        place: usize,
        from: usize,
        topic: usize,
    },
    /// One that is hung ends.
    Bury(usize),
    Close(usize),
    Open(usize),
    Send {
        from: usize,
        to: usize,
        topic: usize,
        size: usize,
        attachments: usize,
        receipt: bool,
    },
    SendRun {
        from: usize,
        to: usize,
        topic: usize,
        count: u64,
    },
    /// Perhaps cancelled in the same breath.
    Ask {
        from: usize,
        to: usize,
        size: usize,
        in_vain: bool,
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
    /// A slot in which nobody is will be filled late.
    GiveUp(usize),
    /// It takes nothing any more.
    Stop(usize),
    Continue(usize),
    /// Its link is closed, of which the master hears later.
    Shut(usize),
    /// Its link is closed, and the master hears it.
    LoseLink(usize),
    /// It has what was attached in its hands, and says so.
    Unload(usize),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (who, which) = (0usize..8, 0usize..16);
    // Any of a group more often: it is where mail goes from one to another.
    let to = prop_oneof![3 => 0usize..15, 1 => 9usize..13];
    let topic = 0usize..2;
    let size = prop::sample::select(vec![1, 200, 450]);
    let attachments = prop::sample::select(vec![0, 0, 0, 1, 16]);
    let step = prop_oneof![
        3 => (0..SLOTS).prop_map(Step::Join),
        2 => who.clone().prop_map(Step::Leave),
        2 => (who.clone(), 0usize..4).prop_map(|(who, standing)| Step::Stand(who, standing)),
        1 => who.clone().prop_map(Step::Hang),
        2 => (0..SLOTS, who.clone(), 0usize..2)
            .prop_map(|(place, from, topic)| Step::HangUnder { place, from, topic }),
        3 => who.clone().prop_map(Step::Bury),
        1 => (0..SLOTS).prop_map(Step::Close),
        1 => (0..SLOTS).prop_map(Step::Open),
        8 => (who.clone(), to.clone(), topic.clone(), size.clone(), attachments, any::<bool>()).prop_map(
            |(from, to, topic, size, attachments, receipt)| {
                Step::Send { from, to, topic, size, attachments, receipt }
            }
        ),
        3 => (who.clone(), to.clone(), topic, 1u64..5)
            .prop_map(|(from, to, topic, count)| Step::SendRun { from, to, topic, count }),
        6 => (who.clone(), to, size, prop::bool::weighted(0.3))
            .prop_map(|(from, to, size, in_vain)| Step::Ask { from, to, size, in_vain }),
        5 => (who.clone(), which.clone()).prop_map(|(by, which)| Step::Answer { by, which }),
        1 => (who.clone(), 0usize..8, 0u64..10).prop_map(|(by, to, number)| Step::Invent { by, to, number }),
        2 => (who.clone(), which).prop_map(|(by, which)| Step::Cancel { by, which }),
        1 => (0..SLOTS).prop_map(Step::GiveUp),
        2 => who.clone().prop_map(Step::Stop),
        2 => who.clone().prop_map(Step::Continue),
        1 => who.clone().prop_map(Step::Shut),
        1 => who.clone().prop_map(Step::LoseLink),
        2 => who.prop_map(Step::Unload),
    ];
    prop::collection::vec(step, 1..150)
}
