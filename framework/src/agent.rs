//! The agent as its duties and the author's function see it: the one process for what must be done exactly
//! once.

use std::future::Future;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::bus::frame::{Frame, Kind};
use crate::bus::{Topic, codec};
use crate::config::ConfigError;
use crate::desk::ConfigDesk;
use crate::error::Result as AuthorResult;
use crate::gathered::Gathered;
use crate::keyed::{self, KeyFeed};
use crate::log;
use crate::messenger::Messenger;
use crate::process::{MasterGone, Process, Tenure};
use crate::published::{PublishError, Published};
use crate::role;
use crate::state::ObserveError;
use crate::status::DutyStatus;

/// The agent's side of the cluster. Clones are the same agent.
#[derive(Debug, Clone)]
pub struct Agent {
    process: Process,
    messenger: Messenger,
    desk: Arc<ConfigDesk>,
}

impl Deref for Agent {
    type Target = Messenger;

    fn deref(&self) -> &Messenger {
        &self.messenger
    }
}

/// The log files could not be opened anew everywhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReopenError {
    /// Some processes could not do it and still write to the old files.
    #[error("some processes could not open their log files: {0}")]
    Failed(String),
    /// The master is gone.
    #[error(transparent)]
    MasterGone(#[from] MasterGone),
}

impl Agent {
    pub(crate) fn new(process: Process, desk: ConfigDesk) -> Self {
        Self { messenger: Messenger::new(process.clone()), process, desk: Arc::new(desk) }
    }

    /// The same agent for a run of a duty, with which ends what it registers here.
    pub(crate) fn under(&self, tenure: Tenure) -> Self {
        let Self { process, messenger, desk } = self;
        Self { process: process.clone(), messenger: messenger.under(tenure), desk: Arc::clone(desk) }
    }

    /// Says that the agent can do its work; workers are started after that. The second call does nothing.
    ///
    /// # Errors
    /// When the master is gone.
    pub async fn ready(&self) -> Result<(), MasterGone> {
        self.process.ready().await
    }

    /// Does `work` unless the agent should leave first: `None` then, and `work` is dropped where it waits.
    pub async fn until_shutdown<F: Future>(&self, work: F) -> Option<F::Output> {
        self.process.shutdown().run_until_cancelled(work).await
    }

    /// Publishes a state: every worker has it before its own function runs, and hears of each change. The value stays in
    /// force when what this returns is dropped, and when a [`Duty`](crate::Duty) that called it fails; then the state can be
    /// published anew.
    ///
    /// # Errors
    /// When the name is reserved, this process publishes the state already, the value cannot be encoded, or the master is
    /// gone.
    pub async fn publish<T: Topic>(&self, value: T) -> Result<Published<T>, PublishError> {
        Published::open(self.process.clone(), self.messenger.tenure(), value).await
    }

    /// Publishes the keyed state `T`: for each key that somebody in the cluster [observes](Messenger::observe_key), `feed` is
    /// called once, and its future is run for as long as the key is observed and five seconds more; then it is dropped
    /// where it waits. However many workers and observers there are, there is one such future per key. One that fails
    /// or panics is started again: at once the first time, then after 100 ms, doubling up to 30 s. One that returns
    /// `Ok` leaves its last value in force.
    ///
    /// What observers wanted before this call is not lost. Returns at once; publishing goes on until the process
    /// leaves, or the [`Duty`](crate::Duty) that called this fails. When the agent is replaced, the next one starts all futures anew, and observers keep their values.
    ///
    /// ```no_run
    /// # use serde::{Serialize, Deserialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Price(f64);
    /// # impl hatchery::Topic for Price { const NAME: &'static str = "price"; }
    /// # async fn next_price(_: &str) -> hatchery::Result<Price> { Ok(Price(1.0)) }
    /// # fn f(agent: hatchery::Agent) -> hatchery::Result {
    /// use hatchery::KeyFeed;
    ///
    /// agent.publish_keyed(|feed: KeyFeed<Price>| async move {
    ///     loop {
    ///         feed.set(next_price(feed.key()).await?).await?;
    ///     }
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the name is reserved, or this process publishes the keyed state already.
    pub fn publish_keyed<T, F, Fut>(&self, feed: F) -> Result<(), PublishError>
    where
        T: Topic,
        F: Fn(KeyFeed<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = AuthorResult> + Send + 'static,
    {
        keyed::open(&self.process, self.messenger.tenure(), keyed::LINGER, feed)
    }

    /// Like [`publish_keyed`](Self::publish_keyed), with another time than five seconds for which a future goes on
    /// without observers.
    ///
    /// # Errors
    /// See [`publish_keyed`](Self::publish_keyed).
    pub fn publish_keyed_lingering<T, F, Fut>(&self, linger: Duration, feed: F) -> Result<(), PublishError>
    where
        T: Topic,
        F: Fn(KeyFeed<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = AuthorResult> + Send + 'static,
    {
        keyed::open(&self.process, self.messenger.tenure(), linger, feed)
    }

    /// The values of `T` that the workers contribute, by [`Worker::contribute`](crate::Worker::contribute): the latest of
    /// each that lives, also of those who contributed to an earlier agent.
    ///
    /// # Errors
    /// When the name is reserved, or the contributions are gathered as another type already.
    pub fn gather<T: Topic>(&self) -> Result<Gathered<T>, ObserveError> {
        self.process.gather()
    }

    /// The section of the configuration that belongs to a duty, as it is in force now.
    ///
    /// # Errors
    /// When the section is not a `T`; it was checked, so only when the duty declared another type.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        self.desk.section(name)
    }

    /// Where changed configuration is handed in.
    #[must_use]
    pub fn config_desk(&self) -> &ConfigDesk {
        &self.desk
    }

    /// The folder of the log files.
    #[must_use]
    pub fn log_dir(&self) -> &Path {
        &self.process.launch().log_dir
    }

    /// The names of the log files that this app's processes write there.
    #[must_use]
    pub fn log_files(&self) -> Vec<String> {
        let groups = self.process.launch().groups.iter().map(|group| group.name.as_str());
        let names = ["master", role::AGENT, log::ERRORS].into_iter().chain(groups);
        names.map(|name| format!("{name}.log")).collect()
    }

    /// Makes every process open its log files anew, and returns when all have done so or are dead. What was
    /// written before is in the files that were renamed. Cancel safe, but the round goes on.
    ///
    /// # Errors
    /// When a process could not, or the master is gone.
    pub async fn reopen_logs(&self) -> Result<(), ReopenError> {
        let answer = self.process.request(|number| Frame::new(Kind::Reopen, number, vec![])).await?;
        match &answer[..] {
            [] => Ok(()),
            problem => Err(ReopenError::Failed(String::from_utf8_lossy(problem).into_owned())),
        }
    }

    pub(crate) async fn report_duties(&self, duties: &[DutyStatus]) {
        let body = codec::encode("the duties", &duties).unwrap_or_default();
        // If the master is gone there is nobody to tell.
        let _ = self.process.send(Frame::new(Kind::Duties, 0, body)).await;
    }
}
