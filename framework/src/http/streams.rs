//! A connection that speaks HTTP/2: its streams, and how it is told to go. What a stream is answered is as with HTTP/1.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::answer::answer;
use super::attend::{End, attend};
use super::house::{Seat, Stage};
use super::phase::Phase;
use super::watched::Watched;

/// How long an idle client that was told to go may take for it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a connection whose first bytes were HTTP/2's.
pub(super) async fn run(io: Watched, seat: Arc<Seat>) {
    seat.phase.share();
    let served = seat.clone();
    let service = service_fn(move |request| answer(served.clone(), request));
    let mut connection = seat.house.protocols.two.serve_connection(TokioIo::new(io), service);
    // Streams that the client opens before it hears of this are served, and later ones it may repeat elsewhere.
    let end = attend(&mut connection, &seat, |connection| Pin::new(connection).graceful_shutdown()).await;
    let End::TimedOut(phase) = end else { return };
    if seat.house.stage() == Stage::Serving {
        seat.house.gauges.timed_out.fetch_add(1, Relaxed);
    }
    if phase == Phase::Idle {
        Pin::new(&mut connection).graceful_shutdown();
        let _ = timeout(FAREWELL, connection).await;
    }
}
