//! Bodies of requests: the limit, and that a refused client can read why.

use super::*;

const TOO_MUCH: usize = 3 << 20;

#[tokio::test]
async fn a_body_up_to_the_limit_is_taken() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    let head = format!("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", 1 << 20);
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
    assert_eq!(answer(&mut client).await.1.len(), 1 << 20);
    assert_eq!(ask(&mut client, GET).await.1, "hello\n");
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_before_it_is_sent() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    let head = format!("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: {TOO_MUCH}\r\n\r\n");
    let (answered, _) = ask(&mut client, head.as_bytes()).await;
    assert!(answered.starts_with("HTTP/1.1 413 "), "{answered}");
    assert!(answered.contains("connection: close\r\n"), "{answered}");
    assert_eq!(served.gauges.refused(), 1);
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_sees_the_refusal() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    let head = format!("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: {TOO_MUCH}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    within(client.write_all(&vec![b'x'; TOO_MUCH])).await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_chunked_body_is_refused_when_it_grows_too_large() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    client
        .write_all(b"POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..TOO_MUCH / 0x10000 {
        within(client.write_all(&chunk)).await.unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let answered = rest(&mut client).await;
    assert!(answered.starts_with("HTTP/1.1 413 "), "{answered}");
    assert!(answered.contains("connection: close\r\n"), "{answered}");
}

#[tokio::test]
async fn a_client_whose_body_is_ignored_sees_its_answer() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    let head = format!("POST /ignore HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", 1 << 20);
    client.write_all(head.as_bytes()).await.unwrap();
    within(client.write_all(&vec![b'x'; 1 << 20])).await.unwrap();
    assert!(rest(&mut client).await.ends_with("ignored\n"));
}

#[tokio::test]
async fn a_client_that_does_not_speak_http_is_told_so() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    within(client.write_all(&vec![b'\0'; 1 << 20])).await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_body_that_pauses_too_long_is_answered_with_408() {
    let served = Served::start(HttpSettings { body_timeout: SHORT, ..patient() }).await;
    let mut client = served.connect().await;
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    let answered = rest(&mut client).await;
    assert!(answered.starts_with("HTTP/1.1 408 "), "{answered}");
    assert!(answered.contains("connection: close\r\n"), "{answered}");
    assert_eq!(served.gauges.timed_out(), 1);
}

#[tokio::test]
async fn a_body_that_trickles_in_gains_no_time() {
    let served = Served::start(HttpSettings { body_timeout: SHORT, ..patient() }).await;
    let (mut reading, mut writing) = served.connect().await.into_split();
    writing.write_all(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
    let trickle = async {
        // The client is slow on purpose; nothing waits for this.
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::select! {
        (head, _) = answer(&mut reading) => assert!(head.starts_with("HTTP/1.1 408 "), "{head}"),
        () = trickle => panic!("the connection was cut without an answer"),
    }
}

#[tokio::test]
async fn a_handler_may_take_its_time_for_a_body() {
    let served = Served::start(HttpSettings { body_timeout: SHORT, ..patient() }).await;
    let mut client = served.connect().await;
    let head = b"POST /gated-echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";
    client.write_all(head).await.unwrap();
    served.gate.until_entered().await;
    // A client that is given up shows that the time has passed.
    let mut slow = served.connect().await;
    slow.write_all(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n").await.unwrap();
    answer(&mut slow).await;
    served.gate.open();
    assert_eq!(answer(&mut client).await.1, "body");
}
