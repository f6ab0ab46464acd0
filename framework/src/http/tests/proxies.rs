//! Clients behind proxies, and how many connections each may hold.

use super::*;

const PROXIED: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n";

fn trusting(proxies: &[&str], proxy_protocol: bool) -> HttpSettings {
    let trusted_proxies = proxies.iter().map(|text| text.parse().unwrap()).collect();
    HttpSettings { trusted_proxies, proxy_protocol, ..patient() }
}

/// As whom the server sees one that says to speak for another.
async fn seen(served: &Served, first: &[u8], forwarded: &str) -> String {
    let mut client = served.connect().await;
    let head = format!("GET /client HTTP/1.1\r\nhost: test\r\nx-forwarded-for: {forwarded}\r\n\r\n");
    ask(&mut client, &[first, head.as_bytes()].concat()).await.1
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed() {
    let believed = Served::start(trusting(&["127.0.0.0/8"], false)).await;
    assert_eq!(seen(&believed, b"", "198.51.100.1, 203.0.113.9").await, "203.0.113.9");
    let doubted = Served::start(trusting(&["10.0.0.0/8"], false)).await;
    assert_eq!(seen(&doubted, b"", "203.0.113.9").await, "127.0.0.1");
    assert_eq!(seen(&Served::start(patient()).await, b"", "203.0.113.9").await, "127.0.0.1");
}

#[tokio::test]
async fn a_client_is_told_by_the_header_before_its_first_request() {
    let served = Served::start(trusting(&["127.0.0.1"], true)).await;
    assert_eq!(seen(&served, PROXIED, "198.51.100.1").await, "203.0.113.9");
    // In pieces, with others served in between, and for every request of the connection.
    let mut client = served.connect().await;
    for piece in PROXIED.chunks(15) {
        client.write_all(piece).await.unwrap();
        seen(&served, PROXIED, "").await;
    }
    for _ in 0..2 {
        let (_, body) = ask(&mut client, b"GET /client HTTP/1.1\r\nhost: test\r\n\r\n").await;
        assert_eq!(body, "203.0.113.9");
    }
}

#[tokio::test]
async fn nobody_is_served_without_the_header_and_nobody_else_may_send_it() {
    for (proxies, first) in [(["127.0.0.1"], GET), (["10.0.0.1"], PROXIED), (["127.0.0.1"], b"PROXY X\r\n")] {
        let served = Served::start(trusting(&proxies, true)).await;
        let mut client = served.connect().await;
        client.write_all(first).await.unwrap();
        client.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        let _ = within(client.read_to_end(&mut bytes)).await;
        assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(served.gauges.requests(), 0);
    }
}

#[tokio::test]
async fn a_client_holds_as_many_connections_as_it_may_and_a_proxy_any_number() {
    let limited =
        |proxies: &[&str]| HttpSettings { max_connections_per_client: 1, ..trusting(proxies, false) };
    let served = Served::start(limited(&[])).await;
    let mut first = served.connect().await;
    ask(&mut first, GET).await;
    assert_eq!(rest(&mut served.connect().await).await, "");
    assert_eq!(served.gauges.turned_away(), 1);
    assert_eq!(ask(&mut first, GET).await.1, "hello\n");
    let served = Served::start(limited(&["127.0.0.1"])).await;
    let mut clients = [served.connect().await, served.connect().await];
    for client in &mut clients {
        assert_eq!(ask(client, GET).await.1, "hello\n");
    }
}
