//! How every command speaks: answers on stdout, outcomes for those who conclude with them.

use std::io::{self, Write};

use crate::config::ConfigError;
use crate::error::Ending;
use crate::master::Outcome;

/// Writes an answer to stdout; a reader that is gone does not matter, a full disk does.
pub(super) fn say(text: &str) -> Result<(), Outcome> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(failed(Ending::Failed, format!("the answer cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// How many characters a line of stdout has, if that is a terminal.
pub(super) fn width() -> Option<u16> {
    rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col).filter(|width| *width > 0)
}

/// Writes to stderr what is worth knowing beside an answer.
pub(super) fn remark(text: &str) {
    // Who cannot read it has the answer all the same.
    let _ = writeln!(io::stderr(), "note: {text}");
}

/// An outcome of one line.
pub(super) fn failed(ending: Ending, reason: impl Into<String>) -> Outcome {
    Outcome { ending, reason: reason.into(), detail: String::new() }
}

impl From<ConfigError> for Outcome {
    fn from(error: ConfigError) -> Self {
        Self { ending: Ending::Config, reason: error.to_string(), detail: error.detail() }
    }
}

/// Runs a command that has to wait.
pub(super) fn with_runtime(work: impl Future<Output = Result<(), Outcome>>) -> Outcome {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(Ending::Failed, format!("no runtime: {error}")),
    };
    runtime.block_on(work).err().unwrap_or_else(Outcome::done)
}
