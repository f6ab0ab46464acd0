//! What a connection is doing, and how long it may go on doing it. Pure: it reads no clock.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::HttpSettings;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accepted; not one byte has come.
    New,
    /// Some bytes of a head have come.
    Head,
    /// The handler works, or the body of its answer is under way.
    Busy,
    /// The handler is done; the end of its answer waits to be written.
    Flushing,
    /// Answered; nothing has come since.
    Idle,
    /// The connection belongs to another protocol now.
    Upgraded,
}

const PHASES: [Phase; 6] =
    [Phase::New, Phase::Head, Phase::Busy, Phase::Flushing, Phase::Idle, Phase::Upgraded];
const PHASE: u32 = 0b0111;
const BLOCKED: u32 = 0b1000;
const SHARED: u32 = 0b1_0000;
const COUNT: u32 = 0b10_0000;

/// A phase, and whether the client refuses to take what is written to it.
///
/// Above these it counts its changes, so that a cycle from idle to idle is seen as a change too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(u32);

impl Moment {
    pub(super) fn phase(self) -> Phase {
        PHASES[(self.0 & PHASE) as usize % PHASES.len()]
    }

    /// Whether nothing is under way, so that a worker which leaves may close the connection.
    pub(super) fn waits(self) -> bool {
        matches!(self.phase(), Phase::New | Phase::Idle)
    }

    /// Whether bytes of the very first head have come, and nothing else has happened.
    pub(super) fn is_first_head(self) -> bool {
        self.0 & !BLOCKED == COUNT | Phase::Head as u32
    }

    /// Whether the connection serves several requests at a time.
    pub(super) fn shared(self) -> bool {
        self.0 & SHARED != 0
    }

    /// Whether the client takes nothing from its socket.
    pub(super) fn blocked(self) -> bool {
        self.0 & BLOCKED != 0
    }

    fn next(self, phase: Phase, flags: u32) -> Self {
        Self((self.0 & !(PHASE | BLOCKED)).wrapping_add(COUNT) | phase as u32 | flags)
    }

    /// How long this moment may last.
    pub(super) fn limit(self, settings: &HttpSettings) -> Option<Duration> {
        match self.phase() {
            Phase::New => Some(settings.first_byte_timeout),
            Phase::Head => Some(settings.header_timeout),
            Phase::Idle => Some(settings.keep_alive_timeout),
            Phase::Busy | Phase::Flushing => self.blocked().then_some(settings.send_timeout),
            Phase::Upgraded => None,
        }
    }
}

/// The current [`Moment`] of one connection. Only that connection's own task writes it, and with HTTP/2 the tasks of its
/// streams, which run on the same thread. So plain loads and stores do; it is atomic because tasks may move.
#[derive(Debug)]
pub(super) struct PhaseCell {
    moment: AtomicU32,
    /// How many requests are answered now, where there can be several.
    streams: AtomicU32,
}

impl PhaseCell {
    pub(super) fn new() -> Self {
        Self { moment: AtomicU32::new(Phase::New as u32), streams: AtomicU32::new(0) }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment(self.moment.load(Relaxed))
    }

    pub(super) fn phase(&self) -> Phase {
        self.moment().phase()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.store(self.moment().next(phase, 0));
    }

    /// The connection speaks HTTP/2 from now on: busy while any stream is, and otherwise idle.
    pub(super) fn share(&self) {
        self.store(self.moment().next(Phase::Idle, SHARED));
    }

    /// A request has come.
    pub(super) fn begin(&self) {
        if !self.moment().shared() || self.streams.fetch_add(1, Relaxed) == 0 {
            self.enter(Phase::Busy);
        }
    }

    /// Some bytes were read.
    pub(super) fn read(&self) {
        let moment = self.moment();
        if moment.waits() && !moment.shared() {
            self.enter(Phase::Head);
        }
    }

    /// The client took some bytes.
    pub(super) fn wrote(&self) {
        let moment = self.moment();
        if moment.blocked() {
            self.enter(moment.phase());
        }
    }

