//! Sockets and files that go with a message: packed by the sender, taken out as what they are by the receiver.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::fs::{FileType, fstat};
use rustix::net::{AddressFamily, SocketType, sockopt};

use self::sealed::Nature;
use crate::mail::Letter;

/// A socket or a file that is sent with a message: any of the standard library's that are [`Attach`], and those of tokio
/// by `try_from`. The sender's own is closed when it was sent or given up; who needs it further on attaches a
/// `try_clone` of it. Clones are the same: who wants it back when it cannot be sent keeps one, and makes it a socket again
/// by [`take_back`](Self::take_back).
#[derive(Debug, Clone)]
pub struct Attachment(Arc<OwnedFd>);

impl Attachment {
    /// Makes it what it was before, or a socket of tokio's in place of one of the standard library's.
    ///
    /// ```no_run
    /// # use hatchery::{Attachment, Messenger, Peer, Topic};
    /// # use tokio::net::TcpStream;
    /// # async fn f<T: Topic>(messenger: Messenger, stream: TcpStream, message: T) -> hatchery::Result {
    /// let stream = Attachment::try_from(stream)?;
    /// if let Err(problem) = messenger.send_with(&Peer::worker("web", 9), &message, [stream.clone()]).await {
    ///     let stream: TcpStream = stream.take_back()?;
    ///     // Tell the client of the problem.
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When it is something else, or there is no free descriptor while clones of it live. It is closed then, unless a clone
    /// lives.
    pub fn take_back<A: Attach>(self) -> Result<A, TakeError> {
        check_nature::<A>(&self.0)?;
        unpack(self.0)
    }

    pub(super) fn into_descriptor(self) -> Arc<OwnedFd> {
        self.0
    }
}

/// What can go with a message: `TcpListener`, `TcpStream`, `UdpSocket` and `UnixStream` of the standard library and of
/// tokio, and `std::fs::File`, which also stands for folders, pipes and devices.
///
/// Whether it blocks is a property of the socket and not of the process: sockets of the standard library come as they were
/// sent, those of tokio are made not to block, at the other end, too.
pub trait Attach: sealed::Attach {}

mod sealed {
    use std::fmt;
    use std::io;
    use std::os::fd::OwnedFd;

    pub trait Attach: Sized {
        /// As what it can be taken out.
        const NATURES: &'static [Nature];

        fn of(descriptor: OwnedFd) -> io::Result<Self>;
    }

    /// What a descriptor is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Nature {
        TcpListener,
        TcpStream,
        UdpSocket,
        UnixStream,
        OtherSocket,
        File,
        Folder,
        Pipe,
        Device,
        Other,
    }

    impl fmt::Display for Nature {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Self::TcpListener => "a TCP listener",
                Self::TcpStream => "a TCP stream",
                Self::UdpSocket => "a UDP socket",
                Self::UnixStream => "a Unix stream",
                Self::OtherSocket => "a socket of another kind",
                Self::File => "a file",
                Self::Folder => "a folder",
                Self::Pipe => "a pipe",
                Self::Device => "a device",
                Self::Other => "neither a socket nor a file",
            })
        }
    }
}

macro_rules! attach {
    ($($name:ty, [$($nature:ident),+];)*) => {$(
        impl Attach for $name {}

        impl sealed::Attach for $name {
            const NATURES: &'static [Nature] = &[$(Nature::$nature),+];

            fn of(descriptor: OwnedFd) -> io::Result<Self> {
                Ok(descriptor.into())
            }
        }

        impl From<$name> for Attachment {
            fn from(attached: $name) -> Self {
                Self(Arc::new(attached.into()))
            }
        }
    )*};
}

macro_rules! attach_of_tokio {
    ($($name:ty, $std:ty;)*) => {$(
        impl Attach for $name {}

        impl sealed::Attach for $name {
            const NATURES: &'static [Nature] = <$std as sealed::Attach>::NATURES;

            fn of(descriptor: OwnedFd) -> io::Result<Self> {
                let socket = <$std>::from(descriptor);
                socket.set_nonblocking(true)?;
                Self::from_std(socket)
            }
        }

        impl TryFrom<$name> for Attachment {
            type Error = io::Error;

            fn try_from(attached: $name) -> io::Result<Self> {
                attached.into_std().map(Self::from)
            }
        }
    )*};
}

attach! {
    TcpListener, [TcpListener];
    TcpStream, [TcpStream];
    UdpSocket, [UdpSocket];
    UnixStream, [UnixStream];
    File, [File, Folder, Pipe, Device];
}

attach_of_tokio! {
    tokio::net::TcpListener, TcpListener;
    tokio::net::TcpStream, TcpStream;
    tokio::net::UdpSocket, UdpSocket;
    tokio::net::UnixStream, UnixStream;
}

/// An attachment that cannot be taken out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// Nothing is there, or nothing more.
    #[error("the message has no attachment left")]
    Nothing,
    /// What was attached did not arrive, because a process on the way had no free descriptor.
    #[error("the attachments were lost: no descriptor was free; raise the limit of open files")]
    Lost,
    /// It is something else, and stays where it is.
    #[error("the attachment is {found}, not {wanted}")]
    Other {
        /// What was wanted, such as `a TCP stream`.
        wanted: String,
        /// What it is, such as `a TCP listener`.
        found: String,
    },
    /// It cannot be used.
    #[error("the attachment cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// What came with a message and was not taken out yet.
#[derive(Debug)]
pub(super) struct Attachments {
    waiting: VecDeque<Arc<OwnedFd>>,
    lost: bool,
}

