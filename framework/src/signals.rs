//! What the signals mean that operators send.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// TERM or INT: finish and leave. A second one means leave at once.
    Stop { fast: bool },
    /// USR1: the log files were renamed.
    ReopenLogs,
}

/// The signals of this process.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    reopen: Signal,
    asked_before: bool,
}

impl Signals {
    /// Takes over TERM, INT, QUIT and USR1. Must be called inside a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            reopen: signal(SignalKind::user_defined1())?,
            asked_before: false,
        })
    }

    /// The next wish. Cancel safe.
    pub(crate) async fn next(&mut self) -> Wish {
        let fast = tokio::select! {
            _ = self.terminate.recv() => self.asked_before,
            _ = self.interrupt.recv() => self.asked_before,
            _ = self.quit.recv() => true,
            _ = self.reopen.recv() => return Wish::ReopenLogs,
        };
        self.asked_before = true;
        Wish::Stop { fast }
    }
}
