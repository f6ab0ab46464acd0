//! The room over real sockets: a client that writes bytes, and what it reads back.

mod bodies;
mod draining;
mod handing;
mod leaving;
mod limits;
mod proxies;
mod secured;
mod streams;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::listener::Listener;
use super::*;

/// The time-outs of the tests; whatever must not be cut lasts several times as long.
const SHORT: Duration = Duration::from_millis(100);

/// Far beyond anything that a test waits for.
const LONG: Duration = Duration::from_secs(20);

/// More bytes than the buffers of a connection hold.
const LARGE: usize = 20 << 20;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const GATED: &[u8] = b"GET /gate HTTP/1.1\r\nhost: test\r\n\r\n";

/// A handler that tells when it was entered, and waits to be let out.
#[derive(Debug, Clone)]
struct Gate {
    entered: Arc<Semaphore>,
    exit: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Self { entered: Arc::new(Semaphore::new(0)), exit: Arc::new(Semaphore::new(0)) }
    }

    async fn pass(&self) {
        self.entered.add_permits(1);
        self.exit.acquire().await.unwrap().forget();
    }

    async fn until_entered(&self) {
        within(self.entered.acquire()).await.unwrap().forget();
    }

    fn open(&self) {
        self.exit.add_permits(1);
    }
}

/// A listener that nobody else shares.
fn listening(socket: impl Into<OwnedFd>) -> io::Result<Listener> {
    Listener::new(Arc::new(socket.into()), Bell::new()?)
}

struct Served {
    address: SocketAddr,
    gate: Gate,
    gauges: Arc<Gauges>,
    readiness: Arc<Readiness>,
    drain: Drain,
    server: JoinHandle<io::Result<Drained>>,
}

impl Served {
    async fn start(settings: HttpSettings) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self::over(listening(listener).unwrap(), address, settings)
    }

    fn over(listener: Listener, address: SocketAddr, settings: HttpSettings) -> Self {
        Self::behind(Door::Shared(listener), address, settings)
    }

    fn behind(door: Door, address: SocketAddr, settings: HttpSettings) -> Self {
        let (gate, drain) = (Gate::new(), Drain::new());
        let (gauges, readiness) = (Arc::<Gauges>::default(), Arc::<Readiness>::default());
        let serving = (vec![door], router(gate.clone()), gauges.clone(), readiness.clone(), drain.clone());
        let server = tokio::spawn(async move {
            let (doors, router, gauges, readiness, drain) = serving;
            serve(doors, router, &settings, gauges, readiness, drain).await
        });
        Self { address, gate, gauges, readiness, drain, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn until_accepted(&self, count: u64) {
        let accepted = async {
            while self.gauges.accepted() < count {
                tokio::task::yield_now().await;
            }
        };
        within(accepted).await;
    }

    async fn drained(self) -> Drained {
        within(self.server).await.unwrap().unwrap()
    }
}

fn router(gate: Gate) -> Router {
    Router::new()
        .route("/", get(async || "hello\n"))
        .route("/gate", get(async |State(gate): State<Gate>| gate.pass().await))
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
        .route("/client", get(async |ClientAddress(client): ClientAddress| client.unwrap().to_string()))
        .route("/echo", post(async |body: Bytes| body))
        .route("/gated-echo", post(gated_echo))
        .route("/ignore", post(async || "ignored\n"))
        .route("/large", get(async || vec![b'x'; LARGE]))
        .route("/panic", get(panics))
        .route("/upgrade", get(draining::upgrade))
        .with_state(gate)
}

async fn gated_echo(State(gate): State<Gate>, request: Request) -> Vec<u8> {
    gate.pass().await;
    axum::body::to_bytes(request.into_body(), LARGE).await.unwrap().to_vec()
}

async fn panics() -> &'static str {
    panic!("the handler of this test panics, as it should")
}

