//! From a request to its answer: what the framework answers itself, then the author's router, guarded.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tower::Service as _;

use super::Standing;
use super::body::{Intake, Outflow};
use super::house::{House, Seat, Stage};

/// Answers one request.
pub(super) async fn answer(
    seat: Arc<Seat>,
    request: Request<Incoming>,
) -> Result<Response<Outflow>, Infallible> {
    let mut response = match own_answer(&seat, &request) {
        Some(response) => response,
        None => routed(&seat, request).await,
    };
    if must_close(&seat, response.status()) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Outflow::new(body, seat)))
}

/// Whether this is the last answer on its connection.
fn must_close(seat: &Seat, status: StatusCode) -> bool {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        seat.house.gauges.refused.fetch_add(1, Relaxed);
        return true;
    }
    seat.house.stage() != Stage::Serving && status != StatusCode::SWITCHING_PROTOCOLS
}

/// What is answered before the router is asked.
fn own_answer(seat: &Seat, request: &Request<Incoming>) -> Option<Response<Body>> {
    if request.body().size_hint().lower() > seat.house.settings.body_limit.as_u64() {
        seat.unread.store(true, Relaxed);
        return Some(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than this server takes\n",
        ));
    }
    health(&seat.house, request)
}

fn health(house: &House, request: &Request<Incoming>) -> Option<Response<Body>> {
    if !house.settings.health_routes {
        return None;
    }
    let answer = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "ok\n"),
        "/readyz" => match house.readiness.get() {
            Standing::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            Standing::Ready => (StatusCode::OK, "ready\n"),
            Standing::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        },
        _ => return None,
    };
    let asked = matches!(*request.method(), Method::GET | Method::HEAD);
    asked.then(|| plain(answer.0, answer.1))
}

async fn routed(seat: &Arc<Seat>, request: Request<Incoming>) -> Response<Body> {
    let request = prepared(seat, request);
    let mut router = seat.house.router.clone();
    // The call itself belongs inside: a layer may panic before it returns a future.
    let mut call = pin!(async move { router.call(request).await });
    let outcome = poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        },
    );
    match outcome.await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(panic) => panicked(seat, &*panic),
    }
}

/// The request as the router takes it. One without a body needs neither a limit nor an allocation for it.
fn prepared(seat: &Arc<Seat>, mut request: Request<Incoming>) -> Request<Body> {
    if let Some(peer) = seat.peer {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    if request.body().is_end_stream() {
        return request.map(|_| Body::empty());
    }
    // Axum's own limit would undercut ours.
    DefaultBodyLimit::disable().apply(&mut request);
    request.map(|body| Body::new(Intake::new(body, seat.clone())))
}

fn panicked(seat: &Seat, panic: &(dyn Any + Send)) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied();
    let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        panic = message.unwrap_or("a value that is not text"),
        "a handler panicked"
    );
    seat.house.gauges.panics.fetch_add(1, Relaxed);
    plain(StatusCode::INTERNAL_SERVER_ERROR, "internal server error\n")
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
