//! The life of one connection, from accept to close.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::answer::answer;
use super::attend::{End, attend};
use super::handshake::shake_hands;
use super::house::{House, Seat, Stage};
use super::line::Line;
use super::listener::{Peer, Stream};
use super::phase::Phase;
use super::preface::PREFACE;
use super::streams;
use super::watched::Watched;
use crate::tls::Acceptor;

/// How long a client that still sends gets to read the answer that refused it.
const LINGER: Duration = Duration::from_secs(5);

/// How much of what it still sends is read meanwhile.
const LINGER_BYTES: u64 = 64 * 1024 * 1024;

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves one connection until it ends, in a task of its own. The connection counts from this call on.
pub(super) fn spawn(stream: Stream, peer: Peer, tls: Option<Arc<Acceptor>>, house: &Arc<House>) {
    let Ok(admission) = house.admit(peer) else {
        house.gauges.turned_away.fetch_add(1, Relaxed);
        tracing::debug!(?peer, "a client holds as many connections as it may");
        return;
    };
    let (seat, stay) = Seat::take(house.clone(), peer, admission);
    match tls {
        None => tokio::spawn(run(Watched::new(Line::Plain(stream), seat.clone(), stay), seat)),
        Some(acceptor) => tokio::spawn(async move {
            if let Some(line) = shake_hands(stream, acceptor, &seat).await {
                run(Watched::new(line, seat.clone(), stay), seat).await;
            }
        }),
    };
}

async fn run(io: Watched, seat: Arc<Seat>) {
    let served = seat.clone();
    let service = service_fn(move |request| answer(served.clone(), request));
    let mut connection = seat.house.protocols.one.serve_connection(TokioIo::new(io), service).with_upgrades();
    // What says that the server leaves is the header of the next answer.
    let end = attend(&mut connection, &seat, |_| {}).await;
    // An upgraded connection has left its parts to another task.
    let Some(parts) = connection.into_parts() else { return };
    let mut io = parts.io.into_inner();
    if parts.read_buf.starts_with(PREFACE) && seat.phase.moment().is_first_head() {
        io.put_back(&parts.read_buf);
        // Boxed, so that connections with HTTP/1 do not pay for its size.
        Box::pin(streams::run(io, seat)).await;
    } else {
        close(io, &seat, end).await;
    }
}

async fn close(mut io: Watched, seat: &Seat, end: End) {
    match end {
        End::Done { malformed } if malformed || seat.unread.load(Relaxed) => {
            return linger(io, &seat.house).await;
        }
        End::Done { .. } | End::Cut => {}
        // A worker that leaves closes what nobody uses.
        End::TimedOut(Phase::New | Phase::Idle) if seat.house.stage() != Stage::Serving => {}
        End::TimedOut(phase) => {
            seat.house.gauges.timed_out.fetch_add(1, Relaxed);
            if phase == Phase::Head {
                write_if_possible(&mut io, REQUEST_TIMEOUT).await;
            }
        }
    }
    if io.is_secured() {
        // Otherwise the client could not tell our end from one that an attacker has made.
        at_once(|cx| Pin::new(&mut io).poll_shutdown(cx)).await;
    }
}

/// Closing a socket with unread bytes resets it, and the client may lose the answer that waits in its own buffer. So
/// close our half, and read away what still comes.
async fn linger(mut io: Watched, house: &House) {
    let discard = async {
        let _ = io.line().shutdown().await;
        let _ = tokio::io::copy(&mut io.take(LINGER_BYTES), &mut tokio::io::sink()).await;
    };
    tokio::select! {
        _ = timeout(LINGER, discard) => {}
        () = house.reached(Stage::Cut) => {}
    }
}

/// Writes to a client that is given up: what does not fit its buffer at once is dropped.
async fn write_if_possible(io: &mut Watched, bytes: &[u8]) {
    at_once(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await;
}

/// Polls once, and does not wait.
async fn at_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) {
    poll_fn(|cx| {
        let _ = poll(cx);
        Poll::Ready(())
    })
    .await;
}
