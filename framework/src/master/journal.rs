//! What happened, as lines of the master's log.

use super::event::{Report, Topics};
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
        Report::MailLost { slot, topics } => {
            let (messages, were, named) = told(topics);
            tracing::warn!("{messages} for {slot} {were} lost with it: {named}");
        }
        Report::Lagging { slot } => {
            tracing::warn!(
                "messages for {slot} are dropped, because it takes them too slowly: bus.queue_limit is full"
            );
        }
        Report::Lagged { slot, topics } => {
            let (messages, were, named) = told(topics);
            tracing::warn!("{messages} for {slot} {were} dropped, because it took them too slowly: {named}");
        }
        Report::MailGivenUp { place, topics } => {
            let (messages, were, named) = told(topics);
            tracing::warn!(
                "{messages} for {place} {were} given up, because nobody comes there any more: {named}"
            );
        }
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

/// Of so many topics the log tells by name.
const NAMED: usize = 8;

/// How many messages these are, what goes with that number, and how many on which topic.
fn told(topics: &Topics) -> (String, &'static str, String) {
    let count: u64 = topics.values().sum();
    let (noun, verb) = if count == 1 { ("message", "was") } else { ("messages", "were") };
    let others = topics.len().saturating_sub(NAMED);
    let others = (others > 0).then(|| format!("the rest on {others} more"));
    let named =
        topics.iter().take(NAMED).map(|(topic, count)| format!("{count} on `{}`", topic.escape_debug()));
    let named: Vec<String> = named.chain(others).collect();
    (format!("{count} {noun}"), verb, named.join(", "))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_messages_are_told_by_topic() {
        let topics = |count: usize| (0..count).map(|at| (format!("t{at:02}").into(), 1)).collect::<Topics>();
        assert_eq!(told(&topics(1)), ("1 message".to_owned(), "was", "1 on `t00`".to_owned()));
        let (messages, were, named) = told(&topics(10));
        assert_eq!((messages.as_str(), were), ("10 messages", "were"));
        assert!(
            named.starts_with("1 on `t00`, ") && named.ends_with("1 on `t07`, the rest on 2 more"),
            "{named}"
        );
    }
}
