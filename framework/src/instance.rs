//! The run dir of an instance: its lock, its control socket, its `ready` file. A dead master leaves nothing
//! there that could block the next one, because the lock is the kernel's and ends with its holder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use procfs::process::Process;
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

    pub(crate) fn path(&self) -> &Path {
        &self.path
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
                return Err(RunDirError::Running { pid: self.holder().map(|holder| holder.pid) });
            }
            Err(error) => return Err(self.failed(error.into())),
        }
        write_pid(&mut file).map_err(|source| self.failed(source))?;
        self.clear();
        Ok(Lock { run_dir: self.clone(), file })
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
        let facts = std::fs::metadata(&self.path)?;
        let mode = facts.mode();
        if facts.uid() != rustix::process::geteuid().as_raw() {
            let advice = format!("it belongs to the user {}: choose another --run-dir", facts.uid());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, advice));
        }
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

    /// The master that holds the lock, if one does. It is told by its pid and start time, without touching
    /// the lock: whoever looks must not be in the way of whoever starts.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let text = std::fs::read_to_string(self.lock_file()).ok()?;
        let mut words = text.split_whitespace().map(str::parse::<u64>);
        let (pid, start_time) = (words.next()?.ok()?, words.next()?.ok()?);
        let pid = u32::try_from(pid).ok()?;
        (start_time_of(pid) == Some(start_time)).then_some(Holder { pid })
    }
}

/// A master that holds the lock.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
}

/// The lock of a run dir.
#[derive(Debug)]
pub(crate) struct Lock {
    run_dir: RunDir,
    file: File,
}

impl Lock {
    /// Whether the run dir is still the one that was locked: somebody may have removed it, and somebody else
    /// may have started there since.
    fn is_ours(&self) -> bool {
        let number = |facts: std::fs::Metadata| (facts.dev(), facts.ino());
        let held = self.file.metadata().map(number);
        let there = std::fs::metadata(self.run_dir.lock_file()).map(number);
        matches!((held, there), (Ok(held), Ok(there)) if held == there)
    }

    /// Creates the `ready` file; it holds what `start` prints, whole from the first moment. Does nothing once the run
    /// dir is another's.
    pub(crate) fn announce(&self, line: &str) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let ready = self.run_dir.ready_file();
        let draft = ready.with_extension("new");
        std::fs::write(&draft, format!("{line}\n"))?;
        std::fs::rename(&draft, &ready)
    }

    pub(crate) fn withdraw(&self) {
        if !self.is_ours() {
            return;
        }
        let _ = std::fs::remove_file(self.run_dir.ready_file());
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_ours() {
            self.run_dir.clear();
        }
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The pid, and the start time in clock ticks since boot, which tells a reused pid from the same process.
fn write_pid(file: &mut File) -> io::Result<()> {
    let pid = std::process::id();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{pid} {}", start_time_of(pid).unwrap_or_default())
}

/// When a living process was started; a zombie does not live.
fn start_time_of(pid: u32) -> Option<u64> {
    let stat = Process::new(i32::try_from(pid).ok()?).and_then(|process| process.stat()).ok()?;
    (stat.state != 'Z').then_some(stat.starttime)
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
        assert_eq!(run_dir.holder().unwrap().pid, std::process::id());
        drop(lock);
        run_dir.acquire().unwrap();
    }

    #[test]
    fn a_master_whose_run_dir_was_removed_spares_its_successors() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path().join("run"));
        let old = run_dir.acquire().unwrap();
        std::fs::remove_dir_all(folder.path().join("run")).unwrap();
        let new = run_dir.acquire().unwrap();
        new.announce("ready").unwrap();
        old.announce("old").unwrap();
        old.withdraw();
        drop(old);
        assert_eq!(std::fs::read_to_string(run_dir.ready_file()).unwrap(), "ready\n");
    }

    #[test]
    fn a_pid_that_means_another_process_now_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path());
        std::fs::write(run_dir.lock_file(), format!("{} 1\n", std::process::id())).unwrap();
        assert!(run_dir.holder().is_none());
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
