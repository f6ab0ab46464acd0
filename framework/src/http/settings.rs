//! The section `[http]` of the configuration. Every limit that a connection meets has its key here.

use std::num::NonZeroUsize;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::listen::Listen;
use crate::balance::Policy;

/// The section `[http]`: where to listen, and what a client may ask of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Where to listen.
    #[serde(deserialize_with = "some_places")]
    pub listen: Vec<Listen>,
    /// How connections are spread over the workers, where a listener says nothing else.
    pub policy: Policy,
    /// How many connections one worker holds at a time; further ones wait in the queue for any worker.
    pub max_connections: NonZeroUsize,
    /// How long a new connection may stay silent.
    #[serde(with = "crate::duration::positive")]
    pub first_byte_timeout: Duration,
    /// How long the head of a request may take, from its first byte to its last.
    #[serde(with = "crate::duration::positive")]
    pub header_timeout: Duration,
    /// How long a connection may stay silent between two requests.
    #[serde(with = "crate::duration::positive")]
    pub keep_alive_timeout: Duration,
    /// How long a client may refuse to take one more byte of an answer.
    #[serde(with = "crate::duration::positive")]
    pub send_timeout: Duration,
    /// The largest body of a request; a larger one is answered with 413.
    #[serde(with = "crate::size")]
    pub body_limit: ByteSize,
    /// How long requests in flight may take when the worker leaves, where the master names no other time.
    #[serde(with = "crate::duration")]
    pub drain_timeout: Duration,
    /// Whether `/healthz` and `/readyz` are answered before the author's router is asked.
    pub health_routes: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:7001".into()],
            policy: Policy::default(),
            max_connections: NonZeroUsize::new(10_000).unwrap_or(NonZeroUsize::MIN),
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            send_timeout: Duration::from_secs(60),
            body_limit: ByteSize::mib(1),
            drain_timeout: Duration::from_secs(30),
            health_routes: true,
        }
    }
}

fn some_places<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Listen>, D::Error> {
    let places = Vec::<Listen>::deserialize(deserializer)?;
    if places.is_empty() {
        return Err(de::Error::custom(
            "nowhere to listen: write at least one address, such as 127.0.0.1:7001",
        ));
    }
    Ok(places)
}
