//! What the signals mean that operators send.

use std::io;

use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
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
    /// HUP: a new generation.
    Reload,
    /// TTIN: one worker more.
    More,
    /// TTOU: one worker fewer.
    Fewer,
    /// One that is reserved for what this version cannot do; its default would end or stop the process.
    Reserved(&'static str),
}

/// How long a record of a signalfd is; its first four bytes are the signal's number.
const RECORD: usize = 128;

/// Readies a process that is about to be a master: what it listens for is let through, whatever its parent
/// blocked, and TTIN and TTOU are kept for [`Signals::with_crew`]. Must be called before there are threads.
///
/// TTOU gets no handler: with one, a write to a terminal with `tostop` from the background is restarted for
/// ever. Blocked, it also allows such writes.
pub(crate) fn prepare_master() -> io::Result<()> {
    let mut heard = SigSet::empty();
    let numbers = [
        Number::SIGTERM,
        Number::SIGINT,
        Number::SIGQUIT,
        Number::SIGHUP,
        Number::SIGUSR1,
        Number::SIGUSR2,
        Number::SIGCHLD,
    ];
    numbers.into_iter().for_each(|number| heard.add(number));
    heard.thread_unblock()?;
    crew().thread_block()?;
    Ok(())
}

/// Readies a child: nothing is blocked, and so nothing is in what it starts. Must be called before there are
/// threads.
pub(crate) fn prepare_child() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

fn crew() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Number::SIGTTIN);
    set.add(Number::SIGTTOU);
    set
}

/// The signals of this process.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    reopen: Signal,
    hang_up: Signal,
    upgrade: Signal,
    /// TTIN and TTOU, in a master.
    crew: Option<pipe::Receiver>,
    /// Never asked: it is there because a parent may have had SIGCHLD ignored, and then nobody could learn
    /// how a child ended.
    _child: Signal,
    /// Never asked: its default would end the process when a log file reaches the limit of its size, of which the
    /// write that failed tells.
    _file_size: Signal,
}

impl Signals {
    /// Takes the signals over, except those that only a master has. Must be called inside a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            reopen: signal(SignalKind::user_defined1())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            crew: None,
            _child: signal(SignalKind::child())?,
            _file_size: signal(SignalKind::from_raw(Number::SIGXFSZ as i32))?,
        })
    }

    /// TTIN and TTOU too, which [`prepare_master`] has blocked. Must be called inside a runtime.
    pub(crate) fn with_crew(self) -> io::Result<Self> {
        let descriptor = SignalFd::with_flags(&crew(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { crew: Some(pipe::Receiver::from_owned_fd_unchecked(descriptor.into())?), ..self })
    }

    /// The next wish. Cancel safe.
    pub(crate) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.quit.recv() => Wish::StopFast,
            _ = self.reopen.recv() => Wish::ReopenLogs,
            _ = self.hang_up.recv() => Wish::Reload,
            _ = self.upgrade.recv() => Wish::Reserved("SIGUSR2"),
            wish = next_of_crew(&mut self.crew) => wish,
        }
    }
}

/// Every read takes one whole record, so that nothing is lost when this is cancelled.
async fn next_of_crew(crew: &mut Option<pipe::Receiver>) -> Wish {
    while let Some(descriptor) = crew {
        let mut record = [0; RECORD];
        match descriptor.read(&mut record).await {
            Ok(RECORD) if number_in(record) == Number::SIGTTIN as u32 => return Wish::More,
            Ok(RECORD) => return Wish::Fewer,
            _ => *crew = None,
        }
    }
    std::future::pending().await
}

fn number_in(record: [u8; RECORD]) -> u32 {
    let [a, b, c, d, ..] = record;
    u32::from_ne_bytes([a, b, c, d])
}
