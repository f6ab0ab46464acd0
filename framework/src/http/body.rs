//! The bodies of requests and answers, watched: one must not grow beyond the limit nor come too slowly, the other tells
//! when it is done.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Limited;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::clock::{self, Carrier};
use super::house::Seat;
use super::pace::Pace;
use crate::error::BoxError;

/// The body of a request, up to the limit. Dropped before its end, it notes that the rest is unread.
pub(super) struct Intake {
    body: Limited<Incoming>,
    ended: bool,
    pace: Pace,
    wait: Option<Wait>,
    seat: Arc<Seat>,
}

/// A wait for bytes that have not come.
struct Wait {
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Wait {
    fn begin(allowance: Duration) -> Self {
        let since = Instant::now();
        Self { since, sleep: Box::pin(sleep_until(since + allowance)) }
    }
}

impl Intake {
    pub(super) fn new(body: Incoming, seat: Arc<Seat>) -> Self {
        let limit = usize::try_from(seat.house.settings.body_limit.as_u64()).unwrap_or(usize::MAX);
        let pace = Pace::new(seat.house.settings.body_timeout);
        Self { body: Limited::new(body, limit), ended: false, pace, wait: None, seat }
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<BoxError> {
        let wait = self.wait.get_or_insert_with(|| Wait::begin(self.pace.allowance()));
        ready!(wait.sleep.as_mut().poll(cx));
        self.seat.slow.store(true, Relaxed);
        self.seat.house.gauges.timed_out.fetch_add(1, Relaxed);
        Poll::Ready("the body of the request came too slowly".into())
    }

    fn note(&mut self, frame: &Option<Result<Frame<Bytes>, BoxError>>) {
        self.ended |= frame.is_none();
        if let Some(Ok(frame)) = frame {
            self.pace.received(frame.data_ref().map_or(0, Bytes::len));
        }
        if let Some(wait) = self.wait.take() {
            self.pace.waited(wait.since.elapsed());
        }
    }
}

impl http_body::Body for Intake {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.note(&frame);
                Poll::Ready(frame)
            }
            Poll::Pending => this.poll_wait(cx).map(|error| Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if !self.ended && !http_body::Body::is_end_stream(self) {
            self.seat.unread.store(true, Relaxed);
        }
    }
}

/// One request, from its head until its answer was handed over to the end or nobody wants it any more.
pub(super) struct Turn {
    seat: Arc<Seat>,
}

impl Turn {
    pub(super) fn begin(seat: Arc<Seat>) -> Self {
        seat.phase.begin();
        seat.unread.store(false, Relaxed);
        seat.slow.store(false, Relaxed);
        seat.house.gauges.requests.fetch_add(1, Relaxed);
        Self { seat }
    }

    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.seat.phase.end();
    }
}

impl Carrier for Seat {
    fn is_blocked(&self) -> bool {
        self.phase.moment().blocked()
    }

    fn count_end(&self) {
        self.house.gauges.timed_out.fetch_add(1, Relaxed);
    }
}

/// As much of an answer as one stream of several hands out at a time, so that it is seen when the client takes no more.
const PIECE: usize = 16 << 10;

/// The body of an answer, with which its turn ends.
pub(super) struct Outflow {
    body: Body,
    /// What a stream is still to hand out of what came from the body.
    rest: Bytes,
    turn: Option<Turn>,
}

impl Outflow {
    pub(super) fn new(body: Body, turn: Option<Turn>) -> Self {
        Self { body, rest: Bytes::new(), turn }
    }

    /// The next frame for one stream of several.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl http_body::Body for Outflow {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if !this.turn.as_ref().is_some_and(|turn| turn.seat.phase.moment().shared()) {
            return Pin::new(&mut this.body).poll_frame(cx);
        }
        let outcome = this.poll_piece(cx);
        match (&outcome, &this.turn) {
            (Poll::Ready(Some(Ok(_))), Some(turn)) => clock::lies(turn.seat.clone()),
            _ => clock::taken(),
        }
        outcome
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower().saturating_add(rest));
        if let Some(upper) = hint.upper().and_then(|upper| upper.checked_add(rest)) {
            whole.set_upper(upper);
        }
        whole
    }
}
