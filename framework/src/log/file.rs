//! One log file, shared by the thread that writes it and those who reopen it: opened for appending, written
//! in whole lines, patient with a full disk.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Level;

use super::backlog::{BATCH, Backlog};
use super::line::Head;

/// A log file that can be written, and opened anew under the writer's feet.
///
/// Writing never fails: an error would make the queue's thread drop lines that can still be kept.
#[derive(Clone)]
pub(super) struct SharedFile(Arc<Mutex<LogFile>>);

impl SharedFile {
    /// Opens `path` for appending; `lost` is raised for every line that is given up.
    pub(super) fn open(path: PathBuf, head: Arc<Head>, lost: Arc<AtomicU64>) -> io::Result<Self> {
        let file = LogFile {
            file: open(&path)?,
            path,
            backlog: Backlog::default(),
            untried: 0,
            torn_at: 0,
            loss: Loss {
                head,
                total: lost,
                untold: 0,
                cause: String::new(),
            },
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

    fn flush(&mut self) -> io::Result<()> {
        self.write_out();
        Ok(())
    }
}

impl fmt::Debug for SharedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedFile").field(&self.lock().path).finish()
    }
}

struct LogFile {
    path: PathBuf,
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
        self.file = open(&self.path)?;
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
        let text = format!(
            "{} lines are lost: this file could not be written: {}",
            self.untold, self.cause
        );
        let told = backlog.push(self.head.line(Level::WARN, module_path!(), &text).as_bytes());
        if told {
            self.untold = 0;
        }
        told
    }
}

fn open(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| {
        let text = format!("cannot open the log file `{}`: {error}", path.display());
        io::Error::new(error.kind(), text)
    };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(named)?;
    }
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .map_err(named)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn lines_of_several_writers_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        thread::scope(|scope| {
            for letter in [b'a', b'b', b'c'] {
                let file = file_at(&path).0;
                let mut line = vec![letter; 700];
                line.push(b'\n');
                scope.spawn(move || {
                    (0..2_000).for_each(|_| file.push(&line));
                    file.write_out();
                });
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 6_000);
        assert!(
            text.lines()
                .all(|line| line.len() == 700 && line.bytes().all(|byte| byte == line.as_bytes()[0]))
        );
    }

    fn file_at(path: &Path) -> (SharedFile, Arc<AtomicU64>) {
        let lost = Arc::new(AtomicU64::new(0));
        let file =
            SharedFile::open(path.to_owned(), Arc::new(Head::new("web.0")), Arc::clone(&lost)).unwrap();
        (file, lost)
    }

    /// A file on a full disk, and the path that leads there.
    fn full_disk() -> (TempDir, PathBuf, SharedFile, Arc<AtomicU64>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        symlink("/dev/full", &path).unwrap();
        let (file, lost) = file_at(&path);
        (dir, path, file, lost)
    }

    #[test]
    fn lines_wait_for_a_full_disk_and_what_is_too_much_is_counted_and_told() {
        let (_dir, path, file, lost) = full_disk();
        let line = format!("{}\n", "x".repeat(1023));
        (0..1030).for_each(|_| file.push(line.as_bytes()));
        file.write_out();
        assert_eq!(lost.load(Ordering::Relaxed), 6);

        fs::remove_file(&path).unwrap();
        file.reopen().unwrap();
        file.push(b"after\n");
        file.write_out();
        let text = fs::read_to_string(&path).unwrap();
        let tail: Vec<&str> = text.lines().skip(1024).collect();
        assert!(
            tail[0].contains("WARN web.0") && tail[0].contains(": 6 lines are lost"),
            "{}",
            tail[0]
        );
        assert!(tail[0].contains("No space left on device"));
        assert_eq!(tail[1..], ["after"]);
        assert_eq!(lost.load(Ordering::Relaxed), 6);
    }

    #[test]
    fn a_panic_that_poisons_the_lock_does_not_end_logging() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        let (file, _) = file_at(&path);
        let poisoner = file.clone();
        let poisoned = thread::spawn(move || {
            let _held = poisoner.lock();
            std::panic::resume_unwind(Box::new("while it holds the lock"));
        })
        .join();
        assert!(poisoned.is_err());
        file.push(b"still here\n");
        file.reopen().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "still here\n");
    }
}
