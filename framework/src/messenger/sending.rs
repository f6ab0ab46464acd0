//! What messages and questions have in common for who gets them: who sent them, when, and under which id.

use chrono::{DateTime, Utc};

use crate::bus::Origin;
use crate::bus::head::Route;
use crate::process::Process;

/// Who sent a message or asked a question, when, and its id. [`Received`](crate::Received) and [`Asked`](crate::Asked) have
/// one, which outlives them as a clone: the same function can look at both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    origin: Option<Origin>,
    /// Microseconds of the Unix epoch.
    sent_at: u64,
    id: MessageId,
}

/// What no two messages have in common while their senders live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The sender's process id.
    pub pid: u32,
    /// The sender's count.
    pub number: u64,
}

impl Sending {
    /// What came by this route, with this number.
    #[inline]
    pub(super) fn of(process: &Process, route: Route, number: u64) -> Self {
        let id = MessageId { pid: route.from.pid, number };
        Self { origin: process.roll().origin(route.from), sent_at: route.time, id }
    }

    /// Who sent it; `None` for a process outside of the cluster, such as the command line.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// When it was sent, by the sender's clock.
    #[must_use]
    pub fn sent_at(&self) -> DateTime<Utc> {
        let micros = i64::try_from(self.sent_at).unwrap_or(i64::MAX);
        DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// What no other message and no question has.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_calendar_has_is_the_epoch() {
        let id = MessageId { pid: 7, number: 1 };
        let sent_at = |sent_at| Sending { origin: None, sent_at, id }.sent_at();
        assert_eq!(sent_at(1_763_689_027_322_880).to_rfc3339(), "2025-11-21T01:37:07.322880+00:00");
        assert_eq!([0, u64::MAX].map(sent_at), [DateTime::UNIX_EPOCH; 2]);
    }
}
