//! A process that is not heard of any more: it is examined, for as long as that makes nobody wait longer. Pure.

use std::time::{Duration, Instant};

use super::{Occupant, Stage};
use crate::bus::control::Pulse;
use crate::exit::Reason;
use crate::master::event::{Action, Report};
use crate::master::rules::{CrewRules, later};
use crate::role::Slot;

/// How long a hung process may take to be examined and to die of SIGABRT.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

impl Occupant {
    /// When its silence is too long. Before the hello and without a link there is nothing to be heard.
    pub(super) fn silent_at(&self, rules: &CrewRules) -> Option<Instant> {
        match self.stage {
            Stage::Starting { .. } | Stage::Ready | Stage::Leaving { asked: Some(_), .. } => {
                Some(later(self.heard?, rules.heartbeat_timeout?))
            }
            _ => None,
        }
    }

    /// How late its loop is, in milliseconds: what it says itself, or that nothing is heard of it although something is due.
    pub(crate) fn lag_ms(&self, rules: &CrewRules, now: Instant) -> u64 {
        let silence = self.heard.map(|heard| now.saturating_duration_since(heard)).unwrap_or_default();
        let due = Pulse::period(rules.heartbeat_timeout.unwrap_or_default());
        self.pulse.lag_ms.max(super::milliseconds(silence.saturating_sub(due)))
    }

    /// It is hung: it is examined and aborted.
    pub(super) fn fall_silent(
        &mut self,
        slot: &Slot,
        rules: &CrewRules,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let patience = later(now, ABORT_PATIENCE);
        let until = match self.stage {
            // It has nothing more to finish, which the margin is for.
            Stage::Leaving { until, .. } => until.checked_sub(rules.kill_margin).unwrap_or(now).min(patience),
            _ => patience,
        };
        let silence = now.saturating_duration_since(self.heard.unwrap_or(now));
        actions.push(Action::Report(Report::Hung { slot: slot.clone(), silence }));
        if until > now {
            actions.push(Action::Abort { id: self.id });
        }
        self.examine_until(until, slot, now, actions);
    }

    /// The examination may take until then.
    pub(super) fn examine_until(
        &mut self,
        until: Instant,
        slot: &Slot,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if until > now {
            self.stage = Stage::Aborting { until };
        } else {
            self.kill(slot, Reason::Hung, actions);
        }
    }
}
