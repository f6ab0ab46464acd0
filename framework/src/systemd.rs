//! The service manager: what it hears from the master, and the sockets that it hands down. Without its variables
//! nothing here does anything. What follows from the sockets for the listeners is left to `master`.

mod bulletin;
mod choice;
mod notifier;
mod sockets;

pub(crate) use self::bulletin::Scene;
pub(crate) use self::choice::{ChosenBy, Missing, PREFIX, Remark, Source, choose};
pub(crate) use self::notifier::{Notifier, failed};
pub(crate) use self::sockets::{InheritError, Inherited, inherited};

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
