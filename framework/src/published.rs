//! States as the agent publishes them: encoded once, numbered and kept by the master; and what workers contribute.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bus::control::PublishAnswer;
use crate::bus::frame::{Frame, Kind};
use crate::bus::payload::{Payload, Unfit};
use crate::bus::{BadTopic, CodecError, Topic, codec, topic};
use crate::process::{Claim, MasterGone, Process, Tenure, Unclaimed};

/// The most bytes of all that one worker contributes.
pub(crate) const CONTRIBUTED: usize = 1 << 20;

/// A state that could not be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic's name, or the key, cannot be used.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// The value cannot be encoded, or the answer cannot be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The value is too large.
    #[error(
        "the state `{topic}` has {length} bytes, and {limit} are the most: publish less, or where it is to be found"
    )]
    TooLarge {
        /// The topic's name, with its key.
        topic: String,
        /// The size of the encoded value, in bytes.
        length: u64,
        /// The most bytes that it may have, by the way that it would travel.
        limit: u64,
    },
    /// All that this worker contributes is too much.
    #[error(
        "with `{topic}` this worker contributes {length} bytes, and {limit} are the most: contribute less"
    )]
    TooMuch {
        /// The topic's name.
        topic: String,
        /// The size of all its encoded contributions, in bytes.
        length: usize,
        /// The most bytes that they may have.
        limit: usize,
    },
    /// The state, keyed or not, has a publisher in this process.
    #[error(
        "the state `{0}` is published in this process already: publish it once, and share what `publish` returned"
    )]
    Twice(String),
    /// The run of a duty that publishes the state has failed.
    #[error("the run of the duty that publishes `{0}` has failed: the next run publishes it anew")]
    Over(String),
    /// The version was never published.
    #[error(
        "the state `{topic}` has no version {version}: its newest is {newest}; wait for one that `set` or `version` returned"
    )]
    NoSuchVersion {
        /// The topic's name.
        topic: String,
        /// What was asked for.
        version: u64,
        /// The newest that there is.
        newest: u64,
    },
    /// The master does not take it.
    #[error("the master refused the state: {0}")]
    Refused(String),
    /// The master is gone.
    #[error(transparent)]
    MasterGone(#[from] MasterGone),
}

/// A state that this agent publishes. Clones publish the same one; when all are dropped, another can be made, and the last
/// value stays in force.
#[derive(Debug)]
pub struct Published<T> {
    process: Process,
    claim: Arc<Claim>,
    /// The newest version that these clones have set.
    version: Arc<AtomicU64>,
    topic: PhantomData<fn(T)>,
}

impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        let Self { process, claim, version, topic } = self;
        Self {
            process: process.clone(),
            claim: Arc::clone(claim),
            version: Arc::clone(version),
            topic: *topic,
        }
    }
}

impl<T: Topic> Published<T> {
    /// Publishes the first value, for as long as `tenure` lasts at most.
    pub(crate) async fn open(process: Process, tenure: &Tenure, value: T) -> Result<Self, PublishError> {
        topic::check(T::NAME)?;
        let claim = process.claims().claim(T::NAME, tenure).map_err(|why| match why {
            Unclaimed::Taken => PublishError::Twice(T::NAME.to_owned()),
            Unclaimed::Over => PublishError::Over(T::NAME.to_owned()),
        })?;
        let published = Self { process, claim, version: Arc::default(), topic: PhantomData };
        published.set(value).await?;
        Ok(published)
    }