    /// The client takes no more bytes for now.
    pub(super) fn write_blocked(&self) {
        let moment = self.moment();
        if !moment.blocked() {
            self.store(moment.next(moment.phase(), BLOCKED));
        }
    }

    /// The body of the answer was handed over to the end, or nobody wants it any more.
    pub(super) fn end(&self) {
        let moment = self.moment();
        if !moment.shared() {
            if moment.phase() == Phase::Busy {
                self.enter(Phase::Flushing);
            }
        } else if self.streams.fetch_sub(1, Relaxed) == 1 {
            self.enter(Phase::Idle);
        }
    }

    /// All that was handed over is written.
    pub(super) fn flushed(&self) {
        if self.phase() == Phase::Flushing {
            self.enter(Phase::Idle);
        }
    }

    fn store(&self, moment: Moment) {
        self.moment.store(moment.0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_a_connection_from_new_over_busy_to_idle() {
        let cell = PhaseCell::new();
        let after = |step: fn(&PhaseCell)| {
            step(&cell);
            cell.phase()
        };
        assert_eq!(after(PhaseCell::flushed), Phase::New);
        assert_eq!(after(PhaseCell::read), Phase::Head);
        assert_eq!(after(PhaseCell::begin), Phase::Busy);
        assert_eq!(after(PhaseCell::read), Phase::Busy);
        assert_eq!(after(PhaseCell::flushed), Phase::Busy);
        assert_eq!(after(PhaseCell::end), Phase::Flushing);
        assert_eq!(after(PhaseCell::flushed), Phase::Idle);
    }

    #[test]
    fn a_shared_connection_is_busy_until_its_last_request_is_done() {
        let cell = PhaseCell::new();
        cell.read();
        assert!(cell.moment().is_first_head());
        cell.share();
        let after = |step: fn(&PhaseCell)| {
            step(&cell);
            cell.phase()
        };
        let steps = [PhaseCell::read, PhaseCell::begin, PhaseCell::begin, PhaseCell::end, PhaseCell::end];
        assert_eq!(steps.map(after), [Phase::Idle, Phase::Busy, Phase::Busy, Phase::Busy, Phase::Idle]);
        assert!(!cell.moment().is_first_head());
    }

    #[test]
    fn a_cycle_from_idle_to_idle_is_seen_as_a_change() {
        let cell = PhaseCell::new();
        cell.enter(Phase::Idle);
        let before = cell.moment();
        cell.read();
        cell.enter(Phase::Idle);
        assert_ne!(cell.moment(), before);
    }

    #[test]
    fn more_bytes_of_a_head_do_not_begin_it_anew() {
        let cell = PhaseCell::new();
        cell.read();
        let begun = cell.moment();
        cell.read();
        assert_eq!(cell.moment(), begun);
    }

    #[test]
    fn only_a_client_that_takes_nothing_is_limited_while_it_is_answered() {
        let (cell, settings) = (PhaseCell::new(), HttpSettings::default());
        cell.enter(Phase::Busy);
        assert_eq!(cell.moment().limit(&settings), None);
        cell.write_blocked();
        assert_eq!(cell.moment().limit(&settings), Some(settings.send_timeout));
        cell.wrote();
        assert_eq!(cell.moment().limit(&settings), None);
    }

    #[test]
    fn each_wait_for_the_client_has_its_own_limit() {
        let (cell, settings) = (PhaseCell::new(), HttpSettings::default());
        assert_eq!(cell.moment().limit(&settings), Some(settings.first_byte_timeout));
        cell.read();
        assert_eq!(cell.moment().limit(&settings), Some(settings.header_timeout));
        cell.enter(Phase::Idle);
        assert_eq!(cell.moment().limit(&settings), Some(settings.keep_alive_timeout));
    }

    #[test]
    fn only_a_connection_with_nothing_under_way_may_be_closed() {
        let waiting = PHASES.map(|phase| {
            let cell = PhaseCell::new();
            cell.enter(phase);
            cell.moment().waits()
        });
        assert_eq!(waiting, [true, false, false, false, true, false]);
    }
}
