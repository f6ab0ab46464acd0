//! Where connections come from, and what they are before HTTP: TCP and Unix sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, getsockname, recv, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::bell::Bell;
use crate::tls::Acceptor;

/// The address of a client, where it has one.
pub(super) type Peer = Option<SocketAddr>;

/// A listening socket that all workers of a group share.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(super) socket: Arc<OwnedFd>,
    pub(super) bell: Bell,
    /// How its handshakes are answered, if it speaks TLS.
    pub(super) tls: Option<Arc<Acceptor>>,
    family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Inet,
    Unix,
}

fn family(fd: &OwnedFd) -> io::Result<Family> {
    if sockopt::socket_type(fd)? != SocketType::STREAM {
        return Err(unfit("the inherited socket is not a stream socket"));
    }
    match getsockname(fd)?.address_family() {
        AddressFamily::INET | AddressFamily::INET6 => Ok(Family::Inet),
        AddressFamily::UNIX => Ok(Family::Unix),
        other => Err(unfit(&format!("the inherited socket has family {}, want TCP or Unix", other.as_raw()))),
    }
}

fn unfit(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

impl Listener {
    /// Takes over an inherited listening socket, TCP or Unix, with the bell of those who share it.
    ///
    /// # Errors
    /// When it is neither, or does not listen.
    pub(crate) fn new(socket: Arc<OwnedFd>, bell: Bell) -> io::Result<Self> {
        if !sockopt::socket_acceptconn(&socket)? {
            return Err(unfit("the inherited socket does not listen"));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        let family = family(&socket)?;
        if family == Family::Inet {
            // What it accepts inherits this, which saves a call per connection.
            sockopt::set_tcp_nodelay(&socket, true)?;
        }
        Ok(Self { socket, bell, tls: None, family })
    }

    /// Has it speak TLS, if this is some.
    pub(super) fn with_tls(self, tls: Option<Arc<Acceptor>>) -> Self {
        Self { tls, ..self }
    }

    /// The next connection, if one waits.
    pub(super) fn accept(&self) -> io::Result<Option<(Stream, Peer)>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::acceptfrom_with(&self.socket, flags) {
            Ok((socket, peer)) => {
                let peer = peer.and_then(|address| address.try_into().ok());
                Ok(Some((Stream::new(socket, self.family)?, peer)))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A connection, TCP or Unix.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Up to this many bytes, copying a head and its body together costs less than a vectored write.
const JOINED: usize = 1024;

/// All of `bufs` in one piece, where that fits into `space`.
fn join<'a>(bufs: &[io::IoSlice<'_>], space: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for buf in bufs {
        let end = length + buf.len();
        space.get_mut(length..end)?.copy_from_slice(buf);
        length = end;
    }
    Some(&space[..length])
}

/// Calls one method on whichever stream it is.
macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl Stream {
    fn new(socket: OwnedFd, family: Family) -> io::Result<Self> {
        Ok(match family {
            Family::Inet => Self::Tcp(TcpStream::from_std(socket.into())?),
            Family::Unix => Self::Unix(UnixStream::from_std(socket.into())?),
        })
    }

    /// A connection that another process accepted; only at a Unix socket a client has no address.
    pub(super) fn handed_over(socket: OwnedFd, peer: Peer) -> io::Result<Self> {
        Self::new(socket, if peer.is_some() { Family::Inet } else { Family::Unix })
    }

    /// Waits for bytes and looks at them, without taking them; none means that the client has closed its half. Cancel
    /// safe.
    pub(super) async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.async_io(Interest::READABLE, || peek(stream, buf)).await,
            Self::Unix(stream) => stream.async_io(Interest::READABLE, || peek(stream, buf)).await,
        }
    }

    /// Ready when the client has closed its half; otherwise wakes the task when something comes.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let ready = match self {
                Self::Tcp(stream) => ready!(stream.poll_read_ready(cx)),
                Self::Unix(stream) => ready!(stream.poll_read_ready(cx)),
            };
            let peeked = ready.and_then(|()| match self {
                Self::Tcp(stream) => stream.try_io(Interest::READABLE, || peek(stream, &mut [0; 1])),
                Self::Unix(stream) => stream.try_io(Interest::READABLE, || peek(stream, &mut [0; 1])),
            });
            match peeked {
                Ok(0) => return Poll::Ready(()),
                // The next request waits, and hides whether an end follows.
                Ok(_) => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }
}

fn peek(stream: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    let (_, length) = recv(stream, buf, RecvFlags::PEEK)?;
    Ok(length)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut joined = [0; JOINED];
        match join(bufs, &mut joined) {
            Some(bytes) => self.poll_write(cx, bytes),
            None => either!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
