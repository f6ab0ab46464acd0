//! The section `[http]` of the configuration. Every limit that a connection meets has its key here.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::listen::Listen;
use super::trust::{ProxyHeader, TrustedProxy};
use crate::balance::Policy;
use crate::tls::TlsVersion;

/// What the parser needs at least.
const LEAST_HEADER_LIMIT: u32 = 8 * 1024;

/// A connection may hold so much before anything is known of it.
const MOST_HEADER_LIMIT: u64 = 16 * 1024 * 1024;

/// The section `[http]`: where to listen, and what a client may ask of a worker.
// What serde makes of it are plain functions, called below: so it can be looked at as a whole when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct HttpSettings {
    /// Where to listen.
    #[serde(deserialize_with = "some_places")]
    pub listen: Vec<Listen>,
    /// How connections are spread over the workers, where a listener says nothing else.
    pub policy: Policy,
    /// For the policy `url-hash`: how long the first line of a connection is waited for. Then it goes to a worker by turns.
    #[serde(with = "crate::duration::positive")]
    pub peek_timeout: Duration,
    /// How many connections one worker holds at a time; further ones wait in the queue for any worker.
    pub max_connections: NonZeroUsize,
    /// How many connections of one client address a worker holds at a time; further ones are closed at once. 0 is no
    /// limit, and trusted proxies have none. An IPv6 network of 64 bits counts as one address.
    pub max_connections_per_client: usize,
    /// The proxies whose word is taken for whom they speak.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// In which header they say it.
    pub proxy_header: ProxyHeader,
    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2. Only a trusted proxy may
    /// connect then.
    pub proxy_protocol: bool,
    /// How long a new connection may stay silent.
    #[serde(serialize_with = "crate::duration::serialize", deserialize_with = "client_time")]
    pub first_byte_timeout: Duration,
    /// How long a client may take for a TLS handshake, from the moment it connects. Default 10 s.
    #[serde(serialize_with = "crate::duration::serialize", deserialize_with = "client_time")]
    pub handshake_timeout: Duration,
    /// The oldest version of TLS that is spoken. Default 1.2.
    pub min_tls_version: TlsVersion,
    /// How long the body of a request may pause. Altogether it may be waited for so long, and a second more for each 512
    /// bytes; a slower one is answered with 408.
    #[serde(serialize_with = "crate::duration::serialize", deserialize_with = "client_time")]
    pub body_timeout: Duration,
    /// How long the head of a request may take, from its first byte to its last.
    #[serde(serialize_with = "crate::duration::serialize", deserialize_with = "client_time")]
    pub header_timeout: Duration,
    /// How long a connection may stay silent between two requests.
    #[serde(with = "crate::duration::positive")]
    pub keep_alive_timeout: Duration,
    /// How long a client may refuse to take more of an answer. With HTTP/2 also how long it may leave the next 16 KiB of
    /// one answer lying, by giving no window for them; that ends this stream alone. Default 60 s.
    #[serde(serialize_with = "crate::duration::serialize", deserialize_with = "client_time")]
    pub send_timeout: Duration,
    /// The largest head of a request; a larger one is answered with 431. At least 8 KiB.
    #[serde(serialize_with = "crate::size::serialize", deserialize_with = "head_size")]
    pub header_limit: ByteSize,
    /// How many requests a connection with HTTP/2 may have under way at a time.
    pub http2_streams: NonZeroU32,
    /// How often a client with HTTP/2 is asked whether it is still there; 0 never, and otherwise at least 1 s.
    #[serde(serialize_with = "crate::duration::serialize", deserialize_with = "ping_interval")]
    pub http2_ping_interval: Duration,
    /// The largest body of a request; a larger one is answered with 413.
    #[serde(with = "crate::size")]
    pub body_limit: ByteSize,
    /// How long requests in flight may take when the worker leaves, where the master names no other time.
    #[serde(with = "crate::duration")]
    pub drain_timeout: Duration,
    /// How long everything goes on at a stop before the listeners close, while `/readyz` says 503 already: time for load
    /// balancers to look elsewhere. It is part of the time that the stop may take, and at most half of it.
    #[serde(with = "crate::duration")]
    pub stop_delay: Duration,
    /// How long a worker that is replaced leaves idle connections alone, so that their clients hear of it with their
    /// next answer. What is idle after that is closed, spread over the rest of the drain.
    #[serde(with = "crate::duration")]
    pub idle_grace: Duration,
    /// Whether `/healthz` and `/readyz` are answered before the author's router is asked.
    pub health_routes: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:7001".into()],
            policy: Policy::default(),
            peek_timeout: Duration::from_secs(1),
            max_connections: NonZeroUsize::new(10_000).unwrap_or(NonZeroUsize::MIN),
            max_connections_per_client: 0,
            trusted_proxies: vec![],
            proxy_header: ProxyHeader::default(),
            proxy_protocol: false,
            first_byte_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            min_tls_version: TlsVersion::default(),
            body_timeout: Duration::from_secs(20),
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            send_timeout: Duration::from_secs(60),
            header_limit: ByteSize::kib(64),
            http2_streams: NonZeroU32::new(128).unwrap_or(NonZeroU32::MIN),
            http2_ping_interval: Duration::from_secs(30),
            body_limit: ByteSize::mib(1),
            drain_timeout: Duration::from_secs(30),
            stop_delay: Duration::ZERO,
            idle_grace: Duration::from_secs(15),
            health_routes: true,
        }
    }
}

impl Serialize for HttpSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for HttpSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = Self::deserialize(deserializer)?;
        settings.contradiction().map_or(Ok(settings), |problem| Err(de::Error::custom(problem)))
    }
}

impl HttpSettings {
    /// Keys that do not go together.
    fn contradiction(&self) -> Option<&'static str> {
        if let Some(problem) = self.listen.iter().find_map(|place| place.unfit(self.policy)) {
            return Some(problem);
        }
        (self.proxy_protocol && self.trusted_proxies.is_empty()).then_some(
            "with `proxy_protocol` only trusted proxies may connect, and there are none: name them in \
             `trusted_proxies`, such as [\"127.0.0.1\"]",
        )
    }

    /// [`header_limit`](Self::header_limit), which was checked when it was read.
    pub(super) fn header_bytes(&self) -> u32 {
        u32::try_from(self.header_limit.as_u64()).unwrap_or(u32::MAX).max(LEAST_HEADER_LIMIT)
    }
}

fn head_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = crate::size::deserialize(deserializer)?;
    if !(u64::from(LEAST_HEADER_LIMIT)..=MOST_HEADER_LIMIT).contains(&size.as_u64()) {
        return Err(de::Error::custom("want a size from 8KiB to 16MiB"));
    }
    Ok(size)
}

/// The least time that a client is given for anything: with less, nobody would be served.
const LEAST_TIME: Duration = Duration::from_millis(10);

/// More often, the pings would be most of the traffic, and slow clients gone.
const LEAST_PING_INTERVAL: Duration = Duration::from_secs(1);

fn client_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    crate::duration::at_least(LEAST_TIME, deserializer)
}

fn ping_interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let interval = crate::duration::deserialize(deserializer)?;
    if !interval.is_zero() && interval < LEAST_PING_INTERVAL {
        return Err(de::Error::custom("too short: write 1s or more, or 0s for never"));
    }
    Ok(interval)
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
