//! Helper processes: a command is run to its end, with a time limit, a limit on its output, cancellation, and
//! nothing left behind. A thin layer over `tokio::process`; sandboxing, and talking to a helper while it runs, are left
//! to others.
//!
//! ```
//! use std::time::Duration;
//! use hatchery::exec::Exec;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> hatchery::Result {
//! let sorted = Exec::new("sort").arg("-n").input("10\n9\n").time_limit(Duration::from_secs(5)).output().await?;
//! assert_eq!(sorted.check()?.stdout_text(), "9\n10\n");
//! # Ok(()) }
//! ```
//!
//! # What is left behind: nothing
//!
//! A helper leads a process group of its own. When its time or its output has passed the limit, when it is cancelled,
//! and when the future of [`Exec::output`] is dropped, the whole group is killed and its leader is reaped. When the
//! helper ends by itself, those of its group that still hold its output have a second to finish writing; then the group
//! is killed, too, so a program that is to live on does not belong here. Whoever makes itself the leader of a session
//! (`setsid`) has left the group and is not reached; it can hold up the answer for that second, no longer.
//!
//! A helper stays in the session of the worker or agent that runs it. When that process dies, its master ends what is
//! left of its session, helpers among it; nothing has to be done here.
//!
//! Since dropping kills, a helper ends with whoever waits for it:
//!
//! ```
//! use hatchery::{Agent, exec::Exec};
//!
//! async fn thumbnails(agent: Agent) -> hatchery::Result {
//!     match agent.until_shutdown(Exec::new("make-thumbnails").output()).await {
//!         Some(output) => output?.check().map(drop)?,
//!         None => {} // The agent leaves; the helper and its children are dead.
//!     }
//!     Ok(())
//! }
//! ```

mod error;
mod group;
mod output;
mod streams;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::future::{Future, pending};
use std::path::Path;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytesize::ByteSize;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::pidfd::Pidfd;
use crate::role::ROLE_VARIABLE;

pub use error::{ExecError, Stream};
pub use output::Output;

use error::Fault;
use group::Group;
use rustix::process::Signal;
use streams::Pipes;

/// How long those that a helper leaves behind may go on writing to its output.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// How much of a command is quoted in errors, in characters.
const QUOTED: usize = 60;

/// A command to be run once.
///
/// Its standard input is empty unless [`input`](Self::input) gives it some. It inherits the environment, except for the
/// variable by which a master tells its children their role.
#[must_use = "nothing is run before `output` is awaited"]
pub struct Exec {
    name: String,
    command: Command,
    input: Option<Vec<u8>>,
    time_limit: Option<Duration>,
    output_limit: ByteSize,
    grace: Duration,
    cancelled: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Exec {
    /// Runs `program`, which is looked for in `PATH` unless it has a slash. No shell sees the arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        Self::named(&program.to_string_lossy(), Command::new(program))
    }

    /// Runs `script` by `sh -c`. Never put into it what a client sent: give that as an argument of
    /// [`new`](Self::new), as input, or in the environment.
    pub fn shell(script: impl AsRef<OsStr>) -> Self {
        let script = script.as_ref();
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        Self::named(&script.to_string_lossy(), command)
    }

