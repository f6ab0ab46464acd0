//! The same over TLS: what a client may do, how long it may take, and what becomes of it when the server leaves.

use std::collections::BTreeMap;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::tls::{Acceptor, Pair, Secrets, TicketKey, TicketKeys, TlsVersion};

const NAME: &str = "shop.test";

/// A server that speaks TLS, and who trusts it.
struct Secured {
    served: Served,
    connector: TlsConnector,
}

impl Secured {
    async fn start(settings: HttpSettings) -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let pair = Pair { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() };
        let tickets = TicketKeys::new(TicketKey { name: [1; 16], key: [2; 32], made_at: 0 });
        let secrets = Secrets { certificates: BTreeMap::from([("https".to_owned(), vec![pair])]), tickets };
        let acceptor = Acceptor::new("https", TlsVersion::Tls12, &secrets).unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = listening(socket).unwrap().with_tls(Some(Arc::new(acceptor)));
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(client));
        Self { served: Served::over(listener, address, settings), connector }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = self.served.connect().await;
        within(self.connector.connect(NAME.try_into().unwrap(), stream)).await.unwrap()
    }
}

#[tokio::test]
async fn requests_sent_in_one_go_are_answered_in_order() {
    let secured = Secured::start(patient()).await;
    let mut client = secured.connect().await;
    let (start, end) = GET.split_at(8);
    client.write_all(&[GET, GATED, GET, start].concat()).await.unwrap();
    assert_eq!(answer(&mut client).await.1, "hello\n");
    secured.served.gate.until_entered().await;
    secured.served.gate.open();
    assert_eq!(answer(&mut client).await.1, "");
    assert_eq!(answer(&mut client).await.1, "hello\n");
    assert_eq!(ask(&mut client, end).await.1, "hello\n");
}

#[tokio::test]
async fn what_comes_while_a_handler_works_is_kept() {
    with_more_and_more_time(|time| async move {
        let secured = Secured::start(HttpSettings { header_timeout: time, ..patient() }).await;
        let mut client = secured.connect().await;
        client.write_all(GATED).await.unwrap();
        secured.served.gate.until_entered().await;
        let (start, end) = GET.split_at(8);
        client.write_all(start).await.unwrap();
        // Another connection shows that the server has had its turns.
        assert_eq!(ask(&mut secured.connect().await, GET).await.1, "hello\n");
        secured.served.gate.open();
        assert_eq!(answer(&mut client).await.1, "");
        assert_eq!(ask(&mut client, end).await.1, "hello\n");
        client.write_all(start).await.unwrap();
        let begun = Instant::now();
        assert!(rest(&mut client).await.starts_with("HTTP/1.1 408 "));
        assert_took(begun.elapsed(), time);
    })
    .await;
}

#[tokio::test]
async fn work_for_a_client_that_has_gone_is_dropped() {
    for says_so in [true, false] {
        let secured = Secured::start(patient()).await;
        let mut client = secured.connect().await;
        client.write_all(GATED).await.unwrap();
        secured.served.gate.until_entered().await;
        if says_so {
            client.shutdown().await.unwrap();
        }
        drop(client);
        secured.served.drain.begin(Occasion::Stop, None);
        assert_eq!(secured.served.drained().await, Drained { cut: 0 });
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let secured = Secured::start(HttpSettings { send_timeout: SHORT, ..patient() }).await;
    let mut client = secured.connect().await;
    client.write_all(b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let cut = async {
        while secured.served.gauges.timed_out() == 0 {
            tokio::task::yield_now().await;
        }
    };
    within(cut).await;
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_is_not_cut() {
    with_more_and_more_time(|time| async move {
        let settings = HttpSettings { send_timeout: time * 6, keep_alive_timeout: time, ..patient() };
        let secured = Secured::start(settings).await;
        let mut client = secured.connect().await;
        client.write_all(b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
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
async fn an_idle_client_may_ask_once_more_and_hears_the_end() {
    let secured = Secured::start(patient()).await;
    let mut client = secured.connect().await;
    ask(&mut client, GET).await;
    secured.served.drain.begin(Occasion::Succession, None);
    let (head, body) = ask(&mut client, GET).await;
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!((body.as_str(), rest(&mut client).await.as_str()), ("hello\n", ""));
    assert_eq!(secured.served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn who_has_said_nothing_does_not_hold_up_the_end() {
    let secured = Secured::start(HttpSettings { handshake_timeout: LONG, ..patient() }).await;
    let mut silent = secured.served.connect().await;
    let mut shaken = secured.connect().await;
    secured.served.until_accepted(2).await;
    secured.served.drain.begin(Occasion::Stop, None);
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut shaken).await, "");
    assert_eq!(secured.served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_silent_clients_of_a_succession() {
    let secured = Secured::start(HttpSettings { handshake_timeout: LONG, ..patient() }).await;
    let mut silent = secured.served.connect().await;
    secured.served.until_accepted(1).await;
    secured.served.drain.begin(Occasion::Succession, None);
    let begun = Instant::now();
    while secured.served.readiness.get() != Standing::Draining {
        tokio::task::yield_now().await;
    }
    secured.served.drain.begin(Occasion::Stop, None);
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(secured.served.drained().await, Drained { cut: 0 });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_handshake_under_way_is_finished_while_the_server_leaves_and_cut_at_the_deadline() {
    with_more_and_more_time(|time| async move {
        let secured = Secured::start(HttpSettings { handshake_timeout: LONG, ..patient() }).await;
        let mut stuck = secured.served.connect().await;
        stuck.write_all(&[0x16, 3, 1]).await.unwrap();
        let stream = secured.served.connect().await;
        secured.served.until_accepted(2).await;
        let begun = Instant::now();
        secured.served.drain.begin(Occasion::Succession, Some(time));
        let mut late = within(secured.connector.connect(NAME.try_into().unwrap(), stream)).await.unwrap();
        assert_eq!(ask(&mut late, GET).await.1, "hello\n");
        assert_eq!(secured.served.drained().await, Drained { cut: 1 });
        assert_took(begun.elapsed(), time);
    })
    .await;
}

#[tokio::test]
async fn handshakes_count_as_connections() {
    let settings = HttpSettings { max_connections_per_client: 1, ..patient() };
    let secured = Secured::start(settings).await;
    let silent = secured.served.connect().await;
    secured.served.until_accepted(1).await;
    assert_eq!(rest(&mut secured.served.connect().await).await, "");
    drop(silent);
    let gone = async {
        while secured.served.gauges.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(gone).await;
    assert_eq!(ask(&mut secured.connect().await, GET).await.1, "hello\n");
}
