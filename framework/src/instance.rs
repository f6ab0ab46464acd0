//! The run dir of an instance: its lock, its control socket, its `ready` file. A dead master leaves nothing
//! there that could block the next one, because the lock is the kernel's and ends with its holder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The longest path that a Unix socket can have.
const SOCKET_PATH_LIMIT: usize = 107;

/// The places of one instance.
#[derive(Debug, Clone)]
pub(crate) struct RunDir {
    path: PathBuf,
}

/// Why a run dir cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunDirError {
    #[error("already running{}: `stop` it first, or use another --run-dir", pid.map(|pid| format!(" with pid {pid}")).unwrap_or_default())]
    Running { pid: Option<u32> },
    #[error("cannot use the run dir {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the path {} is too long for a socket ({} bytes of {SOCKET_PATH_LIMIT}): choose a shorter --run-dir", path.display(), path.as_os_str().len())]
    TooLong { path: PathBuf },
}

impl RunDir {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("master.lock")
    }

    fn ready_file(&self) -> PathBuf {
        self.path.join("ready")
    }

    /// Creates the folder if need be and takes the lock, which lasts as long as what is returned.
    pub(crate) fn acquire(&self) -> Result<Lock, RunDirError> {
        let socket = self.control_socket();
        if socket.as_os_str().len() > SOCKET_PATH_LIMIT {
            return Err(RunDirError::TooLong { path: socket });
        }
        self.create().map_err(|source| self.failed(source))?;
        let mut file = open_lock(&self.lock_file()).map_err(|source| self.failed(source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(RunDirError::Running { pid: read_pid(&mut file) });
            }
            Err(error) => return Err(self.failed(error.into())),
        }
        write_pid(&mut file).map_err(|source| self.failed(source))?;
        self.clear();
        Ok(Lock { run_dir: self.clone(), _file: file })
    }

    fn create(&self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check_privacy(),
            other => other,
        }
    }

    /// A folder that was there before is not ours to change: it might be `/tmp`.
    fn check_privacy(&self) -> io::Result<()> {
        let mode = std::fs::metadata(&self.path)?.permissions().mode();
        if mode & 0o022 == 0 {
            return Ok(());
        }
        let advice = format!("others may write to it (mode {:o}): give it the mode 700", mode & 0o7777);
        Err(io::Error::new(io::ErrorKind::PermissionDenied, advice))
    }

    fn failed(&self, source: io::Error) -> RunDirError {
        RunDirError::Io { path: self.path.clone(), source }
    }

    /// Removes what a dead master left. Only the holder of the lock may do so.
    fn clear(&self) {
        for file in [self.control_socket(), self.ready_file()] {
            let _ = std::fs::remove_file(file);
        }
    }

    /// The pid of the master that holds the lock, if one does.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let mut file = File::open(self.lock_file()).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => Some(Holder { pid: read_pid(&mut file) }),
        }
    }
}

/// A master that holds the lock.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) pid: Option<u32>,
}

/// The lock of a run dir.
#[derive(Debug)]
pub(crate) struct Lock {
    run_dir: RunDir,
    _file: File,
}

impl Lock {
    /// Creates the `ready` file; it holds what `start` prints.
    pub(crate) fn announce(&self, line: &str) -> io::Result<()> {
        std::fs::write(self.run_dir.ready_file(), format!("{line}\n"))
    }

    pub(crate) fn withdraw(&self) {
        let _ = std::fs::remove_file(self.run_dir.ready_file());
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.run_dir.clear();
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The pid, and the start time in clock ticks since boot, which tells a reused pid from the same process.
fn write_pid(file: &mut File) -> io::Result<()> {
    let start_time = procfs::process::Process::myself()
        .and_then(|process| process.stat())
        .map_or(0, |stat| stat.starttime);
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{} {start_time}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instance_holds_a_run_dir_and_the_next_is_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path().join("run"));
        let lock = run_dir.acquire().unwrap();
        let error = run_dir.acquire().unwrap_err().to_string();
        assert!(error.contains(&format!("already running with pid {}", std::process::id())), "{error}");
        assert_eq!(run_dir.holder().unwrap().pid, Some(std::process::id()));
        drop(lock);
        assert!(run_dir.holder().is_none());
        run_dir.acquire().unwrap();
    }

    #[test]
    fn what_a_dead_master_left_does_not_block_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path());
        std::fs::write(run_dir.lock_file(), "1 1\n").unwrap();
        std::fs::write(run_dir.ready_file(), "stale").unwrap();
        drop(std::os::unix::net::UnixListener::bind(run_dir.control_socket()).unwrap());
        let _lock = run_dir.acquire().unwrap();
        assert!(!run_dir.ready_file().exists() && !run_dir.control_socket().exists());
    }

    #[test]
    fn a_run_dir_that_is_too_deep_for_a_socket_is_refused() {
        let error = RunDir::new("/tmp/".to_owned() + &"x".repeat(120)).acquire().unwrap_err().to_string();
        assert!(error.contains("choose a shorter --run-dir"), "{error}");
    }
}
