//! The sections `[cluster]` and `[groups.NAME]`: how many processes, and how patient to be with them. Pure.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::count::WorkerCount;
use crate::http::Listen;
use crate::identity::Account;
use crate::launch::OnPanic;
use crate::role::WEB;

/// The section `[cluster]`. What it says of workers holds for every group that does not say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// How many workers the group `web` has: a number, or `auto` for one per processor that the process may use
    /// (affinity and the container's quota counted). Default `auto`.
    pub workers: WorkerCount,
    /// How long a process may take to say ready. Default 30 s.
    #[serde(with = "crate::duration::positive")]
    pub ready_timeout: Duration,
    /// How long workers may take to finish their requests at a stop, and then the agent. Default 30 s.
    #[serde(with = "crate::duration")]
    pub stop_timeout: Duration,
    /// The delay before the second replacement of a process that dies again and again; it doubles each
    /// time. The first replacement is made at once. Default 100 ms.
    #[serde(with = "crate::duration")]
    pub restart_delay: Duration,
    /// The longest such delay. Default 30 s.
    #[serde(with = "crate::duration")]
    pub restart_delay_max: Duration,
    /// A process that was ready this long is stable: its death counts as the first again. Default 60 s.
    #[serde(with = "crate::duration")]
    pub stable_after: Duration,
    /// How many processes of one group may die within `restart_period` before they were stable; with one more
    /// the group has given up, and is tried again each `restart_delay_max`. Default 10.
    pub restart_limit: u32,
    /// See `restart_limit`. Default 60 s.
    #[serde(with = "crate::duration")]
    pub restart_period: Duration,
    /// A process that gives no sign of life for so long is hung, and is replaced; 0 never, and otherwise at least 1 s.
    /// Default 10 s.
    #[serde(serialize_with = "crate::duration::serialize", deserialize_with = "heartbeat")]
    pub heartbeat_timeout: Duration,
    /// How many workers of a group a reload may start beside those that they replace. Default 1.
    pub reload_surge: u32,
    /// How many workers of a group may leave before their successors are ready. Default 0.
    pub reload_unavailable: u32,
    /// What follows a panic in a worker. Default `retire`.
    pub on_panic: OnPanic,
    /// A worker that has served so many requests is replaced, ±10 %; 0 never. Default 0.
    pub max_requests: u64,
    /// A worker that has been ready so long is replaced, ±10 %; 0 never. Default 0.
    #[serde(with = "crate::duration")]
    pub max_age: Duration,
    /// A worker with so much resident memory is replaced, ±10 %; 0 never. Default 0.
    #[serde(with = "crate::size")]
    pub max_memory: ByteSize,
    /// Whom the agent and the workers run as, if the master is root. Default: as the master.
    pub user: Option<Account>,
    /// Their group. Default: the first group of `user`.
    pub group: Option<Account>,
    /// Never there: so that who looks for the groups here, and not for an account, is told where they are.
    #[serde(skip_serializing)]
    pub(crate) groups: Elsewhere,
}

/// What nobody can configure here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elsewhere;

impl<'de> Deserialize<'de> for Elsewhere {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("groups of workers have tables of their own: write [groups.NAME]"))
    }
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            workers: WorkerCount::Auto,
            ready_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(30),
            restart_delay: Duration::from_millis(100),
            restart_delay_max: Duration::from_secs(30),
            stable_after: Duration::from_secs(60),
            restart_limit: 10,
            restart_period: Duration::from_secs(60),
            heartbeat_timeout: Duration::from_secs(10),
            reload_surge: 1,
            reload_unavailable: 0,
            on_panic: OnPanic::Retire,
            max_requests: 0,
            max_age: Duration::ZERO,
            max_memory: ByteSize::b(0),
            user: None,
            group: None,
            groups: Elsewhere,
        }
    }
}

/// Shorter than this is not worth a process: signs of life come four times as often.
fn heartbeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let timeout = crate::duration::deserialize(deserializer)?;
    if !timeout.is_zero() && timeout < Duration::from_secs(1) {
        return Err(de::Error::custom("less than 1s is too short; 0s is for never"));
    }
    Ok(timeout)
}

/// The section `[groups.NAME]` of one group of workers; what it leaves out, `[cluster]` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupSettings {
    /// How many workers; none is possible, but for `web`. Default 1, and for `web` what `cluster.workers` says.
    #[serde(with = "super::count::or_none")]
    pub workers: Option<WorkerCount>,
    /// Where the group listens; `web` listens on `http.listen`. Default nowhere.
    pub listen: Vec<Listen>,
    /// See [`ClusterSettings::ready_timeout`].
    #[serde(with = "crate::duration::optional")]
    pub ready_timeout: Option<Duration>,
    /// See [`HttpSettings::drain_timeout`](crate::HttpSettings::drain_timeout).
    #[serde(with = "crate::duration::optional")]
    pub drain_timeout: Option<Duration>,
    /// See [`ClusterSettings::restart_limit`].
    pub restart_limit: Option<u32>,
    /// See [`ClusterSettings::on_panic`].
    pub on_panic: Option<OnPanic>,
    /// See [`ClusterSettings::max_requests`].
    pub max_requests: Option<u64>,
    /// See [`ClusterSettings::max_age`].
    #[serde(with = "crate::duration::optional")]
    pub max_age: Option<Duration>,
    /// See [`ClusterSettings::max_memory`].
    #[serde(with = "crate::size::optional")]
    pub max_memory: Option<ByteSize>,
}

impl GroupSettings {
    /// How many workers the group `name` has.
    #[must_use]
    pub(crate) fn count(&self, name: &str, cluster: &ClusterSettings) -> WorkerCount {
        let otherwise = if name == WEB { cluster.workers } else { WorkerCount::Exactly(1) };
        self.workers.unwrap_or(otherwise)
    }

    /// These settings of the group `name` with all that they leave to `[cluster]` and `[http]`.
    #[must_use]
    pub(crate) fn in_full(&self, name: &str, cluster: &ClusterSettings, drain_timeout: Duration) -> Self {
        let own = self.over(cluster);
        Self {
            workers: Some(self.count(name, cluster)),
            listen: self.listen.clone(),
            ready_timeout: Some(own.ready_timeout),
            drain_timeout: Some(self.drain_timeout.unwrap_or(drain_timeout)),
            restart_limit: Some(own.restart_limit),
            on_panic: Some(own.on_panic),
            max_requests: Some(own.max_requests),
            max_age: Some(own.max_age),
            max_memory: Some(own.max_memory),
        }
    }

    /// `cluster` with what this group says otherwise.
    #[must_use]
    pub(crate) fn over(&self, cluster: &ClusterSettings) -> ClusterSettings {
        let cluster = cluster.clone();
        ClusterSettings {
            ready_timeout: self.ready_timeout.unwrap_or(cluster.ready_timeout),
            restart_limit: self.restart_limit.unwrap_or(cluster.restart_limit),
            on_panic: self.on_panic.unwrap_or(cluster.on_panic),
            max_requests: self.max_requests.unwrap_or(cluster.max_requests),
            max_age: self.max_age.unwrap_or(cluster.max_age),
            max_memory: self.max_memory.unwrap_or(cluster.max_memory),
            ..cluster
        }
    }
}
