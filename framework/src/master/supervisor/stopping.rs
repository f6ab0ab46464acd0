//! A stop, from its announcement to the last process. Pure.

use std::time::{Duration, Instant};

use super::{Phase, Supervisor, report};
use crate::events::ClusterEvent;
use crate::exit::Reason;
use crate::master::crew::Crew;
use crate::master::event::{Action, Outcome};
use crate::master::rules::later;

impl Supervisor {
    /// Begins to stop; a second call can make it a faster one.
    pub(crate) fn stop(
        &mut self,
        fast: bool,
        timeout: Option<Duration>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match &mut self.phase {
            Phase::Running => self.begin_stop(fast, timeout, Outcome::done(), now, actions),
            Phase::Stopping { from, fast: already, grace, closed, .. } => {
                *already |= fast;
                if let Some(timeout) = timeout {
                    *from = (*from).min(later(now, timeout / 2));
                    // What is left of the delay is part of the time.
                    let delay = if *closed { Duration::ZERO } else { from.saturating_duration_since(now) };
                    *grace = timeout.saturating_sub(delay).min(*grace);
                }
            }
            Phase::Finished => {}
        }
    }

    pub(super) fn begin_stop(
        &mut self,
        fast: bool,
        timeout: Option<Duration>,
        outcome: Outcome,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        report(ClusterEvent::Stopping, actions);
        let all = timeout.unwrap_or(self.rules.stop_timeout);
        // Whatever the delay is, what is in flight has as much time again.
        let delay = if fast { Duration::ZERO } else { self.rules.stop_delay.min(all / 2) };
        let (from, grace) = (later(now, delay), all - delay);
        self.phase = Phase::Stopping { from, fast, grace, outcome, closed: false };
        self.announcement.withdraw(actions);
        if !delay.is_zero() {
            self.groups().iter().flat_map(Crew::occupants).for_each(|one| one.announce_stop(all, actions));
        }
    }

    /// Until when everything goes on although a stop has begun, if anybody works.
    pub(super) fn held_until(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Stopping { from, fast: false, closed: false, .. } => {
                self.groups().iter().any(|crew| crew.ready() > 0).then_some(*from)
            }
            _ => None,
        }
    }

    /// Workers first, the agent last; a fast stop asks everybody at once and waits a moment only.
    pub(super) fn empty_slots(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Phase::Stopping { fast, grace, closed, .. } = &mut self.phase else { return };
        if !std::mem::replace(closed, true) {
            actions.push(Action::CloseListeners);
        }
        let (fast, grace) = (*fast, *grace);
        let workers_left = self.crews[1..].iter().any(|crew| crew.occupants().next().is_some());
        let grace = if fast { Duration::ZERO } else { grace };
        let crews = if fast || !workers_left { &mut self.crews[..] } else { &mut self.crews[1..] };
        for crew in crews {
            crew.dismiss(Reason::Stopped, grace, now, actions);
        }
        if self.crews.iter().all(|crew| crew.occupants().next().is_none())
            && let Phase::Stopping { outcome, .. } = std::mem::replace(&mut self.phase, Phase::Finished)
        {
            actions.push(Action::Finish(outcome));
        }
    }
}
