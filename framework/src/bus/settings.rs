//! The section `[bus]` of the configuration. Pure.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::frame::MAX_LENGTH;

/// The least that the frames of the framework itself need.
const LEAST_QUEUE: u64 = 64 << 10;

/// More is more likely a slip than a wish.
const MOST_QUEUE: u64 = 1 << 30;

/// Less would refuse what every app sends.
const LEAST_MESSAGE: u64 = 1 << 10;

/// The section `[bus]`: how much may wait, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// How many bytes of messages may wait in the master for one process, and in a process for one subscription.
    /// Further ones are not queued, and that is counted. At least 64 KiB, at most 1 GiB, default 4 MiB. With all workers stopped the
    /// master needs so much for each.
    #[serde(serialize_with = "crate::size::serialize", deserialize_with = "queue_size")]
    pub queue_limit: ByteSize,
    /// The largest message, question or answer, encoded. At least 1 KiB, at most 63 MiB, default 8 MiB. A process that sends one of 1 MiB
    /// more all the same loses its link.
    #[serde(serialize_with = "crate::size::serialize", deserialize_with = "message_size")]
    pub message_limit: ByteSize,
    /// How long an answer is waited for where the asker names no other time. Default 10 s.
    #[serde(with = "crate::duration::positive")]
    pub ask_timeout: Duration,
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            queue_limit: ByteSize::mib(4),
            message_limit: ByteSize::mib(8),
            ask_timeout: Duration::from_secs(10),
        }
    }
}

impl BusSettings {
    /// [`queue_limit`](Self::queue_limit) in bytes.
    pub(crate) fn queue_bytes(&self) -> usize {
        usize::try_from(self.queue_limit.as_u64()).unwrap_or(usize::MAX)
    }

    /// [`message_limit`](Self::message_limit) in bytes.
    pub(crate) fn message_bytes(&self) -> usize {
        usize::try_from(self.message_limit.as_u64()).unwrap_or(usize::MAX)
    }
}

fn queue_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = crate::size::deserialize(deserializer)?;
    if !(LEAST_QUEUE..=MOST_QUEUE).contains(&size.as_u64()) {
        return Err(de::Error::custom("want a size from 64KiB to 1GiB"));
    }
    Ok(size)
}

fn message_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = crate::size::deserialize(deserializer)?;
    if size.as_u64() < LEAST_MESSAGE || size.as_u64().saturating_add(1 << 20) > MAX_LENGTH as u64 {
        return Err(de::Error::custom("want a size from 1KiB to 63MiB"));
    }
    Ok(size)
}
