//! How a process ended, in words that an operator can act on. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Ending;

/// Why a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It was asked to leave and did.
    Stopped,
    /// It left by itself with code 0.
    Left,
    /// It ended with a code other than 0.
    Failed,
    /// It panicked.
    Panicked,
    /// Its configuration is wrong.
    Config,
    /// Somebody else sent it SIGKILL.
    Killed,
    /// The kernel killed it for want of memory, or an allocation of its own failed.
    OutOfMemory,
    /// Another signal ended it.
    Crashed,
    /// The master ended it: it did not become ready in time.
    NotReady,
    /// The master ended it: it did not leave in time.
    DrainDeadline,
    /// The master ended it: what it sent made no sense, what it needs could not be sent to it, or its link closed while it
    /// lived on.
    LinkLost,
    /// The master ended it: it did not answer in time.
    Hung,
    /// It left, because it wanted to be replaced.
    Retired,
    /// It left, because it had served enough requests, was old enough or too large.
    Recycled,
    /// It left, because a process of another generation took its place.
    Replaced,
    /// It left, because fewer processes were wanted.
    ScaledDown,
    /// It could not be started.
    NotSpawned,
}

/// The end of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal's name, if one ended it.
    pub signal: Option<String>,
    /// Why, as far as it is known.
    pub reason: Reason,
    /// When, in UTC.
    pub at: chrono::DateTime<chrono::Utc>,
    /// The process's own last words, if it had any; else the last lines that it wrote to stderr in its last
    /// moments, in one line, if it ended by a fault.
    pub message: Option<String>,
}

/// What the kernel says of an ended process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Code(i32),
    Signal(i32),
}

/// All that is known of an end before anybody has explained it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: Status,
    /// Whether the kernel says that this SIGKILL was its own, for want of memory.
    pub(crate) out_of_memory: bool,
    /// The last lines on stderr, as one line, if they were written just before the end.
    pub(crate) output: Option<String>,
}

/// The code of a process that ended because its author's function panicked; as in any Rust program.
pub(crate) const PANICKED: i32 = 101;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Explains an end. `asked` tells why we asked the process to leave, `ours` why we killed it, if we did.
pub(crate) fn explain(ended: &Ended, asked: Option<Reason>, ours: Option<Reason>) -> Reason {
    match (ended.status, ours) {
        (Status::Signal(_), Some(reason)) => reason,
        (Status::Signal(SIGKILL), None) if ended.out_of_memory => Reason::OutOfMemory,
        (Status::Signal(SIGKILL), None) => Reason::Killed,
        (Status::Signal(SIGABRT), None) if ended.ran_dry() => Reason::OutOfMemory,
        (Status::Signal(_), None) => Reason::Crashed,
        (Status::Code(0), _) => asked.unwrap_or(Reason::Left),
        (Status::Code(PANICKED), _) => Reason::Panicked,
        (Status::Code(code), _) if code == Ending::Config as i32 => Reason::Config,
        (Status::Code(_), _) => Reason::Failed,
    }
}

impl Ended {
    /// Whether its last line is what Rust's allocator says before it aborts.
    fn ran_dry(&self) -> bool {
        let said = |text: &String| text.contains("memory allocation of ") && text.contains(" bytes failed");
        self.output.as_ref().is_some_and(said)
    }

    /// What stands in for last words: the output of a process that ended by a fault of its own. What others
    /// did to a process is not explained by what it wrote before.
    pub(crate) fn testimony(self, reason: Reason) -> Option<String> {
        let fault = matches!(reason, Reason::Failed | Reason::Panicked | Reason::Config | Reason::Crashed)
            || (reason == Reason::OutOfMemory && self.status == Status::Signal(SIGABRT));
        self.output.filter(|_| fault)
    }
}

impl Exit {
    pub(crate) fn new(
        status: Option<Status>,
        reason: Reason,
        message: Option<String>,
        at: chrono::DateTime<chrono::Utc>,
    ) -> Self {
        let (code, signal) = match status {
            Some(Status::Code(code)) => (Some(code), None),
            Some(Status::Signal(number)) => (None, Some(signal_name(number))),
            None => (None, None),
        };
        Self { code, signal, reason, at, message }
    }
}

