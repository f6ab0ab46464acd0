//! How the process tells its server to leave, and what the server answers.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Tells a server to drain. Clones tell the same server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain {
    signal: CancellationToken,
    timeout: Arc<OnceLock<Duration>>,
}

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Begins the drain; `timeout` runs from now, and `None` stands for the server's own `drain_timeout`.
    /// Only the first call counts.
    pub(crate) fn begin(&self, timeout: Option<Duration>) {
        if let Some(timeout) = timeout {
            // A second call must not move a deadline that is already running.
            let _ = self.timeout.set(timeout);
        }
        self.signal.cancel();
    }

    /// Waits until the drain begins. Cancel safe.
    pub(crate) async fn begun(&self) {
        self.signal.cancelled().await;
    }

    /// The time that was named when the drain began.
    #[must_use]
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout.get().copied()
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Drained {
    /// How many connections were still open at the deadline and closed by force.
    pub cut: usize,
}
