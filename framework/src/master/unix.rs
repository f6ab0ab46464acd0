//! Binds Unix sockets, and gives their files the rights that are wanted before anybody can connect.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, openat};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType, connect, listen, socket_with};

use super::bind::{BACKLOG, BindError, FLAGS, explain};
use crate::http::{Listen, SocketMode};
use crate::identity::{Account, group_id, user_id, whoami};

/// The longest path of a Unix socket, in bytes.
const MAX_PATH: usize = 107;

/// The file of a socket that we made. It goes when this is dropped, unless somebody else's lies there by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity_of(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity_of(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The device and the inode of a file.
fn identity_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// A relative path begins in the app's folder. It stays relative where that is the current one: the paths of sockets
/// must be short.
pub(super) fn within(app_dir: &Path, path: &Path) -> PathBuf {
    let is_here = std::env::current_dir().is_ok_and(|here| here == app_dir);
    if is_here || path.as_os_str().is_empty() { path.to_owned() } else { app_dir.join(path) }
}

/// The ids of the owner and the group that its file is to have.
type Owners = (Option<u32>, Option<u32>);

/// Whether such a socket can be bound at all, as far as can be seen without doing it.
pub(super) fn check(place: &Listen, path: &Path) -> Result<Owners, BindError> {
    let failed = |problem: String| BindError::new(&place.address, problem);
    let length = path.as_os_str().len();
    if length == 0 {
        return Err(failed("write the path of the socket: unix:PATH".to_owned()));
    }
    if length > MAX_PATH {
        let advice = format!("{MAX_PATH} are the most: choose a shorter one, or a relative one");
        return Err(failed(format!("the path has {length} bytes, and {advice}")));
    }
    if path.to_string_lossy().contains(char::is_control) {
        return Err(failed("the path has a control character: leave it out".to_owned()));
    }
    let owner = place.owner.as_ref().map(user_id).transpose().map_err(failed)?;
    let group = place.group.as_ref().map(group_id).transpose().map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if std::fs::metadata(folder).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let folder = folder.display();
        return Err(failed(format!("there is no folder {folder}: create it, or choose another path")));
    }
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => Err(failed(NO_SOCKET.to_owned())),
        _ => Ok((owner, group)),
    }
}

/// What lies there is not ours to replace.
const NO_SOCKET: &str = "a file that is no socket lies there; choose another path";

/// Binds a Unix socket with the rights that `place` wants. A file that nobody answers behind is what a dead server
/// left; it is replaced.
pub(super) fn bind(place: &Listen, path: &Path) -> Result<(OwnedFd, SocketFile), BindError> {
    let failed = |problem: String| BindError::new(&place.address, problem);
    // Before anything is bound: a wrong name must leave no file.
    let (owner, group) = check(place, path)?;
    let socket = bind_file(path).map_err(|error| failed(explain(&error)))?;
    let file = SocketFile::new(path);
    let settled = set_rights(path, owner, group, place.mode).map_err(|error| explain_rights(place, &error));
    // Nobody can connect before this, whatever the rights were until now.
    let open = settled.and_then(|()| listen(&socket, BACKLOG).map_err(|error| explain(&error.into())));
    open.map_err(failed)?;
    Ok((socket, file))
}

fn bind_file(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let new = || socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None);
    match connect(&new()?, &address) {
        // One that cannot take the connection now is there as well.
        Ok(()) | Err(Errno::AGAIN) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(Errno::CONNREFUSED) => remove_socket(path)?,
        Err(_) => {}
    }
    let socket = new()?;
    net::bind(&socket, &address)?;
    Ok(socket)
}

/// What refuses connections may also be somebody's file.
fn remove_socket(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return std::fs::remove_file(path);
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, NO_SOCKET))
}

/// By a descriptor of the file, which nobody can exchange for a link to another one.
fn set_rights(
    path: &Path,
    owner: Option<u32>,
    group: Option<u32>,
    mode: Option<SocketMode>,
) -> io::Result<()> {
    if owner.is_none() && group.is_none() && mode.is_none() {
        return Ok(());
    }
    let file = openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let by_number = format!("/proc/self/fd/{}", file.as_raw_fd());
    if !std::fs::metadata(&by_number)?.file_type().is_socket() {
        return Err(io::Error::other("somebody has put another file in its place"));
    }
    let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
    if owner.is_some() || group.is_some() {
        chownat(&file, "", owner, group, AtFlags::EMPTY_PATH)?;
    }
    match mode {
        Some(mode) => std::fs::set_permissions(&by_number, PermissionsExt::from_mode(mode.bits())),
        None => Ok(()),
    }
}

fn explain_rights(place: &Listen, error: &io::Error) -> String {
    let name = |account: &Option<Account>| account.as_ref().map(|account| format!("`{account}`"));
    let keys = [("owner", name(&place.owner)), ("group", name(&place.group))];
    let wanted: Vec<String> =
        keys.iter().filter_map(|(key, name)| Some(format!("{key} {}", name.as_ref()?))).collect();
    if error.kind() == io::ErrorKind::PermissionDenied && !wanted.is_empty() {
        let wanted = wanted.join(" and ");
        return format!(
            "{} may not give its file to the {wanted}: only root gives files away, others may choose among their own \
             groups",
            whoami()
        );
    }
    format!("the rights of its file cannot be set: {error}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn place(folder: &tempfile::TempDir, name: &str, keys: &str) -> Listen {
        let path = folder.path().join(name);
        let text = format!("address = 'unix:{}'\n{keys}", path.display());
        toml::from_str::<Listen>(&text).unwrap()
    }

    fn bound(place: &Listen) -> Result<(OwnedFd, SocketFile), String> {
        bind(place, Path::new(&place.address[5..])).map_err(|error| error.to_string())
    }

    #[test]
    fn a_unix_socket_has_the_rights_that_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let keys = format!("mode = '0620'\nowner = {}\ngroup = {}", own.0, own.1);
        let _socket = bound(&place(&folder, "web.sock", &keys)).unwrap();
        let path = folder.path().join("web.sock");
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (0o620, own.0, own.1));
        UnixStream::connect(path).unwrap();
    }

    #[test]
    fn an_owner_that_is_nobody_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        for (keys, words) in [
            ("owner = 'no-such-one'", "there is no user `no-such-one`"),
            ("group = 'no-such-one'", "there is no group `no-such-one`"),
        ] {
            let error = bound(&place(&folder, "web.sock", keys)).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_path_may_have_107_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let room = MAX_PATH - folder.path().as_os_str().len() - 1;
        assert!(bound(&place(&folder, &"x".repeat(room), "")).is_ok());
        let error = bound(&place(&folder, &"x".repeat(room + 1), "")).unwrap_err();
        assert!(error.contains("the path has 108 bytes, and 107 are the most"), "{error}");
        assert!(bound(&Listen::from("unix:")).unwrap_err().contains("unix:PATH"));
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = bound(&place(&folder, "missing/web.sock", "")).unwrap_err();
        let missing = folder.path().join("missing");
        assert!(error.contains(&format!("there is no folder {}: create it", missing.display())), "{error}");
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "words").unwrap();
        let error = bound(&place(&folder, "precious", "")).unwrap_err();
        assert!(error.contains("no socket lies there"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "words");
    }
}
