//! States as the agent publishes them: encoded once, numbered and kept by the master.

use std::marker::PhantomData;

use crate::bus::control::PublishAnswer;
use crate::bus::frame::{Frame, Kind, MAX_LENGTH};
use crate::bus::{CodecError, Topic, codec, topic};
use crate::process::{MasterGone, Process};

/// A state that could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The topic's name cannot be used.
    #[error(transparent)]
    Topic(#[from] topic::BadTopic),
    /// The value cannot be encoded, or the answer cannot be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The value is too large for one frame.
    #[error("the state `{topic}` has {length} bytes, and {MAX_LENGTH} are the most")]
    TooLarge {
        /// The topic's name.
        topic: String,
        /// The size of the encoded value.
        length: usize,
    },
    /// The master does not take it.
    #[error("the master refused the state: {0}")]
    Refused(String),
    /// The master is gone.
    #[error(transparent)]
    MasterGone(#[from] MasterGone),
}

/// A state that this agent publishes.
#[derive(Debug)]
pub struct Published<T> {
    process: Process,
    topic: PhantomData<fn(T)>,
}

impl<T: Topic> Published<T> {
    /// Publishes the first value.
    pub(crate) async fn open(process: Process, value: T) -> Result<Self, PublishError> {
        topic::check(T::NAME)?;
        let published = Self { process, topic: PhantomData };
        published.set(value).await?;
        Ok(published)
    }

    /// Publishes a new value and returns its version. Returns when the master has it; the workers have it
    /// a moment later. A slow worker misses versions in between, never the last.
    ///
    /// # Errors
    /// When the value cannot be encoded or the master is gone.
    pub async fn set(&self, value: T) -> Result<u64, PublishError> {
        publish(&self.process, T::NAME, codec::encode(T::NAME, &value)?).await
    }
}

/// Sends a payload to the master, and takes it into this process's own view under the version it got.
pub(crate) async fn publish(process: &Process, topic: &str, payload: Vec<u8>) -> Result<u64, PublishError> {
    if topic.len() + payload.len() > MAX_LENGTH {
        return Err(PublishError::TooLarge { topic: topic.to_owned(), length: payload.len() });
    }
    let answer = process.request(|number| Frame::about(Kind::Publish, topic, number, &payload)).await?;
    match codec::decode("the answer to a publish request", &answer)? {
        PublishAnswer::Refused(reason) => Err(PublishError::Refused(reason)),
        PublishAnswer::Version(version) => {
            process.store(topic, version, payload.into())?;
            Ok(version)
        }
    }
}
