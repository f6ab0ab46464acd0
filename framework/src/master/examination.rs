//! A look at a child that hangs, while its attendant goes on attending to it.

use tokio::task::JoinHandle;

use super::autopsy;
use super::family::Family;
use crate::role::Slot;

/// A look at a child that hangs; nobody looks twice.
pub(super) enum Examination {
    Unasked,
    Running(JoinHandle<()>),
    Done,
}

impl Examination {
    /// Begins to look; what is found is in the log.
    pub(super) fn begin(slot: Slot, pid: u32, family: Family) -> Self {
        Self::Running(tokio::spawn(autopsy::examine(slot, pid, family)))
    }

    pub(super) fn is_unasked(&self) -> bool {
        matches!(self, Self::Unasked)
    }

    /// Returns once, when the examination is done. Cancel safe.
    pub(super) async fn done(&mut self) {
        let Self::Running(task) = self else {
            return std::future::pending().await;
        };
        let _ = task.await;
        *self = Self::Done;
    }

    pub(super) fn give_up(&self) {
        if let Self::Running(task) = self {
            task.abort();
        }
    }
}
