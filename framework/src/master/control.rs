//! The control socket: who may ask, and the way of a question to the loop and back.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, tokio::Listener, tokio::Stream};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::descriptors::MORE_FILES;
use super::event::{Event, Reply};
use super::reserve::{Reserve, is_shortage};
use super::shortage::Shortage;
use crate::bus::codec;
use crate::bus::control::{Answer, Request};
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::{self, Receiver, Sender};

/// How long a caller may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long nobody is accepted after it failed, and how often it is tried to keep a descriptor in reserve.
const AGAIN: Duration = Duration::from_millis(100);

/// How many answers may wait for one caller; what is more than that of news on the way is left out.
const ANSWERS: usize = 256;

/// How many callers are heard at the same time.
const CALLERS: usize = 64;

/// Binds the socket; only its owner may connect. Its file is removed by who holds the lock, not by the
/// listener, which may outlive the lock and would remove a successor's.
pub(crate) fn listen(path: &Path) -> io::Result<Listener> {
    ListenerOptions::new()
        .name(path.to_fs_name::<GenericFilePath>()?)
        .mode(0o600)
        .reclaim_name(false)
        .create_tokio()
}

/// Takes callers until the process ends. Two at a time are heard also when there is no descriptor left: a master that has
/// none must be reached by those who would stop it, also while somebody says nothing or waits for an answer.
pub(crate) async fn serve(listener: Listener, events: mpsc::Sender<Event>) {
    let places = Arc::new(Semaphore::new(CALLERS));
    let (mut reserve, mut shortage) = (Reserve::default(), Shortage::default());
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match accept(&listener, &mut reserve).await {
            Ok(stream) => {
                let events = events.clone();
                tokio::spawn(async move {
                    if let Err(problem) = converse(stream, events).await {
                        tracing::warn!("a caller on the control socket was sent away: {problem}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                if shortage.is_news(Instant::now()) {
                    tracing::warn!("the control socket cannot accept: {error}");
                }
                sleep(AGAIN).await;
            }
        }
    }
}

/// The next caller. Descriptors are kept in reserve while nobody comes.
async fn accept(listener: &Listener, reserve: &mut Reserve) -> io::Result<Stream> {
    loop {
        let patience = if reserve.keep() { Duration::MAX } else { AGAIN };
        match timeout(patience, listener.accept()).await {
            // The kernel looks for a descriptor before it looks for callers, of whom there may be none. Not to wait for
            // them here keeps what was given up from others.
            Ok(Err(error)) if reserve.helps(&error) => {
                let outcome = listener.accept().now_or_never();
                if let Some(Ok(_)) = &outcome {
                    tracing::warn!(
                        "{error}: a caller on the control socket has the last descriptor; {MORE_FILES}"
                    );
                }
                if let Some(outcome) = outcome {
                    return outcome;
                }
            }
            Ok(Err(error)) if is_shortage(&error) && !is_called(listener) => sleep(AGAIN).await,
            Ok(outcome) => return outcome,
            Err(_) => {}
        }
    }
}

/// Whether somebody waits to be accepted.
fn is_called(listener: &Listener) -> bool {
    let Listener::UdSocket(listener) = listener;
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&Timespec::default())) != Ok(0)
}

async fn converse(stream: Stream, events: mpsc::Sender<Event>) -> Result<(), String> {
    let Stream::UdSocket(stream) = stream;
    let socket = OwnedFd::try_from(stream).map_err(|error| error.to_string())?;
    let socket = admit(socket)?;
    let (mut receiver, sender) = link::open_short(socket).map_err(|error| error.to_string())?;
    let request = timeout(PATIENCE, receive(&mut receiver)).await;
    let request = match request.map_err(|_| format!("it asked nothing for {PATIENCE:?}"))? {
        Ok(request) => request,
        Err(problem) => {
            say(&sender, &Answer::Refused(problem.clone()))?;
            sender.flush().await;
            return Err(problem);
        }
    };
    let stops = matches!(request, Request::Stop { .. });
    let (reply, mut answers) = mpsc::channel(ANSWERS);
    events
        .send(Event::Control { request, reply: Reply(reply) })
        .await
        .map_err(|_| "the master is gone".to_owned())?;
    loop {
        let answer = answers.recv().await.ok_or("the master did not answer")?;
        say(&sender, &answer)?;
        if !matches!(answer, Answer::Progress(_)) {
            break;
        }
    }
    if stops {
        // The connection stays open until we are gone, which tells the caller so.
        let _ = receiver.next().await;
    }
    sender.flush().await;
    Ok(())
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

fn say(sender: &Sender, answer: &Answer) -> Result<(), String> {
    let body = codec::encode("an answer", answer).map_err(|error| error.to_string())?;
    sender.push(&Frame::new(Kind::Answer, 0, body)).map_err(|error| error.to_string())
}
