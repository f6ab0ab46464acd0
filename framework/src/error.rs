//! Errors and endings: the boxed error that authors return, and the exit codes that scripts rely on.

use std::process::ExitCode;

/// Any error; what an author's function may return.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of an author's function. The type defaults let it be written as a plain `Result`.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// How a command or a process of an app ends. The numbers are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// Done.
    Done = 0,
    /// Failed; the reason is on stderr.
    Failed = 1,
    /// The command line was wrong.
    Usage = 2,
    /// The app is not running.
    NotRunning = 3,
    /// Gave up: the budget of restarts is spent, and nothing serves.
    GaveUp = 70,
    /// The start failed, or the cluster was not ready in time.
    StartFailed = 75,
    /// The configuration is wrong; trying again does not help.
    Config = 78,
}

impl Ending {
    /// The ending that an exit code stands for, where it is one of ours.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        let all = [
            Self::Done,
            Self::Failed,
            Self::Usage,
            Self::NotRunning,
            Self::GaveUp,
            Self::StartFailed,
            Self::Config,
        ];
        all.into_iter().find(|ending| *ending as i32 == code)
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending as u8)
    }
}

/// Writes `error` and all that caused it on one line, separated by colons.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !line.contains(&cause_text) {
            line.push_str(": ");
            line.push_str(&cause_text);
        }
        next = cause.source();
    }
    line
}
