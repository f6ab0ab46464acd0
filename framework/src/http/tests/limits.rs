//! Time-outs, and how many connections there may be.

use super::*;

#[tokio::test]
async fn a_silent_client_is_closed_without_a_word() {
    let served = Served::start(HttpSettings { first_byte_timeout: SHORT, ..patient() }).await;
    assert_eq!(rest(&mut served.connect().await).await, "");
    assert_eq!(served.gauges.timed_out(), 1);
}

#[tokio::test]
async fn a_half_sent_head_is_answered_with_408() {
    let served = Served::start(HttpSettings { header_timeout: SHORT, ..patient() }).await;
    let mut client = served.connect().await;
    client.write_all(b"GET / HT").await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_head_that_trickles_in_gains_no_time() {
    let served = Served::start(HttpSettings { header_timeout: SHORT, ..patient() }).await;
    let (mut reading, mut writing) = served.connect().await.into_split();
    ask_over(&mut reading, &mut writing).await;
    let trickle = async {
        for byte in b"GET / HTTP/1.1\r\nhost: ".iter().chain(std::iter::repeat(&b'x')) {
            // The client is slow on purpose; nothing waits for this.
            tokio::time::sleep(SHORT / 10).await;
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    let mut bytes = Vec::new();
    tokio::select! {
        _ = within(reading.read_to_end(&mut bytes)) => {}
        () = trickle => {}
    }
    assert_eq!(served.gauges.timed_out(), 1);
}

async fn ask_over(reading: &mut (impl AsyncReadExt + Unpin), writing: &mut (impl AsyncWriteExt + Unpin)) {
    writing.write_all(GET).await.unwrap();
    assert_eq!(answer(reading).await.1, "hello\n");
}

#[tokio::test]
async fn a_connection_is_closed_when_it_was_idle_too_long() {
    with_more_and_more_time(|time| async move {
        let served = Served::start(HttpSettings { keep_alive_timeout: time, ..patient() }).await;
        let mut client = served.connect().await;
        for _ in 0..3 {
            assert_eq!(ask(&mut client, GET).await.1, "hello\n");
        }
        let idle_since = Instant::now();
        assert_eq!(rest(&mut client).await, "");
        assert_took(idle_since.elapsed(), time);
    })
    .await;
}

#[tokio::test]
async fn a_slow_handler_is_given_its_time() {
    with_more_and_more_time(|time| async move {
        let timeouts = HttpSettings {
            first_byte_timeout: time,
            header_timeout: time,
            keep_alive_timeout: time,
            ..patient()
        };
        let served = Served::start(timeouts).await;
        let mut client = served.connect().await;
        client.write_all(GATED).await.unwrap();
        served.gate.until_entered().await;
        // Another connection that is cut shows that the time-outs have passed; three of them, that they passed thrice.
        for _ in 0..3 {
            let begun = Instant::now();
            rest(&mut served.connect().await).await;
            assert_took(begun.elapsed(), time);
        }
        served.gate.open();
        assert!(answer(&mut client).await.0.starts_with("HTTP/1.1 200 "));
        let idle_since = Instant::now();
        assert_eq!(rest(&mut client).await, "");
        assert_took(idle_since.elapsed(), time);
    })
    .await;
}

const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n";

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let settings = HttpSettings { send_timeout: SHORT, ..patient() };
    let served = Served::start(settings).await;
    let mut client = served.connect().await;
    client.write_all(GET_LARGE).await.unwrap();
    let cut = async {
        while served.gauges.timed_out() == 0 {
            tokio::task::yield_now().await;
        }
    };
    within(cut).await;
    let received = within(tokio::io::copy(&mut client, &mut tokio::io::sink())).await;
    assert!(received.is_err() || received.is_ok_and(|n| n < LARGE as u64));
}

#[tokio::test]
async fn a_client_that_takes_its_answer_byte_by_byte_is_cut() {
    let settings = HttpSettings { send_timeout: SHORT, ..patient() };
    let served = Served::start(settings).await;
    let mut client = served.connect().await;
    client.write_all(GET_LARGE).await.unwrap();
    let trickle = async {
        while served.gauges.timed_out() == 0 {
            // What the client does at its own pace is what this is about.
            tokio::time::sleep(SHORT / 10).await;
            client.read_u8().await.unwrap();
        }
    };
    within(trickle).await;
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_is_not_cut() {
    with_more_and_more_time(|time| async move {
        let (send_timeout, keep_alive_timeout) = (time * 6, time);
        let settings = HttpSettings { send_timeout, keep_alive_timeout, ..patient() };
        let served = Served::start(settings).await;
        let mut client = served.connect().await;
        client.write_all(GET_LARGE).await.unwrap();
        let mut piece = vec![0; LARGE / 20];
        for _ in 0..20 {
            // The client is slow on purpose; nothing waits for this.
            tokio::time::sleep(time * 4 / 10).await;
            within(client.read_exact(&mut piece)).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_over_the_cap_waits_until_another_leaves() {
    let served =
        Served::start(HttpSettings { max_connections: std::num::NonZeroUsize::MIN, ..patient() }).await;
    let mut first = served.connect().await;
    assert_eq!(ask(&mut first, GET).await.1, "hello\n");
    let mut second = served.connect().await;
    second.write_all(GET).await.unwrap();
    // The first is served again, with the second one waiting all the while.
    assert_eq!(ask(&mut first, GET).await.1, "hello\n");
    assert_eq!((served.gauges.connections(), served.gauges.accepted()), (1, 1));
    drop(first);
    assert_eq!(answer(&mut second).await.1, "hello\n");
    assert_eq!((served.gauges.connections(), served.gauges.accepted()), (1, 2));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_with_431() {
    let served = Served::start(HttpSettings { header_limit: bytesize::ByteSize::kib(8), ..patient() }).await;
    let large = format!("GET / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n", "x".repeat(9000));
    let many = format!("GET / HTTP/1.1\r\nhost: test\r\n{}\r\n", "x: y\r\n".repeat(101));
    for head in [large, many] {
        let mut client = served.connect().await;
        client.write_all(head.as_bytes()).await.unwrap();
        let answered = rest(&mut client).await;
        assert!(answered.starts_with("HTTP/1.1 431 "), "{answered}");
    }
}
