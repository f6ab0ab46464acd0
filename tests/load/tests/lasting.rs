//! Connections that carry more than one answer: which ends are in order, and which are failures.

use std::io::Read;
use std::thread;

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, accept};

use super::{ENDS, WHO, assert_fails, hear, one, say, server, whole};
use crate::load::{Failure, Mode};

#[test]
fn a_stream_of_events_that_ends_in_order_hands_back_and_any_other_end_is_a_failure() {
    let event = format!("data: {WHO}\n\n");
    let begin =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n", event.len());
    let ended = format!("{begin}0\r\n\r\n");
    let orderly = server(move |stream| {
        hear(stream);
        say(stream, &ended);
    });
    let report = one(&orderly, Mode::Events).requests(4).run();
    report.assert_flawless();
    assert_eq!((report.answered, report.handed_back, report.by_pid[&7].answers), (2, 2, 2));
    let abrupt = server(move |stream| {
        hear(stream);
        say(stream, &begin);
    });
    assert_fails(&one(&abrupt, Mode::Events).requests(2).run(), Failure::Truncated);
}

#[test]
fn a_websocket_that_closes_with_1001_hands_back_and_any_other_end_is_a_failure() {
    let closing_with = |code: CloseCode| {
        server(move |stream| {
            let mut socket = accept(stream.try_clone().unwrap()).unwrap();
            socket.send(Message::text(WHO)).unwrap();
            let words = socket.read().unwrap();
            socket.send(words).unwrap();
            socket.close(Some(CloseFrame { code, reason: "".into() })).unwrap();
            while socket.read().is_ok() {}
        })
    };
    let report = one(&closing_with(CloseCode::Away), Mode::WebSocket).requests(4).run();
    report.assert_flawless();
    assert_eq!((report.answered, report.handed_back, report.by_pid[&7].answers), (2, 2, 2));
    let report = one(&closing_with(CloseCode::Error), Mode::WebSocket).requests(2).run();
    assert_fails(&report, Failure::ClosedBeforeAnswer);
    let plain = server(|stream| {
        hear(stream);
        say(stream, &whole(""));
    });
    assert_fails(&one(&plain, Mode::WebSocket).run(), Failure::WrongStatus(200));
}

/// A server of HTTP/2 that answers so many requests on each connection, then ends it so.
fn http2_server(
    answers: usize,
    end: fn(&mut h2::server::Connection<tokio::net::TcpStream, bytes::Bytes>),
) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        runtime.block_on(async {
            while let Ok((stream, _)) = listener.accept().await {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                for _ in 0..answers {
                    let Some(Ok((_, mut respond))) = connection.accept().await else { break };
                    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                    body.send_data(WHO.into(), true).unwrap();
                }
                end(&mut connection);
                while let Some(Ok(_)) = connection.accept().await {}
            }
        });
    });
    address
}

#[test]
fn http2_tells_a_goaway_from_a_failure() {
    let report =
        one(&http2_server(2, |connection| connection.graceful_shutdown()), Mode::Http2).requests(5).run();
    report.assert_flawless();
    assert_eq!(report.by_pid[&7].generation, 3, "{report}");
    let abrupt = http2_server(1, |connection| connection.abrupt_shutdown(h2::Reason::INTERNAL_ERROR));
    assert_fails(&one(&abrupt, Mode::Http2).run(), Failure::ResetBeforeAnswer);
    let gone = one(&server(|stream| assert!(hear(stream))), Mode::Http2).run();
    assert!(gone.failures.keys().all(|failure| ENDS.contains(failure)) && gone.failed() == 1, "{gone}");
    let plain = server(|stream| {
        say(stream, &whole(WHO));
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_fails(&one(&plain, Mode::Http2).run(), Failure::Garbled);
}
