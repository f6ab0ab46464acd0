//! The bodies of requests and answers, watched: one must not grow beyond the limit, the other tells when it is done.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use hyper::body::Incoming;

use super::house::Seat;
use crate::error::BoxError;

/// The body of a request, up to the limit. Dropped before its end, it notes that the rest is unread.
pub(super) struct Intake {
    body: Limited<Incoming>,
    ended: bool,
    seat: Arc<Seat>,
}

impl Intake {
    pub(super) fn new(body: Incoming, seat: Arc<Seat>) -> Self {
        let limit = usize::try_from(seat.house.settings.body_limit.as_u64()).unwrap_or(usize::MAX);
        Self { body: Limited::new(body, limit), ended: false, seat }
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
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        this.ended |= frame.is_none();
        Poll::Ready(frame)
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

/// The body of an answer, which notes when it was handed over to the end.
pub(super) struct Outflow {
    body: Body,
    seat: Arc<Seat>,
}

impl Outflow {
    pub(super) fn new(body: Body, seat: Arc<Seat>) -> Self {
        Self { body, seat }
    }
}

impl http_body::Body for Outflow {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        self.seat.phase.body_done();
    }
}
