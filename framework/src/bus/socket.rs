//! What a link asks of the kernel: a pair of sockets, an inherited end, and bytes with descriptors both ways.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg, sockopt,
};

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

/// What one read brought.
pub(super) enum Received {
    Bytes,
    End,
}

/// One `recvmsg`. It always has room for descriptors, because a plain read would silently close them.
pub(super) fn receive(socket: BorrowedFd<'_>, decoder: &mut Decoder) -> io::Result<Received> {
    SCRATCH.with_borrow_mut(|bytes| receive_into(socket, bytes, decoder))
}

fn receive_into(socket: BorrowedFd<'_>, bytes: &mut [u8], decoder: &mut Decoder) -> io::Result<Received> {
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
        return Ok(Received::End);
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        decoder.feed_stripped(&bytes[..received.bytes]);
    } else {
        decoder.feed(&bytes[..received.bytes], descriptors);
    }
    Ok(Received::Bytes)
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
