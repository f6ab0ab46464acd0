//! HTTP as users of an app see it.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hatchery::status::{ProcessState, Status};
use hatchery::testing::{Answer, Cluster, PATIENCE, eventually};
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::harness::{Running, cluster, json, log_lines, site};
use crate::retry::one_of;

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
    assert_eq!(cluster.get("/healthz").code, 200);
    assert_eq!(cluster.get("/readyz").code, 200, "every worker knows before the line is printed");
    assert_eq!(cluster.get("/nowhere").code, 404);
}

fn connect(cluster: &Cluster) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(cluster.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn ask(stream: &mut BufReader<TcpStream>, path: &str) -> std::io::Result<Answer> {
    write!(stream.get_mut(), "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")?;
    Answer::read(stream)
}

#[test]
fn a_draining_worker_says_so_with_its_last_answer() {
    one_of(0..3, |_| says_with_its_last_answer_that_it_drains());
}

/// An error says that the client was too late.
fn says_with_its_last_answer_that_it_drains() -> Result<(), String> {
    let mut cluster = Cluster::start_at(site(""), &["--workers", "1"]);
    let marker = cluster.site().dir().join("slow-began");
    let (mut slow, mut asking) = (connect(&cluster), connect(&cluster));
    slow.get_mut().write_all(b"GET /slow?ms=3000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("the request is in flight", || marker.exists().then_some(()));
    let mut asked = Instant::now();
    assert_eq!(ask(&mut asking, "/readyz").unwrap().code, 200);
    cluster.signal(Signal::TERM);
    // A connection that is asked again and again is not idle, so its next answer is the last.
    let last = loop {
        let asked_before = std::mem::replace(&mut asked, Instant::now());
        match ask(&mut asking, "/readyz") {
            Ok(answer) if answer.code == 200 => {}
            Ok(answer) => break answer,
            Err(error) => {
                // One on which nobody asks for a second, as on a very busy machine, is idle, and closed without a word.
                let idle = asked_before.elapsed();
                assert!(idle >= Duration::from_secs(1), "cut without a last answer after {idle:?}: {error}");
                return Err(format!("nobody asked for {idle:?}"));
            }
        }
    };
    assert_eq!(
        (last.code, last.body.as_str(), last.header("connection")),
        (503, "draining\n", Some("close"))
    );
    eventually("nobody can connect any more", || {
        TcpStream::connect(cluster.address()).is_err().then_some(())
    });
    let slow = Answer::read(&mut slow).unwrap();
    assert_eq!((slow.code, slow.header("connection")), (200, Some("close")));
    assert_eq!(cluster.wait().code(), Some(0));
    Ok(())
}

#[test]
fn a_worker_that_waits_for_the_others_is_alive_and_not_ready() {
    let site = site("late = 1");
    let _master = Running::start(&site, &[]);
    let serving =
        |status: &Status| status.workers.iter().any(|worker| worker.process.state == ProcessState::Ready);
    let status = eventually("one worker serves", || site.status().filter(serving));
    let address = &status.listeners[0].address;
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        Answer::read(&mut BufReader::new(stream)).unwrap()
    };
    assert_eq!(ask("/healthz").code, 200);
    let answer = ask("/readyz");
    assert_eq!((answer.code, answer.body.as_str()), (503, "starting\n"));
    std::fs::write(site.dir().join("go"), "").unwrap();
    eventually("the cluster is ready", || (ask("/readyz").code == 200).then_some(()));
}

#[test]
fn a_client_that_does_not_finish_its_head_is_cut_in_the_configured_time() {
    let options = ["--set", "http.header_timeout=100ms", "--set", "http.first_byte_timeout=100ms"];
    let cluster = Cluster::start_at(site(""), &options);
    for beginning in [&b""[..], b"GET / HT"] {
        let mut stream = connect(&cluster);
        // Who is too slow on a busy machine to say even this much is reset.
        let written = stream.get_mut().write_all(beginning);
        let mut rest = Vec::new();
        match written.and_then(|()| stream.read_to_end(&mut rest)) {
            Err(error) if !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                panic!("{error}")
            }
            _ => {}
        }
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    }
    let _ = cluster.wait_for("both are counted", |status| {
        status.workers.iter().map(|worker| worker.timed_out).sum::<u64>() == 2
    });
}

#[test]
fn a_full_worker_leaves_further_connections_waiting() {
    let cluster = Cluster::start_at(site(""), &["--workers", "1", "--set", "http.max_connections=1"]);
    let mut first = connect(&cluster);
    assert_eq!(ask(&mut first, "/").unwrap().code, 200);
    let mut second = connect(&cluster);
    write!(second.get_mut(), "GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let _ = cluster.wait_for("the figures", |status| status.workers[0].accepted == 1);
    drop(first);
    assert_eq!(Answer::read(&mut second).unwrap().code, 200);
}

#[test]
fn a_worker_without_free_descriptors_serves_on_when_it_has_some_again() {
    let cluster = Cluster::start_at(site("greeting = 'hi'"), &["--workers", "1"]);
    let worker = Pid::from_raw(cluster.status().workers[0].process.pid.unwrap().cast_signed());
    let few = Rlimit { current: Some(32), maximum: Some(32) };
    rustix::process::prlimit(worker, Resource::Nofile, few).unwrap();
    let crowd: Vec<_> = (0..100).map(|_| connect(&cluster)).collect();
    let shortage = || log_lines(cluster.site(), "web.log", "cannot accept connections for now");
    eventually("the shortage is logged", || (!shortage().is_empty()).then_some(()));
    drop(crowd);
    assert_eq!(cluster.get("/").body, "hi");
    assert_eq!(cluster.status().workers[0].process.restarts, 0);
}

#[test]
fn several_listeners_and_a_unix_socket_serve_the_same_pages() {
    let site = site("");
    let socket = site.dir().join("web.sock");
    let address = format!("unix:{}", socket.display());
    let cluster = Cluster::start_at(site, &["--listen", "127.0.0.1:0", "--listen", &address]);
    let listeners = cluster.status().listeners;
    assert_eq!(
        listeners.iter().map(|listener| listener.name.as_str()).collect::<Vec<_>>(),
        ["http", "http-2"]
    );
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert_eq!(json(&Answer::read(&mut BufReader::new(stream)).unwrap().body)["generation"], 1);
}
