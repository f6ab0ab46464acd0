//! Which topics every process tells of in its log. Pure.

use super::event::{Action, ChildId};
use crate::bus::codec;
use crate::bus::frame::{Frame, Kind};
use crate::bus::pattern::Patterns;

/// The topics that are told of; none at first.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    patterns: Patterns,
}

impl Trace {
    /// Chooses other topics, for all processes that are there and all that come.
    pub(crate) fn choose(
        &mut self,
        patterns: Patterns,
        members: impl Iterator<Item = ChildId>,
        actions: &mut Vec<Action>,
    ) {
        self.patterns = patterns;
        let frame = self.frame();
        actions.extend(members.map(|to| Action::Send { to, frame: frame.clone() }));
    }

    /// A process came.
    pub(crate) fn greet(&self, to: ChildId, actions: &mut Vec<Action>) {
        if !self.patterns.is_empty() {
            actions.push(Action::Send { to, frame: self.frame() });
        }
    }

    /// What was chosen.
    pub(crate) fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    fn frame(&self) -> Frame {
        Frame::new(Kind::Trace, 0, codec::encode("the traced topics", &self.patterns).unwrap_or_default())
    }
}
