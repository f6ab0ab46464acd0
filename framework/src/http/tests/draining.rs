//! The drain: what may finish, what is closed, and what is cut.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::response::IntoResponse;
use hyper_util::rt::TokioIo;

use super::*;

/// Speaks a protocol that gives back what it gets.
pub(super) async fn upgrade(request: Request) -> impl IntoResponse {
    tokio::spawn(async move {
        let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        let (mut reading, mut writing) = tokio::io::split(&mut io);
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
    });
    (StatusCode::SWITCHING_PROTOCOLS, [(CONNECTION, "upgrade"), (UPGRADE, "echo")])
}

async fn upgraded(served: &Served) -> TcpStream {
    let mut client = served.connect().await;
    let request = b"GET /upgrade HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(client.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    client
}

#[tokio::test]
async fn what_is_in_flight_finishes_and_is_told_to_close() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    client.write_all(GATED).await.unwrap();
    served.gate.until_entered().await;
    served.drain.begin(Occasion::Stop, None);
    served.gate.open();
    let answered = rest(&mut client).await;
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
    assert!(answered.contains("connection: close\r\n"), "{answered}");
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_the_drain_is_over() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    ask(&mut client, GET).await;
    served.drain.begin(Occasion::Stop, None);
    assert_eq!(rest(&mut client).await, "");
    let gauges = served.gauges.clone();
    assert_eq!(served.drained().await, Drained { cut: 0 });
    assert_eq!(gauges.connections(), 0);
}

#[tokio::test]
async fn a_client_that_never_pauses_loses_no_request() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    let mut begun = false;
    loop {
        let (head, body) = ask(&mut client, GET).await;
        assert_eq!(body, "hello\n");
        if head.contains("connection: close\r\n") {
            break;
        }
        if !std::mem::replace(&mut begun, true) {
            served.drain.begin(Occasion::Stop, None);
        }
    }
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_connection_that_asked_nothing_yet_gets_its_first_answer() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    // Another client that is served shows that the first one was accepted.
    ask(&mut served.connect().await, GET).await;
    served.drain.begin(Occasion::Stop, None);
    let (head, body) = ask(&mut client, GET).await;
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(body, "hello\n");
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn nothing_is_accepted_once_draining_has_begun() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let inherited = listening(listener.try_clone().unwrap()).unwrap();
    let served = Served::over(inherited, address, patient());
    ask(&mut served.connect().await, GET).await;
    served.drain.begin(Occasion::Stop, None);
    assert_eq!(served.drained().await, Drained { cut: 0 });
    // The socket lives on in the other process, here: the next client gets there.
    let _client = TcpStream::connect(address).await.unwrap();
    let theirs = tokio::net::TcpListener::from_std(listener).unwrap();
    assert!(within(theirs.accept()).await.is_ok());
}

#[tokio::test]
async fn what_is_left_at_the_deadline_is_cut_and_counted() {
    let served = Served::start(patient()).await;
    let mut clients = [served.connect().await, served.connect().await];
    for client in &mut clients {
        client.write_all(GATED).await.unwrap();
        served.gate.until_entered().await;
    }
    served.drain.begin(Occasion::Stop, Some(SHORT));
    for client in &mut clients {
        assert_eq!(rest(client).await, "");
    }
    assert_eq!(served.drained().await, Drained { cut: 2 });
}

#[tokio::test]
async fn a_half_sent_head_may_finish() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    ask(&mut client, GET).await;
    let (start, end) = GET.split_at(8);
    client.write_all(start).await.unwrap();
    // Another client that is served shows that the half head has arrived.
    ask(&mut served.connect().await, GET).await;
    served.drain.begin(Occasion::Stop, None);
    served.drain.begun().await;
    let (head, body) = ask(&mut client, end).await;
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(body, "hello\n");
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_half_sent_head_does_not_hold_the_drain_beyond_its_time() {
    let served = Served::start(HttpSettings { header_timeout: SHORT, ..patient() }).await;
    let mut client = served.connect().await;
    client.write_all(b"GET / HT").await.unwrap();
    served.until_accepted(1).await;
    served.drain.begin(Occasion::Stop, None);
    rest(&mut client).await;
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn an_upgraded_connection_is_in_flight_until_its_handler_is_done() {
    let served = Served::start(patient()).await;
    let mut client = upgraded(&served).await;
    served.drain.begin(Occasion::Stop, None);
    client.write_all(b"still here?").await.unwrap();
    let mut echo = [0; 11];
    within(client.read_exact(&mut echo)).await.unwrap();
    assert_eq!((&echo, served.gauges.connections()), (b"still here?", 1));
    drop(client);
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn an_upgraded_connection_is_cut_at_the_deadline() {
    let served = Served::start(patient()).await;
    let mut client = upgraded(&served).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'x');
    served.drain.begin(Occasion::Stop, Some(SHORT));
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(served.drained().await, Drained { cut: 1 });
}

#[tokio::test]
async fn a_server_whose_future_is_dropped_leaves_nothing_open() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    ask(&mut client, GET).await;
    served.server.abort();
    assert_eq!(rest(&mut client).await, "");
}