/// For a line such as `web.0 was killed by SIGKILL`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            Reason::Stopped => "stopped as asked",
            Reason::Left => "left by itself",
            Reason::Failed => "failed",
            Reason::Panicked => "panicked",
            Reason::Config => "found its configuration wrong",
            Reason::Killed => "was killed from outside",
            Reason::OutOfMemory => "ran out of memory",
            Reason::Crashed => "crashed",
            Reason::NotReady => "was not ready in time and was killed",
            Reason::DrainDeadline => "did not leave in time and was killed",
            Reason::LinkLost if self.signal.is_none() => "was cut off",
            Reason::LinkLost => "lost its link and was killed",
            Reason::Hung => "did not answer in time and was killed",
            Reason::Retired => "left, because it wanted to be replaced",
            Reason::Recycled => "left to be recycled",
            Reason::Replaced => "left, replaced by another generation",
            Reason::ScaledDown => "left, because fewer were wanted",
            Reason::NotSpawned => "could not be started",
        })?;
        match (self.code, &self.signal) {
            (Some(code), _) if code != 0 => write!(f, " with code {code}")?,
            (_, Some(signal)) => write!(f, " ({signal})")?,
            _ => {}
        }
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

fn signal_name(number: i32) -> String {
    const NAMES: [(i32, &str); 15] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
    ];
    let known = NAMES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: Status) -> Ended {
        Ended { status, out_of_memory: false, output: None }
    }

    #[test]
    fn every_end_has_its_reason() {
        let asked = Some(Reason::Stopped);
        let table = [
            (Status::Code(0), asked, None, Reason::Stopped),
            (Status::Code(0), Some(Reason::Recycled), None, Reason::Recycled),
            (Status::Code(0), None, None, Reason::Left),
            (Status::Code(1), None, None, Reason::Failed),
            (Status::Code(1), asked, None, Reason::Failed),
            (Status::Code(78), None, None, Reason::Config),
            (Status::Code(101), None, None, Reason::Panicked),
            (Status::Signal(9), None, None, Reason::Killed),
            (Status::Signal(9), asked, None, Reason::Killed),
            (Status::Signal(9), None, Some(Reason::NotReady), Reason::NotReady),
            (Status::Signal(9), asked, Some(Reason::DrainDeadline), Reason::DrainDeadline),
            (Status::Signal(6), None, Some(Reason::Hung), Reason::Hung),
            (Status::Signal(6), None, None, Reason::Crashed),
            (Status::Signal(11), None, None, Reason::Crashed),
        ];
        for (status, asked, ours, expected) in table {
            assert_eq!(explain(&ended(status), asked, ours), expected, "{status:?} {asked:?} {ours:?}");
        }
    }

    #[test]
    fn a_want_of_memory_is_told_from_a_kill_and_from_a_crash() {
        let dry = "memory allocation of 4096 bytes failed";
        let table = [
            (9, true, None, None, Reason::OutOfMemory),
            (9, true, None, Some(Reason::DrainDeadline), Reason::DrainDeadline),
            (9, false, Some(dry), None, Reason::Killed),
            (6, false, Some(dry), None, Reason::OutOfMemory),
            (6, false, Some("assertion failed"), None, Reason::Crashed),
            (11, true, Some(dry), None, Reason::Crashed),
        ];
        for (signal, out_of_memory, output, ours, expected) in table {
            let output = output.map(str::to_owned);
            let ended = Ended { status: Status::Signal(signal), out_of_memory, output };
            assert_eq!(explain(&ended, None, ours), expected, "{ended:?} {ours:?}");
        }
    }

    #[test]
    fn output_stands_in_for_last_words_only_after_a_fault() {
        let table = [
            (Status::Signal(11), Reason::Crashed, true),
            (Status::Code(1), Reason::Failed, true),
            (Status::Signal(6), Reason::OutOfMemory, true),
            (Status::Signal(9), Reason::OutOfMemory, false),
            (Status::Signal(9), Reason::Killed, false),
            (Status::Code(0), Reason::Stopped, false),
            (Status::Signal(9), Reason::DrainDeadline, false),
        ];
        for (status, reason, told) in table {
            let ended = Ended { output: Some("its output".to_owned()), ..ended(status) };
            assert_eq!(ended.testimony(reason).is_some(), told, "{status:?} {reason:?}");
        }
    }
}
