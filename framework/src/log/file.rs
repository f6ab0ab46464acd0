//! One log file, shared by the thread that writes it and those who reopen it: opened for appending, written
//! in whole lines, patient with a full disk.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::Level;

use super::backlog::{BATCH, Backlog};
use super::folder::LogFolder;
use super::line::Head;

/// How long a line may wait in memory: what a SIGKILL can cost at most.
const BREATH: Duration = Duration::from_micros(500);

/// A log file that can be written, and opened anew under the writer's feet.
///
/// Writing never fails: an error would make the queue's thread drop lines that can still be kept.
#[derive(Clone)]
pub(super) struct SharedFile(Arc<Mutex<LogFile>>);

impl SharedFile {
    /// Opens `name` for appending; `lost` is raised for every line that is given up.
    pub(super) fn open(
        folder: LogFolder,
        name: String,
        head: Arc<Head>,
        lost: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let file = LogFile {
            file: folder.open(&name)?,
            folder,
            name,
            backlog: Backlog::default(),
            untried: 0,
            torn_at: 0,
            loss: Loss { head, total: lost, untold: 0, cause: String::new() },
        };
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// Writes what waits and opens the path anew; on an error the old file stays.
    pub(super) fn reopen(&self) -> io::Result<()> {
        self.lock().reopen()
    }

    /// Writes what waits, as far as the disk takes it.
    pub(super) fn write_out(&self) {
        self.lock().write_out();
    }

    /// Takes one line, which ends with a newline.
    pub(super) fn push(&self, line: &[u8]) {
        self.lock().push(line);
    }

    /// A panic elsewhere is no reason to stop logging: the state holds after every statement.
    fn lock(&self) -> MutexGuard<'_, LogFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for SharedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    /// Called when the queue is empty. The queue then fills during a [`BREATH`], so that at a middling rate
    /// not every line wakes the thread, which would cost four times as much.
    fn flush(&mut self) -> io::Result<()> {
        self.write_out();
        thread::park_timeout(BREATH);
        Ok(())
    }
}

impl fmt::Debug for SharedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedFile").field(&self.lock().name).finish()
    }
}

struct LogFile {
    folder: LogFolder,
    name: String,
    file: File,
    backlog: Backlog,
    /// Bytes that came since the last attempt to write.
    untried: usize,
    /// The end of the file behind the part of the torn line that is on disk.
    torn_at: u64,
    loss: Loss,
}

impl LogFile {
    /// While the disk is full, each further batch is an attempt too, as a busy queue may never ask for one.
    fn push(&mut self, line: &[u8]) {
        if self.untried + line.len() > BATCH {
            self.write_out();
        }
        self.untried += line.len();
        if self.loss.tell(&mut self.backlog) && self.backlog.push(line) {
            return;
        }
        self.loss.count();
    }

    fn write_out(&mut self) {
        self.untried = 0;
        if let Err(error) = self.try_write_out() {
            self.loss.cause = error.to_string();
        }
    }

    fn try_write_out(&mut self) -> io::Result<()> {
        loop {
            if self.backlog.is_empty() && (self.loss.untold == 0 || !self.loss.tell(&mut self.backlog)) {
                return Ok(());
            }
            if self.backlog.is_torn() && self.file.metadata()?.len() != self.torn_at {
                // Another process appended behind the torn line, or the file was cut.
                self.backlog.start_line_again();
            }
            match self.file.write(self.backlog.chunk()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.backlog.wrote(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.backlog.is_torn() {
                self.torn_at = self.file.stream_position()?;
            }
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.write_out();
        self.file = self.folder.open(&self.name)?;
        self.backlog.start_line_again();
        self.write_out();
        Ok(())
    }
}

/// Lines that were given up.
struct Loss {
    head: Arc<Head>,
    total: Arc<AtomicU64>,
    /// Those that the file itself does not tell of yet.
    untold: u64,
    cause: String,
}

impl Loss {
    fn count(&mut self) {
        self.untold += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts a line about the loss where the lost lines would stand; false when there is no room for it.
    fn tell(&mut self, backlog: &mut Backlog) -> bool {
        if self.untold == 0 {
            return true;
        }
        let text = format!("{} lines are lost: this file could not be written: {}", self.untold, self.cause);
        let told = backlog.push(self.head.line(Level::WARN, module_path!(), &text).as_bytes());
        if told {
            self.untold = 0;
        }
        told
    }
}

#[cfg(test)]
mod tests;
