//! The way by which connections go to a worker: a pair of sockets, and messages with one descriptor each. What the
//! worker has not received yet, the sender can take back, because it keeps the receiving end, too.

mod label;

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use label::LENGTH;

/// Says nothing and carries nothing; to see whether anybody receives.
const KNOCK: u8 = u8::MAX;

/// The most listeners whose connections can be told apart.
pub(crate) const MAX_DOORS: usize = KNOCK as usize;

/// A connection that somebody else accepted.
#[derive(Debug)]
pub(crate) struct Connection {
    /// By which of the sender's listeners it came.
    pub(crate) door: u8,
    /// The client; a client at a Unix socket has no address.
    pub(crate) client: Option<SocketAddr>,
    pub(crate) socket: OwnedFd,
}

/// What one message brought.
#[derive(Debug)]
pub(crate) enum Message {
    Connection(Connection),
    Knock,
    /// The receiver has no room for a further descriptor; the connection is closed.
    Lost,
    /// The sender is gone.
    End,
}

/// The sender's side, with the receiving end kept.
#[derive(Debug)]
pub(crate) struct Handover {
    ours: OwnedFd,
    theirs: Arc<OwnedFd>,
}

impl Handover {
    /// A new way; nothing on it ever waits.
    ///
    /// # Errors
    /// When the limit of open files is reached.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok(Self { ours, theirs: Arc::new(theirs) })
    }

    /// The end that the worker gets.
    pub(crate) fn receiving_end(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.theirs)
    }

    /// Hands a connection over. It may be closed here afterwards; on an error it has not gone anywhere.
    pub(crate) fn send(&self, connection: &Connection) -> io::Result<()> {
        let Connection { door, client, socket } = connection;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [socket.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(
            &self.ours,
            &[IoSlice::new(&label::write(*door, *client))],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// Leaves something there that the worker takes away when it comes round.
    pub(crate) fn knock(&self) -> io::Result<()> {
        let mut nothing = SendAncillaryBuffer::default();
        sendmsg(&self.ours, &[IoSlice::new(&label::write(KNOCK, None))], &mut nothing, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// How many messages the worker has not received.
    pub(crate) fn lying(&self) -> usize {
        rustix::io::ioctl_fionread(&*self.theirs)
            .map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0) / LENGTH)
    }

    /// Takes one message back, if one lies there.
    pub(crate) fn take_back(&self) -> Option<Message> {
        receive(&self.theirs).ok()
    }
}

/// Receives one message; `WouldBlock` when there is none.
///
/// # Errors
/// When there is none, or the socket is broken.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Message> {
    let mut label = [0; LENGTH];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut label)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let socket = sockets.next().and_then(|mut rights| rights.next());
    let (door, client) = label::read(&label);
    Ok(match (received.bytes, door, socket) {
        (0, ..) => Message::End,
        (_, KNOCK, _) => Message::Knock,
        (_, door, Some(socket)) if !received.flags.contains(ReturnFlags::CTRUNC) => {
            Message::Connection(Connection { door, client, socket })
        }
        _ => Message::Lost,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// What stands for a connection of a client, and its other end.
    fn connection(door: u8) -> (std::io::PipeReader, Connection) {
        let (reader, writer) = std::io::pipe().unwrap();
        let client = Some(([203, 0, 113, door], 7001).into());
        (reader, Connection { door, client, socket: writer.into() })
    }

    #[test]
    fn what_is_handed_over_lives_on_when_the_sender_closes_it() {
        let way = Handover::new().unwrap();
        let (mut reader, sent) = connection(7);
        way.send(&sent).unwrap();
        drop(sent);
        assert_eq!(way.lying(), 1);
        let end = way.receiving_end();
        let Message::Connection(received) = receive(&end).unwrap() else { panic!("no connection") };
        assert_eq!((received.door, received.client), (7, Some(([203, 0, 113, 7], 7001).into())));
        std::fs::File::from(received.socket).write_all(b"x").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), way.lying()), ("x", 0));
    }

    #[test]
    fn each_message_is_received_once_by_whom_it_was_meant_for_or_by_the_sender() {
        let way = Handover::new().unwrap();
        for door in 0..3 {
            way.send(&connection(door).1).unwrap();
        }
        way.knock().unwrap();
        assert_eq!(way.lying(), 4);
        let end = way.receiving_end();
        assert!(matches!(receive(&end), Ok(Message::Connection(Connection { door: 0, .. }))));
        assert!(matches!(way.take_back(), Some(Message::Connection(Connection { door: 1, .. }))));
        assert!(matches!(receive(&end), Ok(Message::Connection(Connection { door: 2, .. }))));
        assert!(matches!(way.take_back(), Some(Message::Knock)));
        assert!(way.take_back().is_none());
        assert_eq!(receive(&end).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_lies_there_survives_the_sender_and_then_it_ends() {
        let way = Handover::new().unwrap();
        way.send(&connection(0).1).unwrap();
        let end = way.receiving_end();
        drop(way);
        assert!(matches!(receive(&end), Ok(Message::Connection(_))));
        assert!(matches!(receive(&end), Ok(Message::End)));
    }
}
