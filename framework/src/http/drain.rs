//! How the process tells its server to leave, and what the server answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::window::Occasion;

/// Tells a server to drain. Clones tell the same server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain {
    signal: CancellationToken,
    terms: Arc<watch::Sender<Option<Terms>>>,
}

/// Why a server leaves, and the time that was named; `None` stands for its own `drain_timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Terms {
    pub(super) occasion: Occasion,
    pub(super) patience: Option<Duration>,
}

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Begins the drain; `patience` runs from now, and `None` stands for the server's own `drain_timeout`. A second call
    /// counts only if it is for a stop and the first was not.
    pub(crate) fn begin(&self, occasion: Occasion, patience: Option<Duration>) {
        self.terms.send_if_modified(|terms| {
            // A second call must not move a deadline that is already running.
            let hurries = |terms: Terms| terms.occasion == Occasion::Succession && occasion == Occasion::Stop;
            let is_news = terms.is_none_or(hurries);
            if is_news {
                *terms = Some(Terms { occasion, patience });
            }
            is_news
        });
        self.signal.cancel();
    }

    /// Fires when the drain begins.
    pub(crate) fn signal(&self) -> &CancellationToken {
        &self.signal
    }

    /// Waits until the drain begins, and tells its terms. Cancel safe.
    pub(super) async fn begun(&self) -> Terms {
        self.await_terms(|_| true).await
    }

    /// Waits until it drains for a stop, be it from the begin or since. Cancel safe.
    pub(super) async fn begun_for_a_stop(&self) -> Terms {
        self.await_terms(|terms| terms.occasion == Occasion::Stop).await
    }

    async fn await_terms(&self, wanted: impl Fn(Terms) -> bool) -> Terms {
        let mut changes = self.terms.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let found = changes.wait_for(|terms| terms.is_some_and(&wanted)).await;
        found.ok().and_then(|terms| *terms).unwrap_or_default()
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Drained {
    /// How many connections were still open at the deadline and closed by force.
    pub cut: usize,
}