    fn named(text: &str, mut command: Command) -> Self {
        command.env_remove(ROLE_VARIABLE).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut name: String = text.chars().take(QUOTED).collect();
        if name.len() < text.len() {
            name.push('…');
        }
        Self {
            name,
            command,
            input: None,
            time_limit: Some(Duration::from_secs(60)),
            output_limit: ByteSize::mib(1),
            grace: Duration::ZERO,
            cancelled: Box::pin(pending()),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Lets the helper inherit no variables; those that are set after this call are kept.
    pub fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// The folder to run in. Default: this process's own.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// What the helper finds on its standard input, of any length. It need not read all of it.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.command.stdin(Stdio::piped());
        self.input = Some(bytes.into());
        self
    }

    /// How long the helper may take. Default 60 s.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Lets the helper take any time; dropping and cancelling still end it.
    pub fn without_time_limit(mut self) -> Self {
        self.time_limit = None;
        self
    }

    /// How much it may write to its standard output, and as much to its standard error. Default 1 MiB.
    pub fn output_limit(mut self, limit: ByteSize) -> Self {
        self.output_limit = limit;
        self
    }

    /// How long the helper has between SIGTERM and SIGKILL when a limit is passed or it is cancelled. Default 0:
    /// SIGKILL at once, as always when the future is dropped.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Ends the helper when `signal` does, such as `token.cancelled_owned()` or
    /// `async move { worker.draining().await }`. The last call counts.
    pub fn cancelled_by<F: Future + Send + 'static>(mut self, signal: F) -> Self {
        self.cancelled = Box::pin(async {
            signal.await;
        });
        self
    }

    /// Runs the helper to its end. Must be called inside a runtime. Cancel safe: dropping kills the whole group at
    /// once; the dead leader is reaped in the background.
    ///
    /// # Errors
    /// When the helper cannot be started, passes a limit, or is cancelled. An exit code other than 0 is no error: see
    /// [`Output::check`].
    pub async fn output(mut self) -> Result<Output, ExecError> {
        let program = self.name;
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(source) => return Err(ExecError::NotStarted { program, source }),
        };
        let mut pipes =
            Pipes::of(&mut child, self.input.take().unwrap_or_default(), self.output_limit.as_u64());
        let limits = Limits { time: self.time_limit, grace: self.grace };
        let ran = limits.run(Group::led_by(child), &mut pipes, self.cancelled).await;
        let (stdout, stderr) = pipes.into_taken();
        match ran {
            Ok(status) => Ok(Output { name: program, status, stdout, stderr }),
            Err(Fault::Lost(source)) => Err(ExecError::Lost { program, source }),
            Err(Fault::Cancelled) => Err(ExecError::Cancelled { program }),
            Err(Fault::TimedOut(limit)) => Err(ExecError::TimedOut { program, limit, stdout, stderr }),
            Err(Fault::TooMuch(stream)) => {
                Err(ExecError::TooMuchOutput { program, stream, limit: self.output_limit, stdout, stderr })
            }
        }
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("command", &self.command).finish_non_exhaustive()
    }
}

/// How patient to be with a helper.
struct Limits {
    time: Option<Duration>,
    grace: Duration,
}

impl Limits {
    /// Attends to a helper until it has ended or must, and ends it.
    async fn run(
        &self,
        group: Group,
        pipes: &mut Pipes,
        cancelled: impl Future<Output = ()>,
    ) -> Result<ExitStatus, Fault> {
        let end = group.watch()?;
        let course = tokio::select! {
            biased;
            () = cancelled => Err(Fault::Cancelled),
            fault = self.passed() => Err(fault),
            finished = finish(&end, pipes) => finished,
        };
        if course.is_err() && !self.grace.is_zero() {
            group.signal(Signal::TERM);
            let goodbye = async {
                // Here the output may pass its limit as well; only the end counts.
                while finish(&end, pipes).await.is_err_and(|fault| matches!(fault, Fault::TooMuch(_))) {}
            };
            let _ = timeout(self.grace, goodbye).await;
        }
        let status = group.end().await;
        course.and(status)
    }

    async fn passed(&self) -> Fault {
        match self.time {
            Some(limit) => {
                sleep(limit).await;
                Fault::TimedOut(limit)
            }
            None => pending().await,
        }
    }
}

/// Waits for the end of the leader and of its output, for the latter not long once the leader has ended.
async fn finish(end: &Pidfd, pipes: &mut Pipes) -> Result<(), Fault> {
    tokio::select! {
        reached = end.ended() => { reached?; }
        pumped = pipes.pump() => {
            pumped?;
            end.ended().await?;
            return Ok(());
        }
    }
    timeout(LAST_OUTPUT, pipes.pump()).await.unwrap_or(Ok(()))
}
