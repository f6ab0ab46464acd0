//! The executable that a process runs, held open, so that a replacement runs the same code although a new
//! file lies under its name by then.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// As `open(2)` names it.
const NONBLOCK: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// An executable file, held open.
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
}

impl Image {
    /// What this process runs.
    pub(crate) fn of_self() -> io::Result<Self> {
        Ok(Self { file: File::open("/proc/self/exe")? })
    }

    /// What lies under a path now.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Opening a pipe without a writer would wait for one.
        let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
        let mode = file.metadata()?;
        if !mode.is_file() || mode.mode() & 0o111 == 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no executable file"));
        }
        Ok(Self { file })
    }

    /// A path that a child of this process can execute; it leads to the open file, whatever its name.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// Tells one build from another: two processes that run the same file say the same, whatever becomes of
    /// its name and times. While it is held open, its number is its own.
    pub(crate) fn build(&self) -> io::Result<String> {
        let facts = self.file.metadata()?;
        Ok(format!("{:x}-{:x}", facts.dev(), facts.ino()))
    }
}
