//! The life of one connection, from accept to close.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::alarm::Alarm;
use super::answer::answer;
use super::house::{House, Seat, Stage};
use super::listener::{Peer, Stream};
use super::phase::Phase;
use super::watched::Watched;

/// How long a client that still sends gets to read the answer that refused it.
const LINGER: Duration = Duration::from_secs(5);

/// How much of what it still sends is read meanwhile.
const LINGER_BYTES: u64 = 64 * 1024 * 1024;

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Why a connection is no longer served.
enum End {
    /// HTTP came to its end; the flag tells whether by a request that is not HTTP.
    Done {
        malformed: bool,
    },
    TimedOut(Phase),
    Cut,
}

/// Serves one connection until it ends, in a task of its own. The connection counts from this call on.
pub(super) fn spawn(stream: Stream, peer: Peer, house: &Arc<House>) {
    let seat = Seat::take(house.clone(), peer);
    tokio::spawn(run(Watched::new(stream, seat.clone()), seat));
}

async fn run(io: Watched, seat: Arc<Seat>) {
    let served = seat.clone();
    let service = service_fn(move |request| {
        served.phase.enter(Phase::Busy);
        served.unread.store(false, Relaxed);
        served.house.gauges.requests.fetch_add(1, Relaxed);
        answer(served.clone(), request)
    });
    let mut connection = seat.house.http.serve_connection(TokioIo::new(io), service).with_upgrades();
    let end = attend(&mut connection, &seat).await;
    // An upgraded connection has left its parts to another task.
    if let Some(parts) = connection.into_parts() {
        close(parts.io.into_inner(), &seat, end).await;
    }
}

/// Drives a connection until it is done, has waited too long, or is cut. A question that has reached this machine
/// counts, also when the runtime has not heard of it yet.
async fn attend<C>(connection: &mut C, seat: &Seat) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut alarm = Alarm::new(seat);
    let mut looked = None;
    loop {
        let end = drive(connection, seat, &mut alarm).await;
        let moment = seat.phase.moment();
        if !matches!(end, End::TimedOut(_)) || looked == Some(moment) {
            return end;
        }
        looked = Some(moment);
        yield_now().await;
    }
}

async fn drive<C>(connection: &mut C, seat: &Seat, alarm: &mut Alarm<'_>) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let house = &*seat.house;
    let mut bell = pin!(house.stage_bell().notified());
    let mut heard = None;
    poll_fn(|cx| {
        // The bell is polled before the stage is looked at again, so that no change falls in between.
        while heard != Some(house.stage()) {
            heard = Some(house.stage());
            bell.set(house.stage_bell().notified());
            let _ = bell.as_mut().poll(cx);
        }
        if heard == Some(Stage::Cut) {
            return Poll::Ready(End::Cut);
        }
        if let Poll::Ready(outcome) = Pin::new(&mut *connection).poll(cx) {
            let malformed = outcome.is_err_and(|error| error.is_parse());
            return Poll::Ready(End::Done { malformed });
        }
        if alarm.rings(cx) {
            return Poll::Ready(End::TimedOut(seat.phase.phase()));
        }
        Poll::Pending
    })
    .await
}

async fn close(mut io: Watched, seat: &Seat, end: End) {
    match end {
        End::Done { malformed } if malformed || seat.unread.load(Relaxed) => linger(io, &seat.house).await,
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
}

/// Closing a socket with unread bytes resets it, and the client may lose the answer that waits in its own buffer. So
/// close our half, and read away what still comes.
async fn linger(mut io: Watched, house: &House) {
    let discard = async {
        let _ = io.shutdown().await;
        let _ = tokio::io::copy(&mut io.take(LINGER_BYTES), &mut tokio::io::sink()).await;
    };
    tokio::select! {
        _ = timeout(LINGER, discard) => {}
        () = house.reached(Stage::Cut) => {}
    }
}

/// Writes to a client that is given up: what does not fit its buffer at once is dropped.
async fn write_if_possible(io: &mut Watched, bytes: &[u8]) {
    poll_fn(|cx| {
        let _ = Pin::new(&mut *io).poll_write(cx, bytes);
        Poll::Ready(())
    })
    .await;
}
