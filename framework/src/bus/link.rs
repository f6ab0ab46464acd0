//! A link: one end of a socket pair between the master and a child, or of a control connection, carrying
//! frames and descriptors both ways. End of file on it is the other side's death.

mod left;
mod load;
mod patience;
mod push;
mod queue;
mod receiver;
mod sender;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::decoder::Decoder;
use super::frame::{FrameError, MAX_LENGTH};
use super::outbox::LIMIT;
use super::socket::Socket;

pub(crate) use self::receiver::{Arrival, Receiver};
pub(crate) use self::sender::{Fill, SendError, Sender};
pub(crate) use super::socket::{inherit, pair};

/// The most bytes of a frame from a caller who has little to say.
const SHORT: usize = 64 << 10;

/// Why a link carries nothing more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the link failed: {0}")]
    Io(#[from] io::Error),
    #[error("the other side sent what is no frame: {0}")]
    Frame(#[from] FrameError),
    #[error("the other side left in the middle of a frame")]
    CutShort,
}

/// Makes a link of a connected socket: a half that receives, and a half that sends, served by a task.
///
/// Must be called inside a runtime.
pub(crate) fn open(socket: OwnedFd) -> io::Result<(Receiver, Sender)> {
    open_with(socket, Decoder::new(MAX_LENGTH), LIMIT)
}

/// Like [`open`], for the master's end of the link with a child: so many bytes may wait to be written.
pub(crate) fn open_queueing(socket: OwnedFd, waiting: usize) -> io::Result<(Receiver, Sender)> {
    open_with(socket, Decoder::of_child(MAX_LENGTH), waiting)
}

/// Like [`open`], for a caller who has little to say: longer frames are refused, and descriptors, too.
pub(crate) fn open_short(socket: OwnedFd) -> io::Result<(Receiver, Sender)> {
    open_with(socket, Decoder::of_caller(SHORT), LIMIT)
}

fn open_with(socket: OwnedFd, decoder: Decoder, waiting: usize) -> io::Result<(Receiver, Sender)> {
    let socket = Arc::new(Socket::watch(socket)?);
    Ok((Receiver::new(Arc::clone(&socket), decoder), Sender::new(socket, waiting)))
}

#[cfg(test)]
mod tests;
