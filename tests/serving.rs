//! HTTP as users of an app see it.

use std::io::{BufReader, Write};
use std::net::TcpStream;

use hatchery::testing::{Answer, PATIENCE, eventually};
use rustix::process::Signal;

use crate::harness::{cluster, json, site};

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn bodies_up_to_the_limit_come_back_and_larger_ones_are_refused() {
    let cluster = cluster("");
    let largest = vec![b'x'; 1 << 20];
    let answer = cluster.exchange(&post("/echo", &largest)).unwrap();
    assert_eq!((answer.code, answer.body.len()), (200, largest.len()));
    let answer = cluster.exchange(&post("/echo", &vec![b'x'; (1 << 20) + 1])).unwrap();
    assert_eq!(answer.code, 413);
}

#[test]
fn health_and_readiness_are_answered() {
    let cluster = cluster("");
    assert_eq!((cluster.get("/healthz").code, cluster.get("/readyz").code), (200, 200));
    assert_eq!(cluster.get("/nowhere").code, 404);
}

#[test]
fn a_draining_worker_is_alive_and_not_ready() {
    let mut cluster = cluster("");
    let connect = || {
        let stream = TcpStream::connect(cluster.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        BufReader::new(stream)
    };
    let marker = cluster.site().dir().join("slow-began");
    let mut slow = connect();
    slow.get_mut()
        .write_all(
            b"GET /slow?ms=1000 HTTP/1.1\r\nHost: test\r\n\r\nGET /readyz HTTP/1.1\r\nHost: test\r\n\r\n",
        )
        .unwrap();
    eventually("the request is in flight", || marker.exists().then_some(()));
    cluster.signal(Signal::TERM);
    let last = Answer::read(&mut slow).unwrap();
    assert_eq!((last.code, last.header("connection")), (200, Some("close")));
    assert!(Answer::read(&mut slow).is_err(), "nothing comes after the last answer");
    assert_eq!(cluster.wait().code(), Some(0));
}

#[test]
fn several_listeners_and_a_unix_socket_serve_the_same_pages() {
    let site = site("");
    let socket = site.dir().join("web.sock");
    let address = format!("unix:{}", socket.display());
    let cluster =
        hatchery::testing::Cluster::start_at(site, &["--listen", "127.0.0.1:0", "--listen", &address]);
    let listeners = cluster.status().listeners;
    assert_eq!(
        listeners.iter().map(|listener| listener.name.as_str()).collect::<Vec<_>>(),
        ["http", "http-2", "http-3"]
    );
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert_eq!(json(&Answer::read(&mut BufReader::new(stream)).unwrap().body)["generation"], 1);
}
