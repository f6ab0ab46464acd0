//! How far a process has come, by when it has to come further, and what it is blamed for if it does not. Pure.

use std::time::{Duration, Instant};

use crate::exit::Reason;

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has to be ready by then.
    Starting { until: Instant },
    /// It does its work.
    Ready,
    /// It has to be gone by then. `asked` tells why we asked it to leave; nobody asked one that lost its link.
    Leaving { until: Instant, asked: Option<Reason> },
    /// It is hung and was sent SIGABRT; it has to be gone by then.
    Aborting { until: Instant },
    /// It was sent SIGKILL, for this reason.
    Dying { blame: Reason },
}

impl Stage {
    /// Whether it works, or is about to.
    pub(super) fn is_active(&self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Ready)
    }

    /// The time by which it must have come further, if there is one.
    pub(super) fn until(&self) -> Option<Instant> {
        match *self {
            Self::Starting { until } | Self::Leaving { until, .. } | Self::Aborting { until } => Some(until),
            Self::Ready | Self::Dying { .. } => None,
        }
    }

    /// What it is to be killed for, if its time is up.
    pub(super) fn overdue(&self, now: Instant) -> Option<Reason> {
        self.until().filter(|until| *until <= now)?;
        match self {
            Self::Starting { .. } => Some(Reason::NotReady),
            Self::Leaving { asked: Some(_), .. } => Some(Reason::DrainDeadline),
            Self::Leaving { asked: None, .. } => Some(Reason::LinkLost),
            Self::Aborting { .. } => Some(Reason::Hung),
            Self::Ready | Self::Dying { .. } => None,
        }
    }

    /// Why we asked it to leave, if we did.
    pub(super) fn asked(&self) -> Option<Reason> {
        match *self {
            Self::Leaving { asked, .. } => asked,
            _ => None,
        }
    }

    /// Why we killed it, if we did.
    pub(super) fn killed_for(&self) -> Option<Reason> {
        match *self {
            Self::Aborting { .. } => Some(Reason::Hung),
            Self::Dying { blame } => Some(blame),
            _ => None,
        }
    }

    /// Moves its time, because the master itself was asleep for so long.
    pub(super) fn forgive(&mut self, nap: Duration) {
        match self {
            Self::Starting { until } | Self::Leaving { until, .. } | Self::Aborting { until } => {
                *until += nap
            }
            Self::Ready | Self::Dying { .. } => {}
        }
    }
}
