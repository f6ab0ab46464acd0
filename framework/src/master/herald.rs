//! Who hears that a start worked: the terminal, or the command that started us in the background.

use std::io::Write;

use super::event::Outcome;
use super::{Master, count, listeners};
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
            Self::Starter(sender) => drop(sender.push(&Frame::new(Kind::Ready, 0, line.as_bytes().to_vec()))),
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
        let _ = sender.push(&Frame::new(Kind::Failed, ending as u64, body));
        sender.flush().await;
    }
}

impl Master {
    /// The first time it is also said aloud.
    pub(super) fn announce(&mut self, herald: &Herald) {
        let first = self.ready_line.is_none();
        let line = self.ready_line.get_or_insert_with(|| {
            let crew = count::crew(self.cluster.ready_workers().1);
            let took = self.started.elapsed().as_millis();
            format!(
                "{} is ready: {} ({crew}, {took} ms)",
                self.launch.app,
                listeners::urls(self.entrance.listeners())
            )
        });
        tracing::info!("{line}");
        if let Err(error) = self.lock.announce(line) {
            tracing::error!("cannot write the ready file: {error}");
        }
        if first {
            herald.ready(line);
        }
    }

    /// Into the files; on the terminal the command says it, in its own form.
    pub(super) fn log_failure(&self, outcome: &Outcome) {
        if !outcome.reason.is_empty() {
            self.log.silence_console();
            tracing::error!("{}", outcome.reason);
        }
    }
}
