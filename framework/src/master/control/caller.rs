//! One caller on the control socket: whether it may ask, what it wants, and how it is told.

use std::os::fd::OwnedFd;

use interprocess::local_socket::tokio::Stream;
use tokio::net::UnixStream;

use crate::bus::codec;
use crate::bus::control::{Answer, Request};
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::{self, Receiver, Sender};

/// A caller who has said what it wants.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    pub(super) request: Request,
}

/// What a caller wants. Who says it wrongly is told so.
pub(super) async fn hear(stream: Stream) -> Result<Caller, String> {
    let Stream::UdSocket(stream) = stream;
    let socket = OwnedFd::try_from(stream).map_err(|error| error.to_string())?;
    let socket = admit(socket)?;
    let (mut receiver, sender) = link::open_short(socket).map_err(|error| error.to_string())?;
    match receive(&mut receiver).await {
        Ok(request) => Ok(Caller { receiver, sender, request }),
        Err(problem) => {
            say(&sender, &Answer::Refused(problem.clone()))?;
            sender.flush().await;
            Err(problem)
        }
    }
}

/// Only the same user and root may control an instance. Opens nothing: there may be no descriptor left.
fn admit(socket: OwnedFd) -> Result<OwnedFd, String> {
    let ours = rustix::process::geteuid().as_raw();
    let stream = UnixStream::from_std(socket.into()).map_err(|error| error.to_string())?;
    // A caller from outside of our pid namespace has no number here, but is a user all the same.
    let peer = stream.peer_cred().map_err(|error| error.to_string())?;
    if peer.uid() == ours || peer.uid() == 0 {
        return stream.into_std().map(OwnedFd::from).map_err(|error| error.to_string());
    }
    let process = peer.pid().map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
    Err(format!("{process} of user {} may not control this instance", peer.uid()))
}

async fn receive(receiver: &mut Receiver) -> Result<Request, String> {
    let frame = receiver.next().await.map_err(|error| error.to_string())?;
    let frame = frame.ok_or("it left without asking")?;
    if frame.kind() != Kind::Request {
        return Err(format!("it sent a frame of the kind {:?}, not a request", frame.kind()));
    }
    codec::decode("a request", frame.payload()).map_err(|error| error.to_string())
}

/// Sends an answer, as far as it is taken.
pub(super) fn say(sender: &Sender, answer: &Answer) -> Result<(), String> {
    let body = codec::encode("an answer", answer).map_err(|error| error.to_string())?;
    sender.push(&Frame::new(Kind::Answer, 0, body)).map_err(|error| error.to_string())
}
