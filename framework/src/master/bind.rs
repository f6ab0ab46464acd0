//! Binds the sockets that an address means, and explains why one cannot be bound.

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

/// How many connections may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

pub(super) const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {problem}")]
pub(crate) struct BindError {
    address: String,
    problem: String,
}

/// Where connections to an address wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// In one queue for all workers.
    One,
    /// Each slot has a socket, and a queue, of its own.
    OfEachSlot,
}

impl BindError {
    pub(super) fn new(address: &str, problem: impl Display) -> Self {
        Self { address: address.to_owned(), problem: problem.to_string() }
    }

    pub(super) fn too_many(address: &str, most: usize) -> Self {
        Self::new(address, format!("{most} sockets are the most; listen on fewer addresses"))
    }
}

/// A bound socket, and its address.
type Bound<T = OwnedFd> = (T, SocketAddr);

/// Binds all addresses that `host:port` stands for, and tells them. With port 0 they get one and the same. Those of a
/// name that this machine does not have are left out, as long as there are others.
pub(super) fn tcp(text: &str, queue: Queue) -> Result<Vec<Bound>, BindError> {
    all(text, |address| bind_tcp(address, queue))
}

/// The same for UDP.
pub(super) fn udp(text: &str) -> Result<Vec<Bound>, BindError> {
    all(text, bind_udp)
}

/// The addresses that `host:port` stands for and this machine has, without binding them: others may listen there.
pub(super) fn reachable(text: &str) -> Result<Vec<SocketAddr>, BindError> {
    let look = |address: &SocketAddr| {
        let mut somewhere = *address;
        somewhere.set_port(0);
        bind(socket_with(family(address), SocketType::DGRAM, FLAGS, None)?, &somewhere)?;
        Ok(((), *address))
    };
    Ok(all(text, look)?.into_iter().map(|((), address)| address).collect())
}

fn all<T>(
    text: &str,
    bind: impl Fn(&SocketAddr) -> io::Result<Bound<T>>,
) -> Result<Vec<Bound<T>>, BindError> {
    let failed = |address: &SocketAddr, error: &io::Error| {
        let place = if address.to_string() == text { text.to_owned() } else { format!("{text} ({address})") };
        BindError::new(&place, explain(error))
    };
    let mut bound: Vec<Bound<T>> = Vec::new();
    let mut missing = None;
    for mut address in resolve(text).map_err(|problem| BindError::new(text, problem))? {
        if let (0, Some((_, first))) = (address.port(), bound.first()) {
            address.set_port(first.port());
        }
        match bind(&address) {
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
pub(super) fn resolve(address: &str) -> Result<Vec<SocketAddr>, String> {
    let advice = "write host:port, such as 127.0.0.1:7001, unix:PATH, udp:host:port or systemd:NAME";
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

fn bind_udp(address: &SocketAddr) -> io::Result<Bound> {
    let socket = socket_with(family(address), SocketType::DGRAM, FLAGS, None)?;
    bind(&socket, address)?;
    let bound = std::net::UdpSocket::from(socket);
    let address = bound.local_addr()?;
    Ok((bound.into(), address))
}

fn bind_tcp(address: &SocketAddr, queue: Queue) -> io::Result<Bound> {
    let socket = tcp_socket(address)?;
    bind(&socket, address)?;
    if queue == Queue::OfEachSlot {
        // Only now: before, it would have shared the address with a stranger.
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    listen(&socket, BACKLOG)?;
    let bound = std::net::TcpListener::from(socket);
    let address = bound.local_addr()?;
    Ok((bound.into(), address))
}

/// Binds once more what was bound as the queue of each slot: the kernel chooses among those that listen.
pub(super) fn join(address: &SocketAddr) -> io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn family(address: &SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

fn tcp_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let socket = socket_with(family(address), SocketType::STREAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(socket)
}

pub(super) fn explain(error: &io::Error) -> String {
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
    use super::*;

    #[test]
    fn each_slot_can_bind_what_no_stranger_listens_on() {
        let [(first, address)] = tcp("127.0.0.1:0", Queue::OfEachSlot).unwrap().try_into().unwrap();
        let _second = join(&address).unwrap();
        assert!(tcp(&address.to_string(), Queue::OfEachSlot).is_err(), "the first of another cluster");
        drop(first);
        let (stranger, address) = tcp("127.0.0.1:0", Queue::One).unwrap().remove(0);
        assert!(join(&address).is_err());
        drop(stranger);
    }

    #[test]
    fn a_link_local_address_is_looked_for_at_its_interface() {
        // Without the interface the kernel calls it an invalid argument, whether it is there or not.
        let said = reachable("[fe80::1:2:3:4%1]:7001").err().map(|error| error.to_string());
        assert!(!said.as_ref().is_some_and(|said| said.contains("Invalid argument")), "{said:?}");
    }

    #[test]
    fn every_address_of_a_name_is_bound_with_the_same_port() {
        let addresses: Vec<SocketAddr> =
            tcp("localhost:0", Queue::One).unwrap().into_iter().map(|(_, address)| address).collect();
        let known = resolve("localhost:0").unwrap();
        assert!(!addresses.is_empty() && addresses.len() <= known.len());
        assert!(addresses.iter().all(|one| one.port() == addresses[0].port() && one.port() != 0));
        assert!(addresses.iter().all(|one| known.iter().any(|known| known.ip() == one.ip())));
    }
}
