//! What happens in the cluster, as an author's function follows it.

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::events::ClusterEvent;
use crate::process::{MasterGone, Process};

/// The events of the cluster from now on, in their order. Made by [`Messenger::events`](crate::Messenger::events).
#[derive(Debug)]
pub struct ClusterEvents {
    receiver: broadcast::Receiver<ClusterEvent>,
}

impl ClusterEvents {
    pub(crate) async fn open(process: &Process) -> Result<Self, MasterGone> {
        // First the ear, then the word to the master: nothing falls in between.
        let receiver = process.events();
        process.watch().await?;
        Ok(Self { receiver })
    }

    /// The next event. Who takes them too slowly gets [`ClusterEvent::Missed`] in place of the oldest. Waits for
    /// ever when the master is gone, with which this process ends. Cancel safe.
    pub async fn next(&mut self) -> ClusterEvent {
        match self.receiver.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(count)) => ClusterEvent::Missed { count },
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
