//! HTTP/2 with a real client: streams, their limits, and how a leaving server says so.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

type Connection = JoinHandle<hyper::Result<()>>;

/// A client's connection; its task ends when the server closes.
async fn client(served: &Served) -> (SendRequest<Body>, Connection) {
    let io = TokioIo::new(served.connect().await);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn request(path: &str) -> Request<Body> {
    Request::get(format!("http://test{path}")).body(Body::empty()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn get(sender: &mut SendRequest<Body>, path: &str) -> Response<Incoming> {
    within(sender.send_request(request(path))).await.unwrap()
}

#[tokio::test]
async fn requests_share_a_connection_and_overtake_each_other() {
    let served = Served::start(patient()).await;
    let (mut sender, _connection) = client(&served).await;
    let slow = tokio::spawn(sender.send_request(request("/gate")));
    served.gate.until_entered().await;
    let fast = get(&mut sender, "/").await;
    assert_eq!((fast.version(), text(fast).await.as_str()), (Version::HTTP_2, "hello\n"));
    served.gate.open();
    assert_eq!(within(slow).await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!((served.gauges.connections(), served.gauges.requests()), (1, 2));
}

#[tokio::test]
async fn a_preface_in_pieces_is_put_together() {
    let served = Served::start(patient()).await;
    let mut stream = served.connect().await;
    let (start, end) = preface::PREFACE.split_at(16);
    for piece in [&start[..1], &start[1..]] {
        stream.write_all(piece).await.unwrap();
        // Another client that is served shows that the piece has arrived.
        ask(&mut served.connect().await, GET).await;
    }
    // With it an empty SETTINGS frame; the server's own comes back.
    stream.write_all(&[end, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await.unwrap();
    let mut frame = [0; 9];
    within(stream.read_exact(&mut frame)).await.unwrap();
    assert_eq!(frame[3], 4);
}

#[tokio::test]
async fn a_part_of_a_preface_and_then_the_end_is_no_request() {
    let served = Served::start(patient()).await;
    let mut stream = served.connect().await;
    stream.write_all(b"PRI").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    assert_eq!(served.gauges.requests(), 0);
}

#[tokio::test]
async fn what_is_in_flight_on_a_shared_connection_finishes_and_the_client_is_told() {
    let served = Served::start(patient()).await;
    let (mut sender, connection) = client(&served).await;
    let slow = tokio::spawn(sender.send_request(request("/gate")));
    served.gate.until_entered().await;
    served.drain.begin(Occasion::Succession, None);
    // What is asked before the client has heard of it is answered; then it refuses by itself.
    while let Ok(answer) = within(sender.send_request(request("/"))).await {
        assert_eq!(text(answer).await, "hello\n");
    }
    served.gate.open();
    let slow = within(slow).await.unwrap().unwrap();
    assert!(slow.headers().get("connection").is_none());
    assert_eq!(slow.status(), StatusCode::OK);
    within(connection).await.unwrap().unwrap();
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn an_idle_shared_connection_ends_at_once_when_the_server_leaves() {
    let served = Served::start(HttpSettings { idle_grace: LONG, ..patient() }).await;
    let (mut sender, connection) = client(&served).await;
    text(get(&mut sender, "/").await).await;
    served.drain.begin(Occasion::Succession, None);
    within(connection).await.unwrap().unwrap();
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn an_idle_shared_connection_is_told_to_go_after_its_time() {
    with_more_and_more_time(|time| async move {
        let served = Served::start(HttpSettings { keep_alive_timeout: time, ..patient() }).await;
        let (mut sender, connection) = client(&served).await;
        let slow = tokio::spawn(sender.send_request(request("/gate")));
        served.gate.until_entered().await;
        // A connection that is closed shows that the time has passed, which does not count while a stream is open.
        let mut idle = served.connect().await;
        ask(&mut idle, GET).await;
        rest(&mut idle).await;
        served.gate.open();
        assert_eq!(within(slow).await.unwrap().unwrap().status(), StatusCode::OK);
        let idle_since = Instant::now();
        within(connection).await.unwrap().unwrap();
        assert_took(idle_since.elapsed(), time);
        assert_eq!(served.gauges.timed_out(), 2);
    })
    .await;
}

#[tokio::test]
async fn more_streams_than_allowed_wait_for_their_turn() {
    let served = Served::start(HttpSettings { http2_streams: std::num::NonZeroU32::MIN, ..patient() }).await;
    let (mut sender, _connection) = client(&served).await;
    // The server's limits are known with its first answer.
    text(get(&mut sender, "/").await).await;
    let first = tokio::spawn(sender.send_request(request("/gate")));
    served.gate.until_entered().await;
    let second = tokio::spawn(sender.send_request(request("/")));
    ask(&mut served.connect().await, GET).await;
    assert_eq!(served.gauges.requests(), 3);
    served.gate.open();
    for answer in [first, second] {
        assert_eq!(within(answer).await.unwrap().unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_body_too_large_is_refused_and_the_connection_goes_on() {
    let served = Served::start(patient()).await;
    let (mut sender, _connection) = client(&served).await;
    let large = Request::post("http://test/echo").body(Body::from(vec![b'x'; 3 << 20])).unwrap();
    let refused = within(sender.send_request(large)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(get(&mut sender, "/").await).await, "hello\n");
}

#[tokio::test]
async fn a_stream_whose_answer_is_not_taken_ends_and_the_connection_goes_on() {
    let served = Served::start(HttpSettings { send_timeout: SHORT, ..patient() }).await;
    let io = TokioIo::new(served.connect().await);
    let mut windowless = http2::Builder::new(TokioExecutor::new());
    windowless.initial_stream_window_size(0);
    let (mut sender, connection) = windowless.handshake(io).await.unwrap();
    let _connection: Connection = tokio::spawn(connection);
    for (ended, path) in (1..).zip(["/", "/large"]) {
        let answer = get(&mut sender, path).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(within(answer.into_body().collect()).await.is_err());
        assert_eq!(served.gauges.timed_out(), ended);
    }
    served.gate.open();
    assert_eq!(text(get(&mut sender, "/gate").await).await, "");
}

#[tokio::test]
async fn a_stream_whose_answer_is_taken_slowly_goes_on() {
    with_more_and_more_time(|time| async move {
        let served = Served::start(HttpSettings { send_timeout: time * 6, ..patient() }).await;
        let (mut sender, _connection) = client(&served).await;
        let mut body = get(&mut sender, "/large").await.into_body();
        for _ in 0..20 {
            // The client is slow on purpose; nothing waits for this.
            tokio::time::sleep(time * 4 / 10).await;
            within(body.frame()).await.unwrap().unwrap();
        }
        let rest = within(body.collect()).await.unwrap().to_bytes();
        assert!(rest.len() > LARGE / 2);
        assert_eq!(served.gauges.timed_out(), 0);
    })
    .await;
}
