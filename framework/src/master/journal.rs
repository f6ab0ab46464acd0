//! What happened, as lines of the master's log.

use super::event::Report;
use crate::events::ClusterEvent;
use crate::exit::Reason;

/// Writes a report down.
pub(crate) fn write_down(report: &Report) {
    match report {
        Report::Event(event) => write_event(event),
        Report::Hung { slot, silence } => {
            tracing::error!("{slot} is hung: it has given no sign of life for {} ms", silence.as_millis());
        }
        Report::Killing { slot, reason } => tracing::warn!("killing {slot}, because it {}", fault(*reason)),
        Report::LinkLost { slot, problem } => tracing::error!("{slot}: {problem}"),
        Report::MailLost { slot, count: 1 } => tracing::warn!("1 message for {slot} was lost with it"),
        Report::MailLost { slot, count } => tracing::warn!("{count} messages for {slot} were lost with it"),
        Report::Slept { nap } => {
            tracing::warn!("this master was stopped for {} ms; nobody is blamed for it", nap.as_millis());
        }
        Report::Reloading { generation } => tracing::info!("reloading: generation {generation} begins"),
        Report::GoingBack { generation } => tracing::warn!("the reload goes back to generation {generation}"),
        Report::SignalRefused { problem } => tracing::warn!("a signal changes nothing: {problem}"),
        Report::ConfigRefused { problem } => {
            tracing::error!("the configuration is refused, the last good one stays: {problem}");
        }
        Report::CertificatesRefused { problem } => {
            tracing::error!("new certificates are refused, the old ones stay: {problem}");
        }
    }
}

fn write_event(event: &ClusterEvent) {
    match event {
        ClusterEvent::Spawned { member } => {
            tracing::info!("{member} runs with pid {}", member.pid.unwrap_or_default());
        }
        ClusterEvent::Ready { member, took_ms } => tracing::info!("{member} is ready after {took_ms} ms"),
        ClusterEvent::Retiring { member, why } => tracing::info!("{member} is to be replaced: {why}"),
        ClusterEvent::Draining { member } => tracing::debug!("{member} is asked to leave"),
        ClusterEvent::Exited { member, exit, .. } if was_asked(exit.reason) => {
            tracing::info!("{member} {exit}")
        }
        ClusterEvent::Exited { member, exit, retry_in_ms: Some(delay) } => {
            tracing::error!("{member} {exit}; the next one is started in {delay} ms");
        }
        ClusterEvent::Exited { member, exit, .. } => tracing::error!("{member} {exit}"),
        ClusterEvent::GaveUp { group, problem } => tracing::error!(
            "gave up on {group}: its budget of restarts is spent; it is tried again, but slowly: {problem}"
        ),
        ClusterEvent::Scaled { group, from, to } => {
            tracing::info!("{group} scales from {from} to {to} workers")
        }
        ClusterEvent::Reloaded { generation } => tracing::info!("reloaded: generation {generation} serves"),
        ClusterEvent::ReloadFailed { generation, problem, remaining } => {
            let rest = match &remaining[..] {
                [] => String::new(),
                [..] => format!(", but not in {}, which could not go back yet", remaining.join(", ")),
            };
            tracing::error!("the reload failed, generation {generation} serves on{rest}: {problem}");
        }
        ClusterEvent::Stopping => tracing::info!("stopping"),
        ClusterEvent::Missed { .. } => {}
    }
}

/// Whether an end is as it should be.
fn was_asked(reason: Reason) -> bool {
    use Reason::{Recycled, Replaced, Retired, ScaledDown, Stopped};
    matches!(reason, Stopped | Retired | Recycled | Replaced | ScaledDown)
}

fn fault(reason: Reason) -> &'static str {
    match reason {
        Reason::NotReady => "is not ready in time",
        Reason::LinkLost => "lives on without its link",
        Reason::Hung => "is hung",
        _ => "does not leave in time",
    }
}
