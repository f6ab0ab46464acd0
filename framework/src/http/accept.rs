//! Accepting connections until the server drains. No error of accept ends the loop.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection;
use super::drain::Drain;
use super::handed::Handed;
use super::house::{House, Stage};
use super::listener::{Listener, Peer, Stream};
use super::porter::Porter;
use super::window::Occasion;
use crate::handover::{Connection, Message};
use crate::tls::Acceptor;

/// How long to wait for descriptors or memory, unless a connection of ours closes sooner.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How often a shortage is logged at most.
const SHORTAGE_LOG: Duration = Duration::from_secs(1);

/// How long what does not fit is left alone, unless a connection of ours closes sooner: the master makes less of it then.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long at a stop the master may take to hand over the last that it has accepted.
const LAST_ONES: Duration = Duration::from_secs(1);

/// Whether an error of accept was that of one connection, so that the next may be well. Any other would come again at
/// once.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::AGAIN
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NOTCONN
        )
    )
}

enum Turn {
    Arrived(Stream, Peer),
    Nobody,
    Failed(io::Error),
    /// As many connections are open as may be.
    Full,
}

/// Accepts from `listener`, as its porter calls, until the house drains; then closes it.
pub(super) async fn run(listener: Listener, porter: Porter, house: Arc<House>) {
    let mut logged = None;
    let accepting = async {
        loop {
            if let Err(error) = porter.called().await {
                recover(&error, &house, &mut logged).await;
                continue;
            }
            match next(&listener, &house) {
                // One at a time, and then to the end of the queue.
                Turn::Arrived(stream, peer) => connection::spawn(stream, peer, listener.tls.clone(), &house),
                Turn::Nobody => {}
                Turn::Failed(error) if is_passing(&error) => {}
                Turn::Failed(error) => {
                    porter.pass_on();
                    recover(&error, &house, &mut logged).await;
                }
                Turn::Full => {
                    porter.pass_on();
                    house.room(1).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = house.reached(Stage::Draining) => {}
        () = accepting => {}
    }
}

/// Takes up what the master hands over, until the house drains; what has been handed over by then is ours to serve. At a
/// stop the master closes the way behind the last one; otherwise it takes back what stays there.
pub(super) async fn take_up(mut handed: Handed, house: Arc<House>, drain: Drain) {
    let taking = async {
        let mut logged = None;
        loop {
            match receive(&mut handed, &house).await {
                // The last one has come: we are asked to leave in a moment, or else the master is gone, and so are we.
                Ok(Message::End) => std::future::pending().await,
                Ok(message) => admit(message, &handed.tls, &house),
                Err(error) => recover(&error, &house, &mut logged).await,
            }
        }
    };
    tokio::select! {
        biased;
        () = house.reached(Stage::Draining) => {}
        () = taking => {}
    }
    loop {
        match handed.try_next() {
            Some(Message::End) => return,
            None => break,
            Some(message) => admit(message, &handed.tls, &house),
        }
    }
    if drain.begun().await.occasion == Occasion::Stop {
        take_last_ones(&mut handed, &house).await;
    }
}

/// Takes up what comes until the master closes the way. What there are no descriptors for waits for those of the
/// connections that leave.
async fn take_last_ones(handed: &mut Handed, house: &Arc<House>) {
    let (deadline, mut logged) = (Instant::now() + LAST_ONES, None);
    loop {
        match timeout_at(deadline, handed.next()).await {
            Err(_) | Ok(Ok(Message::End)) => return,
            Ok(Ok(message)) => admit(message, &handed.tls, house),
            Ok(Err(_)) if house.open() == 0 && Instant::now() >= deadline => return,
            Ok(Err(error)) => recover(&error, house, &mut logged).await,
        }
    }
}

/// The next message, as soon as there is room for all that it brings; what there is no room for may go to others.
async fn receive(handed: &mut Handed, house: &House) -> io::Result<Message> {
    loop {
        house.room(1).await;
        if let Some(message) = handed.next_fitting(|count| house.has_room(count)).await? {
            return Ok(message);
        }
        let _ = timeout(LOOK_AGAIN, house.one_left()).await;
    }
}

fn admit(message: Message, tls: &BTreeMap<u8, Arc<Acceptor>>, house: &Arc<House>) {
    match message {
        Message::Connections { came, lost } => {
            for Connection { door, client, socket } in came {
                match Stream::handed_over(socket, client) {
                    Ok(stream) => connection::spawn(stream, client, tls.get(&door).cloned(), house),
                    Err(error) => tracing::warn!(%error, "a connection that was handed over cannot be used"),
                }
            }
            if lost > 0 {
                tracing::error!("connections were lost, because the limit of open files is reached: {lost}");
            }
        }
        Message::Knock | Message::End => {}
    }
}

/// Room is looked for in the very step that accepts: several listeners share the places.
fn next(listener: &Listener, house: &House) -> Turn {
    if !house.has_room(1) {
        return Turn::Full;
    }
    match listener.accept() {
        Ok(Some((stream, peer))) => Turn::Arrived(stream, peer),
        Ok(None) => Turn::Nobody,
        Err(error) => Turn::Failed(error),
    }
}

async fn recover(error: &io::Error, house: &House, logged: &mut Option<Instant>) {
    let now = Instant::now();
    if logged.is_none_or(|then| now - then >= SHORTAGE_LOG) {
        *logged = Some(now);
        tracing::warn!(%error, open = house.open(), "cannot accept connections for now");
    }
    tokio::select! {
        () = house.one_left() => {}
        () = sleep(SHORTAGE_PAUSE) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_failed_does_not_hold_up_the_next() {
        for errno in [Errno::CONNABORTED, Errno::CONNRESET, Errno::INTR, Errno::PERM, Errno::PROTO] {
            assert!(is_passing(&errno.into()), "{errno:?}");
        }
    }

    #[test]
    fn a_shortage_and_an_unknown_error_are_waited_out() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::INVAL, Errno::BADF] {
            assert!(!is_passing(&errno.into()), "{errno:?}");
        }
        assert!(!is_passing(&io::Error::other("unknown")));
    }
}
