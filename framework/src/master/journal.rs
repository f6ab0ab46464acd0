//! What happened, as lines of the master's log.

use super::event::Report;
use crate::exit::Reason;

/// Writes a report down.
pub(crate) fn write_down(report: Report) {
    match report {
        Report::Ready { slot, took } => tracing::info!("{slot} is ready after {} ms", took.as_millis()),
        Report::Killing { slot, reason } => tracing::warn!("killing {slot}, because it {}", fault(reason)),
        Report::LinkLost { slot, problem } => tracing::error!("{slot}: {problem}"),
        Report::Stopping => tracing::info!("stopping"),
        Report::ConfigRefused { problem } => {
            tracing::error!("the configuration is refused, the last good one stays: {problem}")
        }
        Report::Exited { slot, exit, retry_in: Some(delay) } => {
            tracing::error!("{slot} {exit}; the next one is started in {} ms", delay.as_millis());
        }
        Report::Exited { slot, exit, retry_in: None }
            if matches!(exit.reason, Reason::Stopped | Reason::Left) =>
        {
            tracing::info!("{slot} {exit}");
        }
        Report::Exited { slot, exit, retry_in: None } => tracing::error!("{slot} {exit}"),
    }
}

fn fault(reason: Reason) -> &'static str {
    match reason {
        Reason::NotReady => "is not ready in time",
        Reason::LinkLost => "lives on without its link",
        _ => "does not leave in time",
    }
}
