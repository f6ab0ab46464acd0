//! What a link asks of the kernel: a pair of sockets, an inherited end, bytes with descriptors both ways, and to be woken
//! when there are more.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg, sockopt,
};
use tokio::net::unix::pipe;

use super::decoder::Decoder;
use super::frame::MAX_DESCRIPTORS;

/// What one read takes from the socket.
const READ: usize = 64 << 10;

thread_local! {
    /// Where reads end up before the decoder takes them; made once, because clearing it costs more than most reads.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// A connected pair: our end, and the end that a child inherits as its standard input.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours.into(), theirs.into()))
}

/// Takes the link that the parent process left on stdin, and leaves `/dev/null` there, so that no grandchild
/// inherits it.
pub(crate) fn inherit() -> io::Result<OwnedFd> {
    let no_link = || io::Error::other("standard input is no link to a parent process");
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let family = sockopt::socket_domain(&socket).map_err(|_| no_link())?;
    let kind = sockopt::socket_type(&socket).map_err(|_| no_link())?;
    if (family, kind) != (AddressFamily::UNIX, SocketType::STREAM) {
        return Err(no_link());
    }
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(socket)
}

/// A connected socket. The runtime wakes nobody when it becomes writable, as it does whenever the other side has read:
/// who has something to write tries, and asks for [`Room`] when there is none.
#[derive(Debug)]
pub(super) struct Socket(pipe::Receiver);

/// What reads brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Bytes,
    End,
}

impl Socket {
    /// Must be called inside a runtime.
    pub(super) fn watch(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // Only its readiness is asked for, which is that of any descriptor.
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(socket)?))
    }

    /// Waits for bytes, and takes them with their descriptors. Cancel safe.
    pub(super) async fn receive(&self, decoder: &mut Decoder) -> io::Result<Received> {
        loop {
            self.0.readable().await?;
            tokio::task::consume_budget().await;
            let mut brought = None;
            let tried = self.0.try_io(|| {
                let (received, is_drained) = receive(self.as_fd(), decoder)?;
                brought = Some(received);
                // So the runtime waits for the next event, and saves a read that brings nothing.
                if is_drained { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (brought, tried) {
                (Some(received), _) => return Ok(received),
                (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Tells when a socket takes more bytes.
#[derive(Debug)]
pub(super) struct Room(pipe::Sender);

impl Room {
    /// Takes a descriptor of its own. Must be called inside a runtime.
    pub(super) fn watch(socket: &Socket) -> io::Result<Self> {
        let socket = rustix::io::fcntl_dupfd_cloexec(socket, 3)?;
        Ok(Self(pipe::Sender::from_owned_fd_unchecked(socket)?))
    }

    /// Waits until a write is worth an attempt. Cancel safe.
    pub(super) async fn there(&self) -> io::Result<()> {
        self.0.writable().await?;
        tokio::task::consume_budget().await;
        Ok(())
    }

    /// Tries to write; when that is in vain, there is no room before the next event.
    pub(super) fn attempt<T>(&self, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.try_io(write)
    }
}

/// One `recvmsg`, and whether nothing was left. It always has room for descriptors, because a plain read would silently
/// close them.
fn receive(socket: BorrowedFd<'_>, decoder: &mut Decoder) -> io::Result<(Received, bool)> {
    SCRATCH.with_borrow_mut(|bytes| receive_into(socket, bytes, decoder))
}

fn receive_into(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    decoder: &mut Decoder,
) -> io::Result<(Received, bool)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok((Received::End, false));
    }
    let is_stripped = received.flags.contains(ReturnFlags::CTRUNC);
    // A read ends behind descriptors, however much follows.
    let is_drained = received.bytes < bytes.len() && descriptors.is_empty() && !is_stripped;
    if is_stripped {
        decoder.feed_stripped(&bytes[..received.bytes]);
    } else {
        decoder.feed(&bytes[..received.bytes], descriptors);
    }
    Ok((Received::Bytes, is_drained))
}

/// Whether too many descriptors of this user are on their way, so that the kernel takes no more for now.
pub(super) fn is_congestion(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::TOOMANYREFS)
}

/// One `sendmsg`; descriptors go with its first byte.
pub(super) fn transmit(
    socket: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "more descriptors than one message can carry",
        ));
    }
    Ok(sendmsg(socket, slices, &mut ancillary, SendFlags::NOSIGNAL)?)
}
