//! The control socket, and the way of a question to the loop and back. What a caller says is `caller`'s to find out; those
//! who have said nothing yet wait apart (`silent`); how a request is carried out is the cluster's business.

mod caller;
mod silent;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, tokio::Listener, tokio::Stream};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use self::caller::{Caller, say};
use self::silent::{Heard, Silent};
use super::descriptors::MORE_FILES;
use super::event::{Event, Reply};
use super::reserve::{Reserve, is_shortage};
use super::shortage::Shortage;
use crate::bus::control::{Answer, Request};
use crate::bus::link::Sender;

/// How long a caller has to read the rest of its answer.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// How long nobody is accepted after it failed, and how often it is tried to keep a descriptor in reserve.
const AGAIN: Duration = Duration::from_millis(100);

/// How many answers may wait for one caller; what is more than that of news on the way is left out.
const ANSWERS: usize = 256;

/// How many requests are under way at the same time.
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
    let (mut reserve, mut shortage, mut silence) =
        (Reserve::default(), Shortage::default(), Shortage::default());
    let mut silent = Silent::default();
    loop {
        tokio::select! {
            Some(heard) = silent.next() => match heard {
                Heard::Asked(caller) => start(caller, &places, events.clone()),
                Heard::Wrong(problem) => send_away(&problem),
                Heard::Nothing => {
                    if silence.is_news(Instant::now()) {
                        send_away("it asked nothing in time");
                    }
                }
            },
            accepted = accept(&listener, &mut reserve) => match accepted {
                Ok(stream) => {
                    silent.take(stream);
                    // Whoever has spoken already is heard before others push it out.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    if shortage.is_news(Instant::now()) {
                        tracing::warn!("the control socket cannot accept: {error}");
                    }
                    // Who says nothing has a descriptor that somebody else could speak by.
                    if is_shortage(&error) && silent.push_out() {
                        tokio::task::yield_now().await;
                    } else {
                        sleep(AGAIN).await;
                    }
                }
            },
        }
    }
}

/// Has the request carried out, or refused if too many are under way.
fn start(caller: Caller, places: &Arc<Semaphore>, events: mpsc::Sender<Event>) {
    let place = Arc::clone(places).try_acquire_owned();
    tokio::spawn(async move {
        let outcome = match place {
            Ok(_place) => attend(caller, events).await,
            Err(_) => refuse(&caller.sender).await,
        };
        if let Err(problem) = outcome {
            send_away(&problem);
        }
    });
}

fn send_away(problem: &str) {
    tracing::warn!("a caller on the control socket was sent away: {problem}");
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

async fn refuse(sender: &Sender) -> Result<(), String> {
    let problem = format!("{CALLERS} requests are under way already");
    say(sender, &Answer::Failed(format!("{problem}: end a command that waits, and try again")))?;
    let _ = timeout(silent::PATIENCE, sender.flush()).await;
    Err(problem)
}

/// Has a request carried out, and tells the caller how it goes. Nothing is done for who is gone: it may have asked again.
async fn attend(caller: Caller, events: mpsc::Sender<Event>) -> Result<(), String> {
    let Caller { mut receiver, sender, request } = caller;
    let stops = matches!(request, Request::Stop { .. });
    let (reply, answers) = mpsc::channel(ANSWERS);
    let gone = async move { while let Ok(Some(_)) = receiver.next().await {} };
    tokio::pin!(gone);
    tokio::select! {
        biased;
        () = &mut gone => return Err("it left before what it asked for was begun".to_owned()),
        place = events.reserve() => {
            let place = place.map_err(|_| "the master is gone")?;
            place.send(Event::Control { request, reply: Reply(reply) });
        }
    }
    tokio::select! {
        told = tell(&sender, answers) => told?,
        // Without us the way back is closed, which is how the loop knows.
        () = &mut gone => return Ok(()),
    }
    if stops {
        // The connection stays open until we are gone, which tells the caller so.
        gone.await;
    }
    // Who reads nothing of a long answer keeps its place for a while only.
    timeout(LAST_PATIENCE, sender.flush()).await.map_err(|_| "it did not read its answer".to_owned())
}

async fn tell(sender: &Sender, mut answers: mpsc::Receiver<Answer>) -> Result<(), String> {
    loop {
        let answer = answers.recv().await.ok_or("the master did not answer")?;
        say(sender, &answer)?;
        if !matches!(answer, Answer::Progress(_)) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
