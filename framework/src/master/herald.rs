//! Who hears that a start worked: the terminal, or the command that started us in the background.

use std::io::Write;

use super::event::Outcome;
use crate::bus::codec;
use crate::bus::control::Failure;
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::Sender;
use crate::error::Ending;

/// Where news of the start goes.
#[derive(Debug)]
pub(crate) enum Herald {
    /// The line goes to stdout.
    Terminal,
    /// The command that waits for us at the other end of a link.
    Starter(Sender),
}

impl Herald {
    /// Everybody is ready. A reader that is gone does not matter.
    pub(crate) fn ready(&self, line: &str) {
        match self {
            Self::Terminal => {
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            Self::Starter(sender) => drop(sender.push(Frame::new(Kind::Ready, 0, line.as_bytes().to_vec()))),
        }
    }

    /// The run is over. The terminal hears of a failure from the command itself; a starter hears it here,
    /// unless it has left because all was well.
    pub(crate) async fn ended(&self, outcome: &Outcome) {
        let Self::Starter(sender) = self else { return };
        let (ending, reason) = match outcome.reason.as_str() {
            // If it was ready before, nobody listens any more.
            "" => (Ending::StartFailed, "it was stopped before it was ready"),
            reason => (outcome.ending, reason),
        };
        let failure = Failure { reason: reason.to_owned(), detail: outcome.detail.clone() };
        let body = codec::encode("the reason", &failure).unwrap_or_default();
        let _ = sender.push(Frame::new(Kind::Failed, ending as u64, body));
        sender.flush().await;
    }
}