fn patient() -> HttpSettings {
    HttpSettings {
        first_byte_timeout: LONG,
        header_timeout: LONG,
        keep_alive_timeout: LONG,
        drain_timeout: LONG,
        ..HttpSettings::default()
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(LONG / 2, future).await.expect("this takes no time, but has not happened yet")
}

/// What a client does in time, with ever more time: on a busy machine it may come too late.
async fn with_more_and_more_time<F: Future<Output = ()> + Send + 'static>(attempt: impl Fn(Duration) -> F) {
    for time in [SHORT, SHORT * 10, SHORT * 30] {
        match tokio::spawn(attempt(time)).await {
            Ok(()) => return,
            Err(error) => eprintln!("the attempt with {time:?} failed: {error}"),
        }
    }
    attempt(SHORT * 50).await;
}

/// What is due after a time has come then, and not much later however long the time is.
#[track_caller]
fn assert_took(took: Duration, time: Duration) {
    // The server began to count when it had written what the client has read since.
    assert!((time - SHORT / 2..time + SHORT * 5).contains(&took), "{took:?}, and {time:?} is due");
}

/// All that comes until the server closes.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// One answer with a content length: its head, and its body.
async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    within(stream.read_exact(&mut body)).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), request: &[u8]) -> (String, String) {
    stream.write_all(request).await.unwrap();
    answer(stream).await
}

#[tokio::test]
async fn a_handler_learns_the_address_of_its_client() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    let (_, body) = ask(&mut client, b"GET /peer HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(body, client.local_addr().unwrap().to_string());
}

#[tokio::test]
async fn a_panic_is_answered_with_500_and_the_connection_goes_on() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    let (head, _) = ask(&mut client, b"GET /panic HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    assert_eq!(ask(&mut client, GET).await.1, "hello\n");
    assert_eq!((served.gauges.panics(), served.gauges.requests()), (1, 2));
}

#[tokio::test]
async fn work_for_a_client_that_has_gone_is_dropped() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    client.write_all(GATED).await.unwrap();
    served.gate.until_entered().await;
    drop(client);
    served.drain.begin(Occasion::Stop, None);
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_client_that_closes_its_half_after_asking_is_answered() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    client.write_all(GET).await.unwrap();
    client.shutdown().await.unwrap();
    assert!(rest(&mut client).await.ends_with("hello\n"));
}

#[tokio::test]
async fn requests_sent_in_one_go_are_answered_in_order() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    let (start, end) = GET.split_at(8);
    client.write_all(&[GET, GATED, GET, start].concat()).await.unwrap();
    assert_eq!(answer(&mut client).await.1, "hello\n");
    served.gate.until_entered().await;
    served.gate.open();
    assert_eq!(answer(&mut client).await.1, "");
    assert_eq!(answer(&mut client).await.1, "hello\n");
    assert_eq!(ask(&mut client, end).await.1, "hello\n");
}

#[tokio::test]
async fn the_health_routes_tell_where_the_worker_stands() {
    let served = Served::start(patient()).await;
    let mut client = served.connect().await;
    let ready = b"GET /readyz HTTP/1.1\r\nhost: test\r\n\r\n";
    assert_eq!(ask(&mut client, b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").await.1, "ok\n");
    for (standing, status, text) in [
        (Standing::Starting, "503", "starting\n"),
        (Standing::Ready, "200", "ready\n"),
        (Standing::Draining, "503", "draining\n"),
    ] {
        served.readiness.set(standing);
        let (head, body) = ask(&mut client, ready).await;
        assert_eq!((&head[9..12], body.as_str()), (status, text));
    }
}

#[tokio::test]
async fn the_health_routes_can_be_left_to_the_router() {
    let served = Served::start(HttpSettings { health_routes: false, ..patient() }).await;
    let (head, _) = ask(&mut served.connect().await, b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

#[test]
fn settings_left_out_keep_their_defaults_and_unknown_ones_are_refused() {
    let settings: HttpSettings = toml::from_str("header_timeout = \"2s\"\nbody_limit = \"2 MiB\"").unwrap();
    assert_eq!(settings.header_timeout, Duration::from_secs(2));
    assert_eq!(settings.body_limit.as_u64(), 2 << 20);
    assert_eq!(settings.listen, HttpSettings::default().listen);
    assert!(toml::from_str::<HttpSettings>("header_time_out = \"2s\"").is_err());
}
