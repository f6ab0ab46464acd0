//! Binds the sockets that an address means, and explains why one cannot be bound.

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt,
};

use crate::http::{Listen, SocketMode};
use crate::identity::{Account, group_id, user_id, whoami};

/// How many connections may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The longest path of a Unix socket, in bytes.
const MAX_PATH: usize = 107;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {problem}")]
pub(crate) struct BindError {
    address: String,
    problem: String,
}

impl BindError {
    pub(super) fn new(address: &str, problem: impl Display) -> Self {
        Self { address: address.to_owned(), problem: problem.to_string() }
    }
}

/// Binds all addresses that `host:port` stands for, and tells them. With port 0 they get one and the same. Those of a
/// name that this machine does not have are left out, as long as there are others.
pub(super) fn tcp(text: &str) -> Result<Vec<(OwnedFd, SocketAddr)>, BindError> {
    let failed = |address: &SocketAddr, error: &io::Error| {
        let place = if address.to_string() == text { text.to_owned() } else { format!("{text} ({address})") };
        BindError::new(&place, explain(error))
    };
    let mut bound: Vec<(OwnedFd, SocketAddr)> = Vec::new();
    let mut missing = None;
    for mut address in resolve(text).map_err(|problem| BindError::new(text, problem))? {
        if let (0, Some((_, first))) = (address.port(), bound.first()) {
            address.set_port(first.port());
        }
        match bind_tcp(&address) {
            Ok(one) => bound.push(one),
            Err(error) if is_absent(&error) => missing = Some(failed(&address, &error)),
            Err(error) => return Err(failed(&address, &error)),
        }
    }
    match missing {
        Some(missing) if bound.is_empty() => Err(missing),
        Some(missing) => {
            tracing::warn!("{missing}; it listens on the other addresses of the name");
            Ok(bound)
        }
        None => Ok(bound),
    }
}

/// Each address once, in the order of the resolver.
fn resolve(address: &str) -> Result<Vec<SocketAddr>, String> {
    let advice = "write host:port, such as 127.0.0.1:7001, unix:PATH or systemd:NAME";
    let mut found: Vec<SocketAddr> = Vec::new();
    for one in address.to_socket_addrs().map_err(|error| format!("{error}; {advice}"))? {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    if found.is_empty() { Err(format!("the name has no address; {advice}")) } else { Ok(found) }
}

/// Whether the machine does not have such an address, so that nobody can come by it.
fn is_absent(error: &io::Error) -> bool {
    let absent = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT];
    error.raw_os_error().is_some_and(|code| absent.contains(&Errno::from_raw_os_error(code)))
}

fn bind_tcp(address: &SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, address)?;
    listen(&socket, BACKLOG)?;
    let bound = std::net::TcpListener::from(socket);
    let address = bound.local_addr()?;
    Ok((bound.into(), address))
}

/// Binds a Unix socket with the rights that `place` wants. A file that nobody answers behind is what a dead server
/// left; it is replaced.
pub(super) fn unix(place: &Listen, path: &Path) -> Result<OwnedFd, BindError> {
    let failed = |problem: String| BindError::new(&place.address, problem);
    let length = path.as_os_str().len();
    if length == 0 {
        return Err(failed("write the path of the socket: unix:PATH".to_owned()));
    }
    if length > MAX_PATH {
        let advice = format!("{MAX_PATH} are the most: choose a shorter one, or a relative one");
        return Err(failed(format!("the path has {length} bytes, and {advice}")));
    }
    // Before anything is bound: a wrong name must leave no file.
    let owner = place.owner.as_ref().map(user_id).transpose().map_err(failed)?;
    let group = place.group.as_ref().map(group_id).transpose().map_err(failed)?;
    let socket = bind_unix(path).map_err(|error| failed(explain(&error)))?;
    let settled = set_rights(path, owner, group, place.mode).map_err(|error| explain_rights(place, &error));
    // Nobody can connect before this, whatever the rights were until now.
    let open = settled.and_then(|()| listen(&socket, BACKLOG).map_err(|error| explain(&error.into())));
    if let Err(problem) = open {
        let _ = std::fs::remove_file(path);
        return Err(failed(problem));
    }
    Ok(socket)
}

fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let new = || socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None);
    match connect(&new()?, &address) {
        // One that cannot take the connection now is there as well.
        Ok(()) | Err(Errno::AGAIN) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(Errno::CONNREFUSED) => remove_socket(path)?,
        Err(_) => {}
    }
    let socket = new()?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// What refuses connections may also be somebody's file.
fn remove_socket(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return std::fs::remove_file(path);
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a file that is no socket lies there; choose another path",
    ))
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
    let wanted = [("owner", name(&place.owner)), ("group", name(&place.group))];
    let wanted = wanted.iter().filter_map(|(key, name)| Some(format!("{key} {}", name.as_ref()?)));
    let wanted: Vec<String> = wanted.collect();
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

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it or choose another address".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("{error}; ports below 1024 and other people's folders need more rights")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn place(folder: &tempfile::TempDir, name: &str, keys: &str) -> Listen {
        let path = folder.path().join(name);
        let text = format!("address = 'unix:{}'\n{keys}", path.display());
        toml::from_str::<Listen>(&text).unwrap()
    }

    fn bound(place: &Listen) -> Result<OwnedFd, String> {
        unix(place, Path::new(&place.address[5..])).map_err(|error| error.to_string())
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
    fn every_address_of_a_name_is_bound_with_the_same_port() {
        let addresses: Vec<SocketAddr> =
            tcp("localhost:0").unwrap().into_iter().map(|(_, address)| address).collect();
        let known = resolve("localhost:0").unwrap();
        assert!(!addresses.is_empty() && addresses.len() <= known.len());
        assert!(addresses.iter().all(|one| one.port() == addresses[0].port() && one.port() != 0));
        assert!(addresses.iter().all(|one| known.iter().any(|known| known.ip() == one.ip())));
    }
}
