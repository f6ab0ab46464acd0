//! Whether clients could ever come by the places that a configuration names: asked before any of them is bound, so that
//! `config check` says what `start` would. Whether somebody else listens there now is left to those who bind.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::bind::{self, BindError};
use super::listeners::MAX_SOCKETS;
use super::plan::Doors;
use super::unix;
use crate::http::{Listen, UDP, UNIX};
use crate::role::WEB;
use crate::systemd::PREFIX;

/// A place by which nobody could come.
#[derive(Debug)]
pub(crate) struct Misplaced {
    /// What names the place in the configuration, such as `http.listen[1]`.
    pub(crate) key: String,
    /// Why.
    pub(crate) problem: String,
}

/// What a place is in the end, whatever it was called.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Spot {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    /// The device and the inode of the folder, and the name in it.
    File(u64, u64, OsString),
}

/// Looks at all places, and binds none. Sockets that are handed down are not known yet, and left out. In the `reserved`
/// folders are our own files.
///
/// # Errors
/// The first place that cannot work, by itself or beside those before it.
pub(crate) fn survey<'a>(
    doors: impl Iterator<Item = Doors<'a>>,
    reserved: &[&Path],
) -> Result<(), Misplaced> {
    let apart = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only").is_ok_and(|text| text.trim() == "1");
    let families = if apart { Families::Apart } else { Families::Together };
    let mut taken: Vec<(Spot, String)> = Vec::new();
    for doors in doors {
        for (key, place) in doors.keyed() {
            let failed = |error: BindError| Misplaced { key: key.clone(), problem: error.to_string() };
            for spot in spots(place, doors.app_dir, reserved).map_err(failed)? {
                if let Some((_, other)) = taken.iter().find(|(other, _)| clash(other, &spot, families)) {
                    return Err(failed(twice(&place.address, other)));
                }
                taken.push((spot, place.address.clone()));
            }
            if taken.len() > MAX_SOCKETS {
                return Err(failed(BindError::too_many(&place.address, MAX_SOCKETS)));
            }
        }
        if doors.group == WEB && doors.places.iter().all(|place| place.address.starts_with(UDP)) {
            let problem = "web serves HTTP, and no connection comes by UDP: add an address without udp:";
            return Err(Misplaced { key: doors.key(), problem: problem.to_owned() });
        }
    }
    Ok(())
}

fn twice(address: &str, other: &str) -> BindError {
    let problem = if address == other {
        "it is named twice; leave one out".to_owned()
    } else {
        format!("it is the same place as {other}, or a part of it; leave one of them out")
    };
    BindError::new(address, problem)
}

fn spots(place: &Listen, app_dir: &Path, reserved: &[&Path]) -> Result<Vec<Spot>, BindError> {
    if place.address.starts_with(PREFIX) {
        return Ok(Vec::new());
    }
    if let Some(path) = place.address.strip_prefix(UNIX) {
        let path = unix::within(app_dir, Path::new(path));
        if let Some(folder) = reserved.iter().find(|folder| lies_in(&path, folder)) {
            let advice = "choose a folder that is not for the run files or the logs";
            let problem = format!("{} is for files of the framework: {advice}", folder.display());
            return Err(BindError::new(&place.address, problem));
        }
        unix::check(place, &path)?;
        return Ok(file(&path).into_iter().collect());
    }
    match place.address.strip_prefix(UDP) {
        Some(text) => Ok(bind::reachable(text)?.into_iter().map(Spot::Udp).collect()),
        None => Ok(bind::reachable(&place.address)?.into_iter().map(Spot::Tcp).collect()),
    }
}

/// Whether a path is in a folder, or in one below it, by whatever names; either may not be there yet.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let real = |path: &Path| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let there = absolute.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
        match there {
            Some((above, real)) => real.join(absolute.strip_prefix(above).unwrap_or(Path::new(""))),
            None => absolute,
        }
    };
    path.parent().is_some_and(|parent| real(parent).starts_with(real(folder)))
}

/// Two names of one folder are one folder.
fn file(path: &Path) -> Option<Spot> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::fs::metadata(folder).ok()?;
    Some(Spot::File(folder.dev(), folder.ino(), path.file_name()?.to_owned()))
}

/// Whether `[::]` takes IPv4, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Families {
    Together,
    Apart,
}

/// Whether the kernel would refuse the second of them.
fn clash(one: &Spot, other: &Spot, families: Families) -> bool {
    match (one, other) {
        (Spot::Tcp(one), Spot::Tcp(other)) | (Spot::Udp(one), Spot::Udp(other)) => {
            one.port() != 0 && one.port() == other.port() && overlap(one, other, families)
        }
        (one, other) => one == other,
    }
}

/// Of two addresses with the same port.
fn overlap(one: &SocketAddr, other: &SocketAddr, families: Families) -> bool {
    let takes_all = |one: &SocketAddr, other: &SocketAddr| {
        let same_family = one.is_ipv4() == other.is_ipv4();
        one.ip().is_unspecified() && (same_family || (one.is_ipv6() && families == Families::Together))
    };
    let is_same = one.ip() == other.ip() && scope(one) == scope(other);
    is_same || takes_all(one, other) || takes_all(other, one)
}

/// The interface to which a link-local address belongs.
fn scope(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Spot {
        Spot::Tcp(address.parse().unwrap())
    }

    #[test]
    fn a_file_in_a_folder_is_known_by_any_name_of_the_folder() {
        let base = tempfile::tempdir().unwrap();
        let run = base.path().join("run");
        for there in [false, true] {
            for (path, inside) in [
                ("run/a.sock", true),
                ("run/below/a.sock", true),
                ("./run/a.sock", true),
                ("a.sock", false),
                ("runs/a.sock", false),
            ] {
                assert_eq!(lies_in(&base.path().join(path), &run), inside, "{path}");
            }
            if !there {
                std::fs::create_dir(&run).unwrap();
                std::os::unix::fs::symlink(&run, base.path().join("link")).unwrap();
            }
        }
        assert!(lies_in(&base.path().join("link/a.sock"), &run));
    }

    #[test]
    fn two_addresses_clash_where_one_takes_what_comes_to_the_other() {
        for (one, other, together, apart) in [
            ("127.0.0.1:80", "127.0.0.1:80", true, true),
            ("127.0.0.1:80", "127.0.0.1:81", false, false),
            ("127.0.0.1:0", "127.0.0.1:0", false, false),
            ("127.0.0.1:80", "127.0.0.2:80", false, false),
            ("127.0.0.1:80", "0.0.0.0:80", true, true),
            ("[::1]:80", "[::]:80", true, true),
            ("[::]:80", "0.0.0.0:80", true, false),
            ("127.0.0.1:80", "[::]:80", true, false),
            ("[::1]:80", "0.0.0.0:80", false, false),
            ("[fe80::1%2]:80", "[fe80::1%2]:80", true, true),
            ("[fe80::1%2]:80", "[fe80::1%3]:80", false, false),
            ("[fe80::1%2]:80", "[::]:80", true, true),
        ] {
            let clashes = |families| clash(&tcp(one), &tcp(other), families);
            assert_eq!(clashes(Families::Together), together, "{one} {other}");
            assert_eq!(clashes(Families::Apart), apart, "{one} {other}, apart");
        }
        let udp = Spot::Udp("127.0.0.1:80".parse().unwrap());
        assert!(!clash(&udp, &tcp("127.0.0.1:80"), Families::Together));
    }
}
