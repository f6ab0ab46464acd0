//! The folder of the log files and the opening of files there. Where root writes into the folder of a user,
//! that user must not lead it astray by links: what is opened is a plain file with one name, or nothing.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, statat};
use rustix::io::Errno;

use crate::identity::{Identity, whoami};

/// How often a file may come and go while we look.
const ATTEMPTS: usize = 10;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

/// Neither follows a link nor waits for the other end of a pipe.
const PLAIN: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The folder of the log files, and whom it is made for if it is not the user of this process.
#[derive(Debug, Clone)]
pub(crate) struct LogFolder {
    path: PathBuf,
    meant_for: Option<(u32, u32)>,
}

impl From<&Path> for LogFolder {
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), meant_for: None }
    }
}

impl LogFolder {
    /// A folder for this identity's files; without one it is for this process's own.
    pub(crate) fn of(path: &Path, identity: Option<&Identity>) -> Self {
        Self { path: path.to_owned(), meant_for: identity.map(|identity| (identity.uid, identity.gid)) }
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Creates the folder if need be and gives it, with the logs in it, to the identity that it is meant for.
    /// Only a folder of root with nothing but logs in it is given away: another may be `/var/log`.
    ///
    /// # Errors
    /// When it cannot be that identity's; nothing has been given away then.
    pub(crate) fn hand_over(&self) -> io::Result<()> {
        let Some((uid, gid)) = self.meant_for else {
            return Ok(());
        };
        self.try_hand_over(uid, gid).map_err(|error| {
            let text = format!("the user {uid} cannot have the log folder {}: {error}", self.path.display());
            io::Error::new(error.kind(), text)
        })
    }

    fn try_hand_over(&self, uid: u32, gid: u32) -> io::Result<()> {
        let folder = self.open_folder()?;
        let facts = fstat(&folder)?;
        match facts.st_uid {
            owner if owner == uid => check_owners(&folder),
            0 if is_private(&facts) => give(&folder, uid, gid),
            0 => Err(denied("others may write to it: give it the mode 755".to_owned())),
            owner => Err(denied(format!("it belongs to the user {owner}: choose another --log-dir"))),
        }
    }

    /// Opens a file for appending, creating it and the folder where they are missing. What root creates
    /// belongs to whom the folder belongs to.
    ///
    /// # Errors
    /// When it cannot be opened; when root would write through a link, or to what is no plain file.
    pub(crate) fn open(&self, name: &str) -> io::Result<File> {
        self.try_open(name).map_err(|error| {
            let path = self.join(name);
            let mut text = format!("cannot open the log file `{}`: {error}", path.display());
            if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) {
                text += &format!(": let {} write to it, and pass the folders above", whoami());
            }
            io::Error::new(error.kind(), text)
        })
    }

    fn try_open(&self, name: &str) -> io::Result<File> {
        if rustix::process::geteuid().is_root() {
            let folder = self.open_folder()?;
            let facts = fstat(&folder)?;
            if facts.st_uid != 0 || !is_private(&facts) {
                return open_guarded(&folder, name, &facts);
            }
        } else {
            std::fs::create_dir_all(&self.path)?;
        }
        File::options().append(true).create(true).open(self.join(name))
    }

    /// A missing folder is made for the one whom it is meant for.
    fn open_folder(&self) -> io::Result<OwnedFd> {
        match openat(CWD, &self.path, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) => {}
            found => return Ok(found?),
        }
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let made = mkdirat(CWD, &self.path, Mode::from_raw_mode(0o755));
        let folder = openat(CWD, &self.path, FOLDER, Mode::empty())?;
        match (made, self.meant_for) {
            (Ok(()), Some((uid, gid))) => fchown(&folder, Some(uid), Some(gid))?,
            (Ok(()) | Err(Errno::EXIST), _) => {}
            (Err(error), _) => return Err(error.into()),
        }
        Ok(folder)
    }
}

fn denied(problem: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, problem)
}

fn is_private(folder: &Stat) -> bool {
    folder.st_mode & 0o022 == 0
}

/// Opens for appending what is a plain file of the folder's owner, or of root, under this name alone.
fn open_guarded(folder: &OwnedFd, name: &str, owner: &Stat) -> io::Result<File> {
    let append = PLAIN.union(OFlags::WRONLY).union(OFlags::APPEND);
    for _ in 0..ATTEMPTS {
        match openat(folder, name, append, Mode::empty()) {
            Ok(file) if fstat(&file)?.st_nlink == 0 => {}
            Ok(file) => {
                check_plain(&fstat(&file)?, owner.st_uid)?;
                return Ok(file.into());
            }
            Err(Errno::NOENT) => match openat(folder, name, append | OFlags::CREATE | OFlags::EXCL, MODE) {
                Ok(file) => {
                    fchown(&file, Some(owner.st_uid), Some(owner.st_gid))?;
                    return Ok(file.into());
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            },
            Err(Errno::LOOP) => return Err(denied("it is a symbolic link: remove it".to_owned())),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("it comes and goes: leave it to this app"))
}

const MODE: Mode = Mode::from_raw_mode(0o644);

/// Refuses what an unprivileged user may have laid where root will write.
fn check_plain(file: &Stat, owner: u32) -> io::Result<()> {
    if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile {
        return Err(denied("it is no plain file: remove it".to_owned()));
    }
    if file.st_nlink != 1 {
        return Err(denied("it has a second name somewhere: remove it".to_owned()));
    }
    if file.st_uid != owner && file.st_uid != 0 {
        return Err(denied(format!("it belongs to the user {}: remove it", file.st_uid)));
    }
    Ok(())
}

/// The names in the folder.
fn names(folder: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn is_log(name: &str) -> bool {
    name.ends_with(".log") || name.contains(".log.")
}

/// Gives away a folder that nobody but root has written to so far; the folder itself last.
fn give(folder: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    let mut files = Vec::new();
    for name in names(folder)? {
        let problem = |error: io::Error| io::Error::new(error.kind(), format!("`{name}` in it: {error}"));
        if !is_log(&name) {
            return Err(problem(denied("this is no log: choose a folder that holds logs only".to_owned())));
        }
        let file = openat(folder, &name, PLAIN.union(OFlags::RDONLY), Mode::empty());
        let file = file.map_err(|error| problem(error.into()))?;
        check_plain(&fstat(&file)?, uid).map_err(problem)?;
        files.push(file);
    }
    for file in files.iter().chain([folder]) {
        fchown(file, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// In a folder that is the user's already, a file of root's is not given away: it may have been laid there.
fn check_owners(folder: &OwnedFd) -> io::Result<()> {
    for name in names(folder)?.iter().filter(|name| name.ends_with(".log")) {
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(facts) if facts.st_uid == 0 => {
                return Err(denied(format!("`{name}` in it belongs to root: remove it, or give it away")));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