    /// The newest version that this, or a clone of it, has published.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Publishes a new value and returns its version. Returns when the master has it; the workers have it
    /// a moment later. A slow worker misses versions in between, never the last. Cancel safe, but the value may have
    /// been published.
    ///
    /// # Errors
    /// When the value cannot be encoded or is too large (64 MiB, or 256 MiB where the system has sealed memory; all
    /// states together share 256 MiB), or the master has no free descriptor for one of 1 MiB or more, or is gone; or when it
    /// was published in a run of a duty that has failed.
    pub async fn set(&self, value: T) -> Result<u64, PublishError> {
        if !self.claim.is_held() {
            return Err(PublishError::Over(T::NAME.to_owned()));
        }
        let payload = encode(T::NAME, &value)?;
        drop(value);
        let version = publish(&self.process, T::NAME, payload).await?;
        self.version.fetch_max(version, Ordering::Relaxed);
        Ok(version)
    }

    /// Waits until every worker that lives runs this version or a later one. Workers that are starting count, those
    /// that were asked to leave do not, and one that dies holds nobody up; but one that is stopped, or cannot read the
    /// value, does for as long as it lives: put a time-out around. Without workers it returns at once. Cancel safe.
    ///
    /// # Errors
    /// When there is no such version yet, more than 1024 such questions wait, or the master is gone.
    pub async fn until_everywhere(&self, version: u64) -> Result<(), PublishError> {
        let known = self.process.latest_state(T::NAME).map_or(0, |(version, _)| version);
        let newest = self.version().max(known);
        if version > newest {
            return Err(PublishError::NoSuchVersion { topic: T::NAME.to_owned(), version, newest });
        }
        let body = codec::encode("the version", &version)?;
        let mut question = Question { process: &self.process, number: None };
        let answer = self.process.request(|number| {
            question.number = Some(number);
            Frame::about(Kind::Everywhere, T::NAME, number, &body)
        });
        let answer = answer.await?;
        question.number = None;
        match &answer[..] {
            [] => Ok(()),
            problem => Err(PublishError::Refused(String::from_utf8_lossy(problem).into_owned())),
        }
    }
}

/// A question to the master that is taken back if nobody waits for the answer any more.
struct Question<'a> {
    process: &'a Process,
    number: Option<u64>,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.process.push(Frame::new(Kind::Everywhere, number, vec![]));
        }
    }
}

/// Encodes the value of a state.
pub(crate) fn encode<T: Topic>(topic: &str, value: &T) -> Result<Payload, PublishError> {
    Payload::encode(&format!("the state `{topic}`"), value).map_err(|unfit| match unfit {
        Unfit::Codec(error) => error.into(),
        Unfit::TooLarge { length, limit } => {
            PublishError::TooLarge { topic: topic.to_owned(), length, limit }
        }
    })
}

/// Sends a payload to the master, and takes it into this process's own view under the version it got. Whoever observes it
/// here as another type is told as everywhere else: it is published.
pub(crate) async fn publish(process: &Process, topic: &str, payload: Payload) -> Result<u64, PublishError> {
    let (length, limit) = (payload.length(), payload.limit());
    if length > limit {
        return Err(PublishError::TooLarge { topic: topic::display(topic), length, limit });
    }
    let answer = process.request(|number| payload.to_frame(Kind::Publish, topic, number)).await?;
    match codec::decode("the answer to a publish request", &answer)? {
        PublishAnswer::Refused(reason) => Err(PublishError::Refused(reason)),
        PublishAnswer::Version(version) => {
            if let Err(misfit) = process.store(topic, version, payload) {
                tracing::error!("version {version} of a state does not fit who observes it here: {misfit}");
            }
            Ok(version)
        }
    }
}

/// Sends this worker's own value of a topic to the agent.
pub(crate) async fn contribute<T: Topic>(process: &Process, value: &T) -> Result<(), PublishError> {
    topic::check(T::NAME)?;
    let payload = codec::encode(T::NAME, value)?;
    let topic = || T::NAME.to_owned();
    process
        .book_contribution(T::NAME, payload.len(), CONTRIBUTED)
        .map_err(|length| PublishError::TooMuch { topic: topic(), length, limit: CONTRIBUTED })?;
    Ok(process.send(Frame::about(Kind::Contribute, T::NAME, 0, &payload)).await?)
}
