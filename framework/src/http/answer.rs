//! From a request to its answer: what the framework answers itself, then the author's router, guarded.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use axum::routing::future::RouteFuture;
use hyper::body::{Body as _, Incoming};
use tower::Service as _;

use super::body::{Intake, Outflow, Turn};
use super::client::ClientAddress;
use super::house::{House, Seat, Stage};
use super::phase::Phase;
use super::trust::{self, trusts};
use super::{HttpSettings, Standing};

/// What becomes of a request.
// One lives at a time on each connection, inside the box that hyper keeps for it: boxing it once more would only cost.
#[allow(clippy::large_enum_variant)]
enum Course {
    Answered(Response<Body>),
    Routed(RouteFuture<Infallible>),
}

/// A request that is being answered. Written by hand, because an async block would keep, and move, a copy of the
/// router's future for each step that it takes.
pub(super) struct Answering {
    course: Course,
    /// `None` once the answer is given.
    turn: Option<Turn>,
}

/// Answers one request. What can be done at once is, so that the request itself is not moved into the future.
pub(super) fn answer(seat: Arc<Seat>, request: Request<Incoming>) -> Answering {
    let turn = Turn::begin(seat);
    Answering { course: course(turn.seat(), request), turn: Some(turn) }
}

impl Future for Answering {
    type Output = Result<Response<Outflow>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { course, turn } = self.get_mut();
        let Some(seat) = turn.as_ref().map(Turn::seat) else { return Poll::Pending };
        let mut response = match course {
            Course::Answered(response) => std::mem::take(response),
            Course::Routed(route) => ready!(poll_route(route, seat, cx)),
        };
        explain(seat, &mut response);
        if is_last(seat, response.status()) && !seat.phase.moment().shared() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let turn = turn.take();
        Poll::Ready(Ok(response.map(|body| Outflow::new(body, turn))))
    }
}

fn course(seat: &Arc<Seat>, request: Request<Incoming>) -> Course {
    if let Some(response) = own_answer(seat, &request) {
        return Course::Answered(response);
    }
    // A layer may panic before it returns a future.
    let routed = AssertUnwindSafe(|| seat.house.router.clone().call(prepared(seat, request)));
    catch_unwind(routed).map_or_else(|_| Course::Answered(panicked(seat)), Course::Routed)
}

fn poll_route(
    route: &mut RouteFuture<Infallible>,
    seat: &Seat,
    cx: &mut Context<'_>,
) -> Poll<Response<Body>> {
    match catch_unwind(AssertUnwindSafe(|| Pin::new(route).poll(cx))) {
        Ok(poll) => poll.map(|outcome| outcome.unwrap_or_else(|never| match never {})),
        Err(_) => Poll::Ready(panicked(seat)),
    }
}

/// Extractors take a body that came too slowly for a bad one: the client should hear what was wrong.
fn explain(seat: &Seat, response: &mut Response<Body>) {
    let blamed = response.status() == StatusCode::BAD_REQUEST && seat.slow.load(Relaxed);
    if blamed && !seat.phase.moment().shared() {
        *response = plain(StatusCode::REQUEST_TIMEOUT, "the body of the request came too slowly\n");
    }
}

/// Notes what the status means for the connection: whether this is its last answer.
fn is_last(seat: &Seat, status: StatusCode) -> bool {
    match status {
        StatusCode::SWITCHING_PROTOCOLS if !seat.phase.moment().shared() => {
            seat.phase.enter(Phase::Upgraded);
            false
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            seat.house.gauges.refused.fetch_add(1, Relaxed);
            true
        }
        _ => seat.house.stage() != Stage::Serving || seat.slow.load(Relaxed),
    }
}

/// What is answered before the router is asked.
fn own_answer(seat: &Seat, request: &Request<Incoming>) -> Option<Response<Body>> {
    if request.body().size_hint().lower() > seat.house.settings.body_limit.as_u64() {
        seat.unread.store(true, Relaxed);
        return Some(plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this server takes\n"));
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

/// The client, where a trusted proxy names one.
fn named_client(seat: &Seat, headers: &HeaderMap) -> Option<IpAddr> {
    let HttpSettings { trusted_proxies, proxy_header, .. } = &seat.house.settings;
    if trusted_proxies.is_empty() {
        return None;
    }
    let hop = seat.client.get().copied().unwrap_or_else(|| seat.hop());
    trusts(trusted_proxies, hop)
        .then(|| trust::client(trusted_proxies, *proxy_header, hop, headers))
        .or(seat.client.get().copied())
}

/// The request as the router takes it. One without a body needs neither a limit nor an allocation for it.
fn prepared(seat: &Arc<Seat>, request: Request<Incoming>) -> Request<Body> {
    let mut request = request.map(|body| {
        if body.is_end_stream() { Body::empty() } else { Body::new(Intake::new(body, seat.clone())) }
    });
    if let Some(peer) = seat.peer {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    if let Some(client) = named_client(seat, request.headers()) {
        request.extensions_mut().insert(ClientAddress(Some(client)));
    }
    if !request.body().is_end_stream() {
        // Axum's own limit would undercut ours.
        DefaultBodyLimit::disable().apply(&mut request);
    }
    request
}

/// The panic itself was logged where it happened, with its place.
fn panicked(seat: &Seat) -> Response<Body> {
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
