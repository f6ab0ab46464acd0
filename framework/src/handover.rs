//! The way by which connections go to a worker: a pair of sockets, and messages with the descriptors of a few of them
//! each. What the worker has not received yet, the sender can take back, because it keeps the receiving end, too.

mod label;

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
};

use label::LENGTH;

/// Says nothing and carries nothing; to see whether anybody receives.
const KNOCK: u8 = u8::MAX;

/// The most listeners whose connections can be told apart.
pub(crate) const MAX_DOORS: usize = KNOCK as usize;

/// The most connections that one message carries.
pub(crate) const BUNDLE: usize = 8;

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
    /// A bundle of connections. Those for which the receiver had no descriptors left are closed.
    Connections {
        came: Vec<Connection>,
        lost: usize,
    },
    Knock,
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

    /// Hands up to [`BUNDLE`] connections over. They may be closed here afterwards; on an error none has gone anywhere.
    pub(crate) fn send(&self, bundle: &[Connection]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BUNDLE))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = bundle.iter().map(|one| one.socket.as_fd()).collect();
        if bundle.len() > BUNDLE || !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(Errno::INVAL.into());
        }
        let labels: Vec<_> = bundle.iter().map(|one| label::write(one.door, one.client)).collect();
        sendmsg(&self.ours, &[IoSlice::new(labels.as_flattened())], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Leaves something there that the worker takes away when it comes round.
    pub(crate) fn knock(&self) -> io::Result<()> {
        let mut nothing = SendAncillaryBuffer::default();
        sendmsg(&self.ours, &[IoSlice::new(&label::write(KNOCK, None))], &mut nothing, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// How many connections and knocks the worker has not received.
    pub(crate) fn lying(&self) -> usize {
        rustix::io::ioctl_fionread(&*self.theirs)
            .map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0) / LENGTH)
    }

    /// Takes one message back, if one lies there.
    ///
    /// # Errors
    /// When there are hardly any descriptors free, so that some of what it brings could be lost. Nothing is taken then.
    pub(crate) fn take_back(&self) -> io::Result<Option<Message>> {
        let Ok(count) = peek(&self.theirs) else { return Ok(None) };
        self.check_room(count)?;
        Ok(receive(&self.theirs).ok())
    }

    /// Others open descriptors meanwhile, and the worker may take the message that was looked at: so there must be room for
    /// a bundle more.
    fn check_room(&self, count: usize) -> io::Result<()> {
        let spare = (0..count + BUNDLE).map(|_| fcntl_dupfd_cloexec(&self.theirs, 0));
        spare.collect::<Result<Vec<_>, _>>().map(drop)?;
        Ok(())
    }
}

/// How many connections the next message brings, without taking it; `WouldBlock` when there is none.
///
/// # Errors
/// When there is none, or the socket is broken.
pub(crate) fn peek(socket: impl AsFd) -> io::Result<usize> {
    let (_, length) = recv(socket, &mut [0; LENGTH * BUNDLE], RecvFlags::PEEK)?;
    Ok(length / LENGTH)
}

/// Receives one message; `WouldBlock` when there is none.
///
/// # Errors
/// When there is none, or the socket is broken.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Message> {
    let mut labels = [[0; LENGTH]; BUNDLE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BUNDLE))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let bytes = &mut [IoSliceMut::new(labels.as_flattened_mut())];
        match recvmsg(&socket, bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    // Where room ends, the first of them have come.
    let sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let labels = labels[..received.bytes / LENGTH].iter().map(label::read);
    Ok(match labels.clone().next() {
        None => Message::End,
        Some((KNOCK, _)) => Message::Knock,
        Some(_) => {
            let count = labels.len();
            let whole = |((door, client), socket)| Connection { door, client, socket };
            let came: Vec<_> = labels.zip(sockets.flatten()).map(whole).collect();
            Message::Connections { lost: count - came.len(), came }
        }
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
        way.send(&[sent]).unwrap();
        assert_eq!(way.lying(), 1);
        let end = way.receiving_end();
        let received = received(receive(&end).unwrap()).remove(0);
        assert_eq!((received.door, received.client), (7, Some(([203, 0, 113, 7], 7001).into())));
        std::fs::File::from(received.socket).write_all(b"x").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), way.lying()), ("x", 0));
    }

    fn received(message: Message) -> Vec<Connection> {
        let Message::Connections { came, lost: 0 } = message else { panic!("want connections: {message:?}") };
        came
    }

    fn doors(message: Option<Message>) -> Vec<u8> {
        received(message.unwrap()).iter().map(|one| one.door).collect()
    }

    #[test]
    fn each_message_is_received_once_by_whom_it_was_meant_for_or_by_the_sender() {
        let way = Handover::new().unwrap();
        for door in 0..3 {
            way.send(&[connection(door).1]).unwrap();
        }
        way.knock().unwrap();
        assert_eq!(way.lying(), 4);
        let end = way.receiving_end();
        assert_eq!(doors(receive(&end).ok()), [0]);
        assert_eq!(doors(way.take_back().unwrap()), [1]);
        assert_eq!(doors(receive(&end).ok()), [2]);
        assert!(matches!(way.take_back(), Ok(Some(Message::Knock))));
        assert!(matches!(way.take_back(), Ok(None)));
        assert_eq!(receive(&end).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_bundle_goes_as_a_whole_and_is_counted_by_what_is_in_it() {
        let way = Handover::new().unwrap();
        let bundle = |count| (0..count).map(|door| connection(door).1).collect::<Vec<_>>();
        let most = u8::try_from(BUNDLE).unwrap();
        way.send(&bundle(most)).unwrap();
        way.send(&bundle(2)).unwrap();
        let end = way.receiving_end();
        assert_eq!((way.lying(), peek(&end).unwrap()), (BUNDLE + 2, BUNDLE));
        assert_eq!(doors(receive(&end).ok()), (0..most).collect::<Vec<_>>());
        assert_eq!((way.lying(), peek(&end).unwrap()), (2, 2));
        assert_eq!(doors(way.take_back().unwrap()), [0, 1]);
        assert_eq!(peek(&end).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(way.send(&bundle(most + 1)).is_err());
        assert_eq!(way.lying(), 0);
    }

    #[test]
    fn what_lies_there_survives_the_sender_and_then_it_ends() {
        let way = Handover::new().unwrap();
        way.send(&[connection(0).1]).unwrap();
        let end = way.receiving_end();
        drop(way);
        assert_eq!(doors(receive(&end).ok()), [0]);
        assert!(matches!(receive(&end), Ok(Message::End)));
    }
}
