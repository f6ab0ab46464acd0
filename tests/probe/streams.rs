//! Pages of the probe that last: a large answer, server-sent events, WebSockets. They end when the worker drains,
//! except for the large answer, which is finished.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use hatchery::Worker;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

const BETWEEN_EVENTS: Duration = Duration::from_millis(20);

pub(crate) fn pages(worker: Worker) -> Router {
    Router::new()
        .route("/bulk", get(bulk))
        .route("/events", get(events))
        .route(
            "/socket",
            get(async |State(worker), upgrade: WebSocketUpgrade| {
                upgrade.on_upgrade(move |socket| echo(socket, worker))
            }),
        )
        .with_state(worker)
}

/// Who this worker is.
pub(crate) fn name(worker: &Worker) -> Value {
    let (group, index, generation) = (worker.group(), worker.index(), worker.generation());
    json!({ "group": group, "index": index, "pid": std::process::id(), "generation": generation })
}

#[derive(Deserialize)]
struct Bulk {
    pieces: u32,
    /// Before each piece.
    ms: u64,
}

/// Pieces of 16 KiB one after the other; leaves a file when it begins, so that a test knows that it is in flight.
async fn bulk(Query(bulk): Query<Bulk>) -> Body {
    let _ = std::fs::write("bulk-began", "");
    Body::from_stream(stream::unfold(bulk.pieces, move |left| async move {
        let left = left.checked_sub(1)?;
        sleep(Duration::from_millis(bulk.ms)).await;
        Some((Ok::<_, Infallible>(Bytes::from(vec![b'x'; 16 << 10])), left))
    }))
}

async fn events(State(worker): State<Worker>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(worker, |worker| async {
        tokio::select! {
            () = worker.draining() => None,
            () = sleep(BETWEEN_EVENTS) => {
                Some((Ok(Event::default().data(name(&worker).to_string())), worker))
            }
        }
    }))
}

/// Says who it is, then gives back what it hears.
async fn echo(mut socket: WebSocket, worker: Worker) {
    let _ = socket.send(Message::Text(name(&worker).to_string().into())).await;
    loop {
        tokio::select! {
            () = worker.draining() => break,
            heard = socket.recv() => match heard {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let _ = socket.send(message).await;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        }
    }
    let farewell = CloseFrame { code: close_code::AWAY, reason: "the worker leaves".into() };
    let _ = socket.send(Message::Close(Some(farewell))).await;
    // Its answer comes before the end, lest the kernel reset what the client has not read.
    while socket.recv().await.is_some_and(|heard| heard.is_ok()) {}
}
