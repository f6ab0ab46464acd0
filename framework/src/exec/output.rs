//! What a helper has left when it came to its end.

use std::borrow::Cow;
use std::process::ExitStatus;

use super::error::{ExecError, tail};

/// What a helper that came to its end has left.
#[derive(Debug, Clone)]
pub struct Output {
    pub(super) name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// The standard output as text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn stdout_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// The standard error as text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn stderr_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }

    /// The output, if the exit code is 0.
    ///
    /// # Errors
    /// [`ExecError::Failed`], with the end of the standard error, when it is not.
    pub fn check(self) -> Result<Self, ExecError> {
        if self.status.success() {
            return Ok(self);
        }
        let stderr = tail(&self.stderr);
        Err(ExecError::Failed { program: self.name, status: self.status, stderr })
    }
}
