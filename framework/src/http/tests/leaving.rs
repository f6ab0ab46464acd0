//! Idle connections when a worker leaves: none is cut under a client that asks again, and none holds the worker up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::*;

/// A server on a socket that it shares with others.
fn over(socket: &std::net::TcpListener, settings: HttpSettings) -> Served {
    let listener = listening(socket.try_clone().unwrap()).unwrap();
    Served::over(listener, socket.local_addr().unwrap(), settings)
}

#[tokio::test]
async fn with_a_successor_an_idle_client_may_ask_once_more() {
    let served = Served::start(patient()).await;
    let (mut asked, mut fresh) = (served.connect().await, served.connect().await);
    ask(&mut asked, GET).await;
    ask(&mut served.connect().await, GET).await;
    served.drain.begin(Occasion::Succession, None);
    until_a_stop_is_over().await;
    for client in [&mut asked, &mut fresh] {
        let (head, body) = ask(client, GET).await;
        assert!(head.contains("connection: close\r\n"), "{head}");
        assert_eq!(body, "hello\n");
    }
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_idle_clients_of_a_succession() {
    let served = Served::start(patient()).await;
    let mut idle = served.connect().await;
    ask(&mut idle, GET).await;
    served.drain.begin(Occasion::Succession, None);
    let begun = Instant::now();
    while served.readiness.get() != Standing::Draining {
        tokio::task::yield_now().await;
    }
    served.drain.begin(Occasion::Stop, None);
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(served.drained().await, Drained { cut: 0 });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn clients_that_never_ask_again_are_let_go_one_by_one_before_the_deadline() {
    with_more_and_more_time(|time| async move {
        let served = Served::start(HttpSettings { idle_grace: time, ..patient() }).await;
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = served.connect().await;
            ask(&mut client, GET).await;
            clients.push(client);
        }
        let gauges = served.gauges.clone();
        let begun = Instant::now();
        served.drain.begin(Occasion::Succession, Some(time * 10));
        let mut closed = Vec::new();
        for client in &mut clients {
            assert_eq!(rest(client).await, "");
            closed.push(begun.elapsed());
        }
        assert!(closed[0] >= time, "{closed:?}");
        assert_eq!(served.drained().await, Drained { cut: 0 });
        assert_eq!(gauges.timed_out(), 0, "leaving is not the client's fault");
    })
    .await;
}

/// Waits until a server that stops now has let the last of its idle clients go.
async fn until_a_stop_is_over() {
    let stopping = Served::start(patient()).await;
    let mut idle = Vec::new();
    // The last of so many is let go near the end of the time that a stop leaves them.
    for _ in 0..8 {
        let mut client = stopping.connect().await;
        ask(&mut client, GET).await;
        idle.push(client);
    }
    stopping.drain.begin(Occasion::Stop, None);
    assert_eq!(stopping.drained().await, Drained { cut: 0 });
}

/// Asks without a pause, on a connection for as long as the server keeps it, until told to stop.
async fn never_pause(address: SocketAddr, stop: &AtomicBool, answers: &AtomicUsize) -> io::Result<()> {
    while !stop.load(Relaxed) {
        let mut client = TcpStream::connect(address).await?;
        let mut last = false;
        while !last && !stop.load(Relaxed) {
            client.write_all(GET).await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\nhello\n") {
                if client.read_buf(&mut head).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            answers.fetch_add(1, Relaxed);
            last = String::from_utf8_lossy(&head).contains("connection: close");
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_request_of_64_clients_that_never_pause_is_lost_in_20_drains() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut serving = over(&socket, patient());
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (stop, answers) = (stop.clone(), answers.clone());
            tokio::spawn(async move { never_pause(address, &stop, &answers).await })
        })
        .collect();
    for round in 0..20 {
        let enough = answers.load(Relaxed) + 500;
        let successor = over(&socket, patient());
        let leaving = std::mem::replace(&mut serving, successor);
        leaving.drain.begin(if round % 2 == 0 { Occasion::Stop } else { Occasion::Succession }, None);
        assert_eq!(leaving.drained().await, Drained { cut: 0 });
        while answers.load(Relaxed) < enough {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Relaxed);
    for client in clients {
        within(client).await.unwrap().unwrap();
    }
}
