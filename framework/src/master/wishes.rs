//! What operators ask for by signals, as events.

use std::io;

use tokio::sync::mpsc;

use super::event::Event;
use crate::signals::{Signals, Wish};

/// Begins to listen for all signals that a master has. Must be called inside a runtime.
pub(super) fn listen() -> io::Result<Signals> {
    Signals::new()?.with_crew()
}

/// Turns wishes into events until the master is gone.
pub(super) async fn forward(mut signals: Signals, events: mpsc::Sender<Event>) {
    loop {
        let event = match signals.next().await {
            Wish::Stop => Event::StopSignal { fast: false },
            Wish::StopFast => Event::StopSignal { fast: true },
            Wish::ReopenLogs => Event::ReopenLogs,
            Wish::Reload => Event::ReloadSignal,
            Wish::More => Event::ScaleSignal { by: 1 },
            Wish::Fewer => Event::ScaleSignal { by: -1 },
            Wish::Reserved(name) => {
                tracing::warn!("{name} is reserved and changes nothing yet");
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}
