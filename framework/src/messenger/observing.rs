//! What a process hears of the cluster: states, the configuration, events, and that everybody is ready.

use serde::de::DeserializeOwned;

use super::Messenger;
use crate::bus::frame::{Frame, Kind};
use crate::bus::{CodecError, Topic, codec, topic};
use crate::events::Present;
use crate::news::ClusterEvents;
use crate::process::MasterGone;
use crate::state::{ObserveError, Observed};

/// It is not known who is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembersError {
    /// The master does not answer; one of an older build does not know the question.
    #[error(
        "the master did not tell who is there within bus.ask_timeout: one of an older build cannot, restart the cluster"
    )]
    Untold,
    /// The answer cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The master is gone.
    #[error(transparent)]
    MasterGone(#[from] MasterGone),
}

impl Messenger {
    /// Observes a state that this or an earlier agent published, waiting for its first version: without end, if nobody
    /// ever publishes one, and with a warning in the log after 10 seconds. A keyed state has
    /// [`observe_key`](Self::observe_key), and is not found here. Cancel safe.
    ///
    /// # Errors
    /// When what travels under the topic's name is of another type.
    pub async fn observe<T: Topic>(&self) -> Result<Observed<T>, ObserveError> {
        self.process.observe(T::NAME).await
    }

    /// Observes a key of a keyed state that the agent publishes, waiting for its first value: without end, if there never
    /// is one, and with a warning in the log after 10 seconds. The agent fetches the
    /// value of a key for as long as somebody in the cluster observes it: until the last [`Observed`] of it, and the
    /// last call that waits for one, is dropped. An agent that dies is not noticed here but by newer versions from the
    /// next. A slow observer misses versions in between, never the last. Cancel safe.
    ///
    /// # Errors
    /// When who publishes it [refuses](crate::KeyFeed::refuse) the key; when the key is empty, has a NUL or is longer than fits 254 bytes with the name; when 16384 keys are observed in
    /// the cluster already; or when what travels under the topic's name is of another type.
    pub async fn observe_key<T: Topic>(&self, key: &str) -> Result<Observed<T>, ObserveError> {
        self.process.observe_key(key).await
    }

    /// Observes the author's configuration; it is there before a worker's function runs. Cancel safe.
    ///
    /// # Errors
    /// When `C` is not the type that was given to [`App::config`](crate::App::config).
    pub async fn config<C>(&self) -> Result<Observed<C>, ObserveError>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        self.process.observe(topic::CONFIG).await
    }

    /// The events of the cluster from now on: who was started, got ready, ended and why.
    ///
    /// # Errors
    /// When the master is gone.
    pub async fn events(&self) -> Result<ClusterEvents, MasterGone> {
        ClusterEvents::open(&self.process).await
    }

    /// Who is there now, this process included: the agent first, then the groups in their order, each by index. During a
    /// succession a slot has two. Process ids are for [`Peer::Process`](crate::Peer::Process); who may have ended by the time
    /// that it is sent to. To hear of changes, follow the [`events`](Self::events) first and ask then. Cancel safe.
    ///
    /// # Errors
    /// When the master is gone, or does not answer within `bus.ask_timeout`.
    pub async fn members(&self) -> Result<Vec<Present>, MembersError> {
        let asking = self.process.request(|number| Frame::new(Kind::Watch, number, vec![]));
        let answer = tokio::time::timeout(self.process.launch().bus.ask_timeout, asking).await;
        let answer = answer.map_err(|_| MembersError::Untold)??;
        Ok(codec::decode("the members of the cluster", &answer)?)
    }

    /// Waits until every process of the first start is ready; at once if they have been, or if this process should
    /// leave. Cancel safe.
    pub async fn cluster_ready(&self) {
        self.process.cluster_ready().await;
    }
}
