//! What the signals mean that operators send.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// TERM or INT: finish and leave. A second one means leave at once.
    Stop,
    /// QUIT: leave at once.
    StopFast,
    /// USR1: the log files were renamed.
    ReopenLogs,
    /// TTIN: one worker more.
    More,
    /// One that is reserved for what this version cannot do; its default would end or stop the process.
    Reserved(&'static str),
}

/// The signals of this process.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    reopen: Signal,
    more: Signal,
    hang_up: Signal,
    upgrade: Signal,
    /// Never asked: it is there because a parent may have had SIGCHLD ignored, and then nobody could learn
    /// how a child ended.
    _child: Signal,
}

impl Signals {
    /// Takes the signals over. Must be called inside a runtime.
    ///
    /// Not TTOU: with a handler, a write to a terminal with `tostop` from the background is restarted for ever.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            reopen: signal(SignalKind::user_defined1())?,
            more: signal(SignalKind::from_raw(21))?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            _child: signal(SignalKind::child())?,
        })
    }

    /// The next wish. Cancel safe.
    pub(crate) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.quit.recv() => Wish::StopFast,
            _ = self.reopen.recv() => Wish::ReopenLogs,
            _ = self.more.recv() => Wish::More,
            _ = self.hang_up.recv() => Wish::Reserved("SIGHUP"),
            _ = self.upgrade.recv() => Wish::Reserved("SIGUSR2"),
        }
    }
}
