//! The rules of supervision, made of the settings. Pure.

use std::time::{Duration, Instant};

use super::recycling::Limits;
use super::settings::ClusterSettings;
use crate::backoff::Backoff;

/// What holds for the whole cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) stop_timeout: Duration,
    /// How long everything goes on at a stop before it begins in earnest.
    pub(crate) stop_delay: Duration,
    /// Deaths of one slot before the first cluster-ready that end the start.
    pub(crate) boot_attempts: u32,
    /// How long the children may take to say that they know of the first cluster-ready.
    pub(crate) confirm_timeout: Duration,
    /// How long the master may have slept without anybody noticing.
    pub(crate) nap: Duration,
}

/// What holds for the processes of one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CrewRules {
    pub(crate) ready_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    /// How long after its time for leaving a process is killed.
    pub(crate) kill_margin: Duration,
    /// How long a process may be silent; `None` for ever.
    pub(crate) heartbeat_timeout: Option<Duration>,
    pub(crate) stable_after: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) restart_limit: u32,
    pub(crate) restart_period: Duration,
    pub(crate) limits: Limits,
}

impl From<&ClusterSettings> for Rules {
    fn from(settings: &ClusterSettings) -> Self {
        let heartbeat = settings.heartbeat_timeout;
        let most = Duration::from_secs(2);
        let nap = if heartbeat.is_zero() { most } else { (heartbeat / 2).min(most) };
        Self {
            stop_timeout: settings.stop_timeout,
            stop_delay: Duration::ZERO,
            boot_attempts: 3,
            confirm_timeout: Duration::from_secs(1),
            nap,
        }
    }
}

impl CrewRules {
    /// The agent's: it is not recycled, because there can be only one.
    pub(crate) fn of_agent(settings: &ClusterSettings) -> Self {
        Self { limits: Limits::default(), ..Self::new(settings, settings.stop_timeout) }
    }

    /// The rules of a group whose settings these are; `drain_timeout` is what a worker that is replaced gets.
    pub(crate) fn new(settings: &ClusterSettings, drain_timeout: Duration) -> Self {
        Self {
            ready_timeout: settings.ready_timeout,
            drain_timeout,
            kill_margin: Duration::from_secs(2),
            heartbeat_timeout: Some(settings.heartbeat_timeout).filter(|timeout| !timeout.is_zero()),
            stable_after: settings.stable_after,
            backoff: Backoff { first: settings.restart_delay, most: settings.restart_delay_max },
            restart_limit: settings.restart_limit,
            restart_period: settings.restart_period,
            limits: Limits::from(settings),
        }
    }
}

/// `now + duration`, or a year from now for those who mean for ever: an `Instant` cannot be arbitrarily far.
pub(crate) fn later(now: Instant, duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    now + duration.min(YEAR)
}
