//! What the master's loop tells the thread that accepts connections.

use super::door::Opening;
use super::event::ChildId;
use crate::handover::Handover;

/// What the master's loop tells the thread.
#[derive(Debug)]
pub(super) enum Order {
    Join {
        id: ChildId,
        group: String,
        index: u32,
        way: Handover,
    },
    /// It can take connections, so many at a time.
    Ready(ChildId, u64),
    Reported(ChildId, u64),
    Leave(ChildId),
    Gone(ChildId),
    /// Somebody may come by this, too.
    Open(Opening),
    Close,
}
