//! Answers of the probe that have no end of their own: a stream, and a WebSocket.

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::stream;
use hatchery::Worker;

/// A tick, and then nothing for as long as the worker works.
pub(crate) fn ticks(worker: &Worker) -> Body {
    let ticks = stream::unfold(true, async |first| match first {
        true => Some((Ok::<_, hatchery::BoxError>(Bytes::from_static(b"tick\n")), false)),
        false => std::future::pending().await,
    });
    Body::from_stream(worker.until_draining(ticks))
}

/// Gives back what it gets, and says 1001 when the worker leaves.
pub(crate) async fn talk(mut socket: WebSocket, worker: Worker) {
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(message)) => if socket.send(message).await.is_err() { return },
            },
            () = worker.draining() => break,
        }
    }
    let farewell = CloseFrame { code: close_code::AWAY, reason: "the server leaves".into() };
    if socket.send(Message::Close(Some(farewell))).await.is_ok() {
        // Until the client has answered; the drain's deadline bounds it.
        while let Some(Ok(_)) = socket.recv().await {}
    }
}
