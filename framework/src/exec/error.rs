//! What can go wrong with a helper, in words for whoever reads the log.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use bytesize::ByteSize;

/// How much of the standard error is quoted, in bytes.
const TAIL: usize = 1024;

/// A helper did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It could not be started.
    #[error(
        "cannot start `{program}`: {source}: check its name, PATH, its permissions and the folder to run in"
    )]
    NotStarted {
        /// The program or script, shortened.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It took longer than its time limit, and was killed.
    #[error("`{program}` was killed after {limit:?}: give it less to do, or a longer time limit")]
    TimedOut {
        /// The program or script, shortened.
        program: String,
        /// The time limit.
        limit: Duration,
        /// What it had written to its standard output.
        stdout: Vec<u8>,
        /// What it had written to its standard error.
        stderr: Vec<u8>,
    },
    /// It wrote more than its limit, and was killed.
    #[error(
        "`{program}` was killed because it wrote more than {limit} to {stream}: let it write less, or to a file, or raise the limit"
    )]
    TooMuchOutput {
        /// The program or script, shortened.
        program: String,
        /// Where it wrote too much.
        stream: Stream,
        /// The limit of each stream.
        limit: ByteSize,
        /// The first bytes that it wrote to its standard output, up to the limit.
        stdout: Vec<u8>,
        /// The first bytes that it wrote to its standard error, up to the limit.
        stderr: Vec<u8>,
    },
    /// It was cancelled, and was killed.
    #[error("`{program}` was cancelled")]
    Cancelled {
        /// The program or script, shortened.
        program: String,
    },
    /// It ended with an exit code other than 0, or by a signal.
    #[error("`{program}` failed with {status}{}", quoted(stderr))]
    Failed {
        /// The program or script, shortened.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error, at most 1 KiB.
        stderr: String,
    },
    /// The system did not let us follow it, and it was killed.
    #[error("lost touch with `{program}`: {source}")]
    Lost {
        /// The program or script, shortened.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// Where a helper writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// What ended a run, before it is put into words.
#[derive(Debug)]
pub(super) enum Fault {
    TimedOut(Duration),
    TooMuch(Stream),
    Cancelled,
    Lost(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

fn quoted(stderr: &str) -> String {
    match stderr.trim_end() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

/// The end of what was written, from the beginning of a character on.
pub(super) fn tail(bytes: &[u8]) -> String {
    let mut start = bytes.len().saturating_sub(TAIL);
    let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    while start > 0 && bytes.get(start).is_some_and(continues) {
        start += 1;
    }
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}