impl Attachments {
    /// Of a message; `None` for most, which have none.
    pub(super) fn of(letter: &mut Letter) -> Option<Box<Self>> {
        let waiting: VecDeque<_> = std::mem::take(&mut letter.descriptors).into();
        let lost = letter.lost_descriptors;
        (lost || !waiting.is_empty()).then(|| Box::new(Self { waiting, lost }))
    }

    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Takes out the next one, if it is what is wanted.
    pub(super) fn take<A: Attach>(&mut self) -> Result<A, TakeError> {
        let nothing = || if self.lost { TakeError::Lost } else { TakeError::Nothing };
        check_nature::<A>(self.waiting.front().ok_or_else(nothing)?)?;
        unpack(self.waiting.pop_front().ok_or(TakeError::Nothing)?)
    }
}

fn check_nature<A: Attach>(descriptor: impl AsFd) -> Result<(), TakeError> {
    let nature = nature_of(descriptor)?;
    if A::NATURES.contains(&nature) {
        return Ok(());
    }
    Err(TakeError::Other { wanted: A::NATURES[0].to_string(), found: nature.to_string() })
}

/// Others may have it, too: further subscriptions of this process, or whoever kept a clone.
fn unpack<A: Attach>(descriptor: Arc<OwnedFd>) -> Result<A, TakeError> {
    let own = Arc::try_unwrap(descriptor).or_else(|shared| shared.try_clone())?;
    Ok(A::of(own)?)
}

fn nature_of(descriptor: impl AsFd) -> io::Result<Nature> {
    Ok(match FileType::from_raw_mode(fstat(&descriptor)?.st_mode) {
        FileType::Socket => socket_nature(descriptor)?,
        FileType::RegularFile => Nature::File,
        FileType::Directory => Nature::Folder,
        FileType::Fifo => Nature::Pipe,
        FileType::CharacterDevice | FileType::BlockDevice => Nature::Device,
        _ => Nature::Other,
    })
}

fn socket_nature(socket: impl AsFd) -> io::Result<Nature> {
    let listens = sockopt::socket_acceptconn(&socket)?;
    let is_inet = |family| matches!(family, AddressFamily::INET | AddressFamily::INET6);
    Ok(match (sockopt::socket_domain(&socket)?, sockopt::socket_type(&socket)?) {
        (family, SocketType::STREAM) if is_inet(family) && listens => Nature::TcpListener,
        (family, SocketType::STREAM) if is_inet(family) => Nature::TcpStream,
        (family, SocketType::DGRAM) if is_inet(family) => Nature::UdpSocket,
        (AddressFamily::UNIX, SocketType::STREAM) if !listens => Nature::UnixStream,
        _ => Nature::OtherSocket,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(attachments: Vec<Attachment>) -> Attachments {
        Attachments {
            waiting: attachments.into_iter().map(Attachment::into_descriptor).collect(),
            lost: false,
        }
    }

    #[test]
    fn each_is_taken_out_as_what_it_is_and_as_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (pipe, _) = io::pipe().unwrap();
        let pair = UnixStream::pair().unwrap();
        let mut attachments = packed(vec![
            TcpStream::connect(address).unwrap().into(),
            listener.into(),
            UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.0.0.1:0")).unwrap().into(),
            pair.0.into(),
            tempfile::tempfile().unwrap().into(),
            File::from(OwnedFd::from(pipe)).into(),
            File::open("/").unwrap().into(),
        ]);
        let error = attachments.take::<TcpListener>().unwrap_err().to_string();
        assert_eq!(error, "the attachment is a TCP stream, not a TCP listener");
        attachments.take::<TcpStream>().unwrap();
        let error = attachments.take::<File>().unwrap_err().to_string();
        assert_eq!(error, "the attachment is a TCP listener, not a file");
        attachments.take::<TcpListener>().unwrap();
        attachments.take::<UdpSocket>().unwrap();
        attachments.take::<UnixStream>().unwrap();
        for left in [3, 2, 1] {
            assert_eq!(attachments.count(), left);
            attachments.take::<File>().unwrap();
        }
        assert!(matches!(attachments.take::<File>(), Err(TakeError::Nothing)));
    }

    #[test]
    fn sockets_of_other_kinds_are_named_as_such() {
        let (datagram, _) = std::os::unix::net::UnixDatagram::pair().unwrap();
        assert_eq!(nature_of(&datagram).unwrap(), Nature::OtherSocket);
        let own = rustix::process::getpid();
        let process = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).unwrap();
        assert!(matches!(nature_of(&process).unwrap(), Nature::Other | Nature::File));
    }

    #[tokio::test]
    async fn what_was_not_sent_becomes_a_socket_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let attachment = Attachment::try_from(listener).unwrap();
        let sent = attachment.clone().into_descriptor();
        let wrong = attachment.clone().take_back::<TcpStream>().unwrap_err().to_string();
        assert_eq!(wrong, "the attachment is a TCP listener, not a TCP stream");
        let listener: tokio::net::TcpListener = attachment.take_back().unwrap();
        drop(sent);
        assert_eq!(listener.local_addr().unwrap(), address);
        let _client = TcpStream::connect(address).unwrap();
        listener.accept().await.unwrap();
    }

    #[tokio::test]
    async fn what_several_subscriptions_share_is_whole_for_each() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let attachment = Attachment::try_from(listener).unwrap();
        let mut both = [packed(vec![attachment.clone()]), packed(vec![attachment])];
        for attachments in &mut both {
            let listener: tokio::net::TcpListener = attachments.take().unwrap();
            assert_eq!(listener.local_addr().unwrap(), address);
        }
    }
}
