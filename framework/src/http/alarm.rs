//! The one clock of a connection. It is set when a wait begins and looked at again when it rings, so a request
//! costs one reading of the time and no change to the timer.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;

use tokio::time::{Instant, Sleep, sleep_until};

use super::house::{Closing, Seat};
use super::phase::Moment;

/// Tells when a connection's phase has lasted too long.
pub(super) struct Alarm<'a> {
    seat: &'a Seat,
    seen: Moment,
    since: Instant,
    /// The drain, once this alarm has noticed it.
    closing: Option<Closing>,
    /// When the phase seen last has lasted too long.
    due: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
    /// When the timer rings, at the due time or before; `None` while it is not set.
    set_to: Option<Instant>,
    /// Whether the timer will wake this task. The task never changes, so telling it once is enough.
    registered: bool,
}

impl<'a> Alarm<'a> {
    pub(super) fn new(seat: &'a Seat) -> Self {
        let (seen, since) = (seat.phase.moment(), Instant::now());
        let due = seen.limit(&seat.house.settings).map(|limit| since + limit);
        let sleep = Box::pin(sleep_until(due.unwrap_or(since)));
        Self { seat, seen, since, closing: None, due, sleep, set_to: due, registered: false }
    }

    /// Whether the connection's phase has lasted too long; otherwise wakes the task when it may have.
    pub(super) fn rings(&mut self, cx: &mut Context<'_>) -> bool {
        let (moment, closing) = (self.seat.phase.moment(), self.seat.house.closing());
        if moment != self.seen || closing != self.closing.as_ref() {
            self.note(moment, closing.copied());
        }
        self.poll(cx)
    }

    fn note(&mut self, moment: Moment, closing: Option<Closing>) {
        let limit = moment.limit(&self.seat.house.settings);
        if moment != self.seen && limit.is_some() {
            self.since = Instant::now();
        }
        (self.seen, self.closing) = (moment, closing);
        self.due = limit.map(|limit| self.since + limit);
        if let Some(closing) = closing.filter(|_| moment.waits()) {
            let close = closing.moment(self.seat.number, self.since);
            self.due = Some(self.due.map_or(close, |due| due.min(close)));
        }
        if let Some(due) = self.due
            && self.set_to.is_none_or(|set_to| due < set_to)
        {
            self.set(due);
        }
    }

    fn set(&mut self, due: Instant) {
        self.sleep.as_mut().reset(due);
        self.set_to = Some(due);
        self.registered = false;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        while self.set_to.is_some() {
            if self.registered && !self.sleep.is_elapsed() {
                return false;
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                self.registered = true;
                return false;
            }
            match self.due {
                Some(due) if due <= Instant::now() => return true,
                Some(due) => self.set(due),
                None => self.set_to = None,
            }
        }
        false
    }
}
