//! How the process tells its server to leave, and what the server answers.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::window::Occasion;

/// Tells a server to drain. Clones tell the same server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain {
    signal: CancellationToken,
    terms: Arc<OnceLock<(Occasion, Option<Duration>)>>,
}

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Begins the drain; `timeout` runs from now, and `None` stands for the server's own `drain_timeout`.
    /// Only the first call counts.
    pub(crate) fn begin(&self, occasion: Occasion, timeout: Option<Duration>) {
        // A second call must not move a deadline that is already running.
        let _ = self.terms.set((occasion, timeout));
        self.signal.cancel();
    }

    /// Waits until the drain begins. Cancel safe.
    pub(crate) async fn begun(&self) {
        self.signal.cancelled().await;
    }

    /// Why, and the time that was named, once the drain has begun.
    #[must_use]
    pub(super) fn terms(&self) -> (Occasion, Option<Duration>) {
        self.terms.get().copied().unwrap_or_default()
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Drained {
    /// How many connections were still open at the deadline and closed by force.
    pub cut: usize,
}
