//! What a server tells about itself: counters for the heartbeat, and whether it is ready.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The counters of a server. All but the connections only grow.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(super) connections: AtomicUsize,
    pub(super) accepted: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) turned_away: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) panics: AtomicU64,
}

impl Gauges {
    /// Connections open now, upgraded ones among them.
    #[must_use]
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Connections accepted so far.
    #[must_use]
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Requests whose head was read so far.
    #[must_use]
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Requests answered with 413 so far.
    #[must_use]
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Connections closed at once so far, because their clients held as many as they may.
    #[must_use]
    pub(crate) fn turned_away(&self) -> u64 {
        self.turned_away.load(Relaxed)
    }

    /// Connections closed by a time-out so far.
    #[must_use]
    pub(crate) fn timed_out(&self) -> u64 {
        self.timed_out.load(Relaxed)
    }

    /// Handlers that panicked so far.
    #[must_use]
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }
}

/// Where a worker stands, as `/readyz` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The author's start has not finished.
    Starting,
    /// The worker serves.
    Ready,
    /// The worker finishes what is in flight and leaves.
    Draining,
}

/// A [`Standing`] that the process and its server share.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicU8);

impl Readiness {
    /// Where the worker stands now; at first it is starting.
    #[must_use]
    pub(crate) fn get(&self) -> Standing {
        match self.0.load(Relaxed) {
            0 => Standing::Starting,
            1 => Standing::Ready,
            _ => Standing::Draining,
        }
    }

    /// Moves on to `standing`. A worker that drains stays draining, whoever says ready afterwards.
    pub(crate) fn set(&self, standing: Standing) {
        self.0.fetch_max(standing as u8, Relaxed);
    }
}
