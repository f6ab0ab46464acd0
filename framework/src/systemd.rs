//! The service manager: what it hears from the master. Without its variables nothing here does anything.

mod bulletin;
mod notifier;

pub(crate) use self::bulletin::Scene;
pub(crate) use self::notifier::{Notifier, gave_up};

/// The variables that speak to the master alone: a child that took them for its own would speak in its name.
pub(crate) const VARIABLES: [&str; 7] = [
    "NOTIFY_SOCKET",
    WATCHDOG_PID,
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// Whom the watchdog is meant for; without it, for whoever has the interval.
pub(crate) const WATCHDOG_PID: &str = "WATCHDOG_PID";
