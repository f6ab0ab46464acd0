//! Log files: every process writes its events to the file of its role, and errors again to `error.log`.
//!
//! This room answers for lines that are whole, that survive a rename of the file, and whose loss is counted.
//! Deciding when files are rotated is left to the agent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt as _;

mod backlog;
mod console;
mod file;
mod folder;
mod layer;
mod line;
mod panics;

pub(crate) use console::Console;
use file::SharedFile;
pub(crate) use folder::LogFolder;
use layer::{LogLayer, Outlet};
use line::Head;
pub(crate) use panics::{last_panic, log_panics, panicked};

/// The file, without its ending, that the errors of all processes are written to.
pub(crate) const ERRORS: &str = "error";

/// The target of lines about messages that an operator asked for: they go to the log files whatever `log.level` is.
pub(crate) const TRAFFIC: &str = "hatchery::bus";

/// Lines that wait in memory while the thread that writes the role's file is busy; a slot costs 32 bytes, also while it is
/// empty. It holds several of the thread's writes.
const ROLE_QUEUE: usize = 1024;

/// As [`ROLE_QUEUE`], for `error.log`.
const ERROR_QUEUE: usize = 256;

/// Section `[log]`: what is logged, and what of it also goes to stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Events of this level and graver ones go to the log files.
    pub level: Level,
    /// Events of this level and graver ones go to stderr too, unless nobody reads there.
    pub console: Level,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: Level::Info, console: Level::Warn }
    }
}

/// How grave an event must be to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Off,
    /// Errors alone.
    Error,
    /// Warnings and errors.
    Warn,
    /// What an operator wants to read every day, and all graver events.
    Info,
    /// What helps to find a fault, and all graver events.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// Starts logging for this process: events of `tracing` go to `<name>.log` in `folder`, errors again to
/// `error.log`. Each line says that `label` wrote it, such as `web.0`. A missing folder is created.
///
/// # Errors
/// When a file cannot be opened; when `name` is no file name or is `error`; with
/// [`io::ErrorKind::AlreadyExists`] when this process has a `tracing` subscriber already, be it ours.
pub(crate) fn start(
    folder: impl Into<LogFolder>,
    name: &str,
    label: &str,
    settings: &LogSettings,
) -> io::Result<Log> {
    let taken = |_| {
        let text = "logging has been started in this process already: start it once";
        io::Error::new(io::ErrorKind::AlreadyExists, text)
    };
    let (subscriber, log) = build(folder.into(), name, label, settings)?;
    tracing::subscriber::set_global_default(subscriber).map_err(taken)?;
    Ok(log)
}

fn build(
    folder: LogFolder,
    name: &str,
    label: &str,
    settings: &LogSettings,
) -> io::Result<(impl Subscriber + Send + Sync + use<>, Log)> {
    check_name(name)?;
    let head = Arc::new(Head::new(label));
    let lost = Arc::new(AtomicU64::new(0));
    let open =
        |name| SharedFile::open(folder.clone(), format!("{name}.log"), Arc::clone(&head), Arc::clone(&lost));
    let (role_file, error_file) = (open(name)?, open(ERRORS)?);
    let ended = Arc::new(AtomicBool::new(false));
    let (role, role_guard) = outlet(&role_file, ROLE_QUEUE, "log", &ended);
    let (errors, error_guard) = outlet(&error_file, ERROR_QUEUE, "log-errors", &ended);
    let quiet = Arc::new(AtomicBool::new(false));
    let console = (settings.console != Level::Off).then(Console::start).transpose()?;
    let layer = LogLayer::new(head, settings, role, errors).with_console(console.clone(), Arc::clone(&quiet));
    let reopener = Reopener { files: [role_file, error_file], lost };
    let log = Log { guards: vec![role_guard, error_guard], ended, quiet, console, reopener };
    Ok((tracing_subscriber::registry().with(layer), log))
}

fn check_name(name: &str) -> io::Result<()> {
    let problem = match name {
        ERRORS => "it is the file of everybody's errors, choose another",
        "" => "it is empty",
        _ if name.contains(['/', '\0']) => "it holds a slash or a nul, write a plain name",
        _ => return Ok(()),
    };
    let text = format!("`{name}` cannot name a log file: {problem}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn outlet(file: &SharedFile, lines: usize, thread: &str, ended: &Arc<AtomicBool>) -> (Outlet, WorkerGuard) {
    let builder = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(lines).thread_name(thread);
    let (queue, guard) = builder.finish(file.clone());
    (Outlet::new(queue, file.clone(), Arc::clone(ended)), guard)
}

/// Logging that has been started. Dropping it writes out every line that waits; later lines are written
/// directly, without the queue.
#[derive(Debug)]
#[must_use = "dropping it ends buffered logging"]
pub(crate) struct Log {
    guards: Vec<WorkerGuard>,
    ended: Arc<AtomicBool>,
    quiet: Arc<AtomicBool>,
    console: Option<Console>,
    reopener: Reopener,
}

impl Log {
    /// A handle on the files, for the part of the process that hears about rotation.
    #[must_use]
    pub(crate) fn reopener(&self) -> Reopener {
        self.reopener.clone()
    }

    /// The way to stderr, for what others have written; it is open whatever `log.console` says.
    ///
    /// # Errors
    /// When the thread that writes there cannot be started.
    pub(crate) fn console(&mut self) -> io::Result<Console> {
        match &self.console {
            Some(console) => Ok(console.clone()),
            None => Ok(self.console.insert(Console::start()?).clone()),
        }
    }

    /// From now on no line goes to stderr any more: somebody else will speak there.
    pub(crate) fn silence_console(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.guards.clear();
        self.reopener.files.iter().for_each(SharedFile::write_out);
        if let Some(console) = &self.console {
            console.flush();
        }
    }
}

/// Opens the log files of this process anew, after they were renamed.
#[derive(Debug, Clone)]
pub(crate) struct Reopener {
    files: [SharedFile; 2],
    lost: Arc<AtomicU64>,
}

impl Reopener {
    /// Opens every file by its path anew, creating it and its directory where they are missing. What was
    /// buffered goes to the old file; from the return on, nothing is written there any more.
    ///
    /// It writes to disk and blocks for as long as that takes.
    ///
    /// # Errors
    /// When a path cannot be opened: that file stays the old one, the others are reopened all the same. The
    /// first such error is returned; it names the path.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let results = self.files.each_ref().map(SharedFile::reopen);
        results.into_iter().collect()
    }

    /// How many lines could not be written, of all files, since the start of the process.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
