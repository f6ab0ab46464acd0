//! Connections that the master hands over: the test is the master.

use std::os::unix::net::UnixStream as Pair;

use tokio::net::UnixStream;

use super::super::handed::Handed;
use super::*;
use crate::handover::{BUNDLE, Connection, Handover};

/// A server to which connections are handed over, and the way by which they come.
fn start(settings: HttpSettings) -> (Served, Handover) {
    let way = Handover::new().unwrap();
    // The end that the worker gets is a descriptor of its own.
    let end = Arc::new(way.receiving_end().try_clone().unwrap());
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    (Served::behind(Door::Handed(Handed::new(end).unwrap()), address, settings), way)
}

/// So many clients, and their connections.
fn clients(count: usize) -> (Vec<UnixStream>, Vec<Connection>) {
    let pair = || {
        let (client, socket) = Pair::pair().unwrap();
        [&client, &socket].into_iter().for_each(|end| end.set_nonblocking(true).unwrap());
        (UnixStream::from_std(client).unwrap(), Connection { door: 0, client: None, socket: socket.into() })
    };
    std::iter::repeat_with(pair).take(count).unzip()
}

#[tokio::test]
async fn what_fits_is_taken_up_when_the_master_makes_less_of_a_bundle_that_does_not() {
    const ROOM: usize = 3;
    let (served, way) = start(HttpSettings { max_connections: BUNDLE.try_into().unwrap(), ..patient() });
    let (mut kept, before) = clients(BUNDLE - ROOM);
    way.send(&before).unwrap();
    served.until_accepted(before.len() as u64).await;
    let (mut clients, bundle) = clients(BUNDLE);
    way.send(&bundle).unwrap();
    // What came after the bundle is answered by the same thread, so that the bundle was looked at.
    assert_eq!(ask(&mut kept[0], GET).await.1, "hello\n");
    assert_eq!(way.lying(), BUNDLE);
    while way.take_back().unwrap().is_some() {}
    bundle.iter().for_each(|one| way.send(std::slice::from_ref(one)).unwrap());
    for client in &mut clients[..ROOM] {
        assert_eq!(ask(client, GET).await.1, "hello\n");
    }
    assert_eq!(way.lying(), BUNDLE - ROOM);
    clients.drain(..ROOM);
    assert_eq!(ask(&mut clients[0], GET).await.1, "hello\n");
}

#[tokio::test]
async fn what_is_handed_over_after_the_begin_of_a_stop_is_served() {
    let (served, way) = start(patient());
    served.drain.begin(Occasion::Stop, None);
    while served.readiness.get() != Standing::Draining {
        tokio::task::yield_now().await;
    }
    let (mut clients, connections) = clients(BUNDLE + 1);
    connections.chunks(BUNDLE).for_each(|bundle| way.send(bundle).unwrap());
    drop((way, connections));
    for client in &mut clients {
        let (head, body) = ask(client, GET).await;
        assert!(head.contains("connection: close\r\n") && body == "hello\n", "{head}");
    }
    assert_eq!(served.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever_for_a_master_that_leaves_the_way_open() {
    let (served, way) = start(patient());
    served.drain.begin(Occasion::Stop, None);
    assert_eq!(served.drained().await, Drained { cut: 0 });
    assert_eq!(way.lying(), 0);
}
