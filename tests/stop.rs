//! Graceful and fast stops, and what is in flight then.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hatchery::status::Status;
use hatchery::testing::{Answer, Cluster, PATIENCE, eventually, is_running, send_signal};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::harness::{FAST, cluster, json, log_lines, pids, processes_in, site, stdout};
use crate::retry::one_of;

/// A request in flight: its answer comes after `milliseconds`.
fn begin_slow(cluster: &Cluster, milliseconds: u64) -> thread::JoinHandle<std::io::Result<Answer>> {
    begin(cluster, &format!("/slow?ms={milliseconds}"))
}

/// A request for one of the pages that leave a file when they begin, in flight.
fn begin(cluster: &Cluster, path: &str) -> thread::JoinHandle<std::io::Result<Answer>> {
    begin_on(cluster, TcpStream::connect(cluster.address()).unwrap(), path)
}

fn begin_on(
    cluster: &Cluster,
    mut stream: TcpStream,
    path: &str,
) -> thread::JoinHandle<std::io::Result<Answer>> {
    let marker = cluster.site().dir().join("slow-began");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("the request is in flight", || marker.exists().then_some(()));
    thread::spawn(move || Answer::read(&mut BufReader::new(stream)))
}

#[test]
fn a_stop_lets_requests_finish_and_says_that_they_are_the_last() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut cluster = cluster("");
        let children = pids(&cluster.status());
        let answer = begin(&cluster, "/slow-to-leave?ms=400");
        cluster.signal(signal);
        let answer = answer.join().unwrap().unwrap();
        assert_eq!((answer.code, answer.body.as_str()), (200, "slow but sure"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(cluster.wait().code(), Some(0));
        assert!(!children.iter().any(|pid| is_running(*pid)));
        assert!(!cluster.site().dir().join("run/ready").exists());
        assert_eq!(
            log_lines(cluster.site(), "web.log", "has drained").len(),
            2,
            "the authors' last lines run"
        );
    }
}

#[test]
fn an_idle_cluster_stops_at_once_although_clients_keep_connections() {
    let mut cluster = cluster("");
    let _kept: Vec<BufReader<TcpStream>> = (0..10).map(|_| asked_once(&cluster).0).collect();
    let began = Instant::now();
    assert_eq!(cluster.stop().code(), Some(0));
    // It has 30 s for those who do not finish.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn the_deadline_ends_what_does_not_finish() {
    let mut cluster = cluster("");
    let answer = begin_slow(&cluster, 60_000);
    let began = Instant::now();
    let output = cluster.site().run(&["stop", "--timeout", "300ms"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "probe has stopped\n"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(answer.join().unwrap().is_err(), "its connection was cut");
    assert_eq!(cluster.wait().code(), Some(0));
}

#[test]
fn a_second_signal_stops_fast() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::QUIT)] {
        let mut cluster = cluster("");
        let answer = begin_slow(&cluster, 60_000);
        cluster.signal(first);
        let _ = cluster
            .wait_for("the stop begins", |status| status.state == hatchery::status::ClusterState::Stopping);
        cluster.signal(second);
        assert_eq!(cluster.wait().code(), Some(0));
        assert!(answer.join().unwrap().is_err());
        assert_eq!(processes_in(cluster.site().dir()), [0; 0]);
    }
}

#[test]
fn a_quit_signal_and_a_fast_stop_wait_for_nothing() {
    let mut cluster = cluster("");
    let answer = begin_slow(&cluster, 60_000);
    cluster.signal(Signal::QUIT);
    assert_eq!(cluster.wait().code(), Some(0));
    assert!(answer.join().unwrap().is_err());

    cluster.start_again(FAST);
    std::fs::remove_file(cluster.site().dir().join("slow-began")).unwrap();
    let answer = begin_slow(&cluster, 60_000);
    assert_eq!(cluster.site().run(&["stop", "--fast"]).status.code(), Some(0));
    assert!(answer.join().unwrap().is_err());
}

#[test]
fn a_stop_of_stopped_processes_ends_all_the_same() {
    let mut cluster = cluster("");
    for pid in pids(&cluster.status()) {
        send_signal(pid, Signal::STOP);
    }
    assert_eq!(cluster.site().run(&["stop", "--timeout", "100ms"]).status.code(), Some(0));
    assert_eq!(cluster.wait().code(), Some(0));
    assert_eq!(processes_in(cluster.site().dir()), [0; 0]);
}

#[test]
fn a_stop_does_not_wait_for_the_examination_of_a_worker_that_hangs() {
    let site = site("");
    let tools = site.dir().join("tools");
    std::fs::create_dir(&tools).unwrap();
    // A debugger that comes to no end, written by a process of its own: what this one has open for writing while another
    // test starts something cannot be executed.
    let script = "printf '#!/bin/sh\\n: > examined\\nexec sleep 600\\n' > eu-stack && chmod 755 eu-stack";
    assert!(Command::new("sh").args(["-c", script]).current_dir(&tools).status().unwrap().success());
    let mut command = site.command(&["start", "--listen", "127.0.0.1:0", "--workers", "2"]);
    command.args(FAST).args(["--set", "cluster.heartbeat_timeout=1s"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", tools.display()));
    let mut cluster = Cluster::start_by(command, site);
    let hung = pids(&cluster.status())[1];
    send_signal(hung, Signal::STOP);
    let examined = cluster.site().dir().join("examined");
    eventually("it is examined", || examined.exists().then_some(()));
    assert_eq!(cluster.site().run(&["stop", "--timeout", "100ms"]).status.code(), Some(0));
    assert_eq!(cluster.wait().code(), Some(0));
    assert_eq!(log_lines(cluster.site(), "master.log", "was not done after"), [""; 0], "nobody waited");
    assert_eq!(processes_in(cluster.site().dir()), [0; 0]);
}

#[test]
fn a_start_can_be_interrupted() {
    let site = site("agent = 'wait'");
    let mut master = crate::harness::Running::start(&site, &[]);
    eventually("the agent starts", || site.status().filter(|status| status.agent.process.pid.is_some()));
    hatchery::testing::send_signal(master.0.id(), Signal::INT);
    let status = eventually("the master ends", || master.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_eq!(processes_in(site.dir()), [0; 0]);
}

#[test]
fn load_balancers_hear_of_a_stop_before_it_begins() {
    let options = [FAST, &["--set", "http.stop_delay=1h", "--set", "cluster.stop_timeout=1h"]].concat();
    let mut cluster = Cluster::start_at(site(""), &options);
    let state = || json(&cluster.get("/whoami").body);
    assert_eq!(cluster.get("/readyz").code, 200);
    cluster.signal(Signal::TERM);
    eventually("both workers say so", || (0..10).all(|_| cluster.get("/readyz").code == 503).then_some(()));
    assert!((0..10).all(|_| state()["pid"].is_u64()), "everything else goes on");
    assert!(!cluster.site().dir().join("run/ready").exists());
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.wait().code(), Some(0));
}

#[test]
fn what_comes_before_an_announced_stop_begins_is_served() {
    one_of([500, 2500, 12_500].map(Duration::from_millis), |delay| {
        let set = format!("http.stop_delay={}ms", delay.as_millis());
        let mut cluster = Cluster::start_at(site(""), &[FAST, &["--set", &set]].concat());
        let begun = Instant::now();
        cluster.signal(Signal::TERM);
        let code = || cluster.try_get("/readyz").map(|answer| answer.code).ok();
        eventually("it is announced", || (code() != Some(200)).then_some(()));
        // Whoever is answered afterwards shows that this one was not too late.
        let late = TcpStream::connect(cluster.address()).ok().filter(|_| code().is_some());
        let came_after = begun.elapsed();
        let answer = late.map(|stream| begin_on(&cluster, stream, "/slow-to-leave?ms=200"));
        assert_eq!(cluster.wait().code(), Some(0));
        if let Some(answer) = answer {
            assert_eq!(answer.join().unwrap().unwrap().body, "slow but sure");
            return Ok(());
        }
        // On a busy machine a short delay is over before anybody comes.
        assert!(
            came_after >= delay,
            "somebody was refused {came_after:?} after the signal, within {delay:?}"
        );
        Err(format!("the delay of {delay:?} was over: {came_after:?}"))
    });
}

#[test]
fn a_stop_does_not_wait_for_the_idle_clients_of_a_worker_that_leaves_already() {
    let mut cluster = cluster("");
    // By turns, unless the other one had no time for a moment.
    let mut idle: Vec<BufReader<TcpStream>> = Vec::new();
    eventually("the first has an idle client", || {
        let (kept, index) = asked_once(&cluster);
        idle.push(kept);
        (index == 0).then_some(())
    });
    hatchery::testing::send_signal(pids(&cluster.status())[1], Signal::TERM);
    let is_leaving = |status: &Status| status.workers.len() == 3;
    let _ = cluster.wait_for("its successor is there", is_leaving);
    let began = Instant::now();
    assert_eq!(cluster.stop().code(), Some(0));
    // It would leave them alone for 15 s.
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    idle.iter_mut().for_each(|idle| assert_eq!(idle.read(&mut [0]).unwrap(), 0));
}

/// A connection that was used once and stays open, and the worker at its other end.
fn asked_once(cluster: &Cluster) -> (BufReader<TcpStream>, u64) {
    let mut stream = TcpStream::connect(cluster.address()).unwrap();
    stream.write_all(b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let index = json(&Answer::read(&mut stream).unwrap().body)["index"].as_u64().unwrap();
    (stream, index)
}

/// A client of an answer without an end, that has read up to these last bytes of its begin.
fn endless(cluster: &Cluster, head: &str, begin: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(cluster.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{head}\r\nHost: test\r\n\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let mut read = String::new();
    while !read.ends_with(begin) {
        assert_ne!(stream.read_line(&mut read).unwrap(), 0, "{read}");
    }
    stream
}

#[test]
fn a_stream_without_end_is_whole_when_the_worker_leaves() {
    let mut cluster = cluster("");
    let mut ticks = endless(&cluster, "GET /ticks HTTP/1.1", "tick\n");
    cluster.signal(Signal::TERM);
    let mut rest = String::new();
    ticks.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "\r\n0\r\n\r\n");
    assert_eq!(cluster.wait().code(), Some(0));
}

#[test]
fn a_websocket_hears_1001_when_the_worker_leaves() {
    let mut cluster = cluster("");
    let head = "GET /talk HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let mut socket = endless(&cluster, head, "\r\n\r\n");
    cluster.signal(Signal::TERM);
    let mut frame = [0; 4];
    socket.read_exact(&mut frame).unwrap();
    assert_eq!((frame[0], &frame[2..]), (0x88, &1001_u16.to_be_bytes()[..]));
    // The same, masked with zeros, as a client's answer.
    socket.get_mut().write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).unwrap();
    assert_eq!(cluster.wait().code(), Some(0));
}

/// Lets a process open no more descriptors than it has.
fn leave_no_descriptor(pid: u32) {
    let is_open = |number: &u64| Path::new(&format!("/proc/{pid}/fd/{number}")).exists();
    // At one of many looks nothing is open for a moment only.
    let current = (0..100).filter_map(|_| (0..).find(|number| !is_open(number))).min();
    let pid = Pid::from_raw(pid.cast_signed());
    prlimit(pid, Resource::Nofile, Rlimit { current, ..getrlimit(Resource::Nofile) }).unwrap();
}

#[test]
fn a_master_without_free_descriptors_is_reached_again_and_again() {
    let mut cluster = cluster("");
    leave_no_descriptor(cluster.pid());
    // One that asks nothing keeps nobody out, and those who wait at the door take no descriptor for good.
    let silent = UnixStream::connect(cluster.site().dir().join("run/control.sock")).unwrap();
    let mut clients = Vec::new();
    for _ in 0..3 {
        assert_eq!(cluster.site().run(&["status"]).status.code(), Some(0));
        clients.extend((0..3).map(|_| TcpStream::connect(cluster.address()).unwrap()));
    }
    let told = || log_lines(cluster.site(), "master.log", "on the control socket has the last descriptor");
    let told = eventually("it is logged", || told().first().cloned());
    assert!(told.contains("raise it by `ulimit -n`"), "{told}");
    assert_eq!(cluster.site().run(&["stop"]).status.code(), Some(0));
    assert_eq!(cluster.wait().code(), Some(0));
    drop((silent, clients));
    // It is an error only when somebody is there.
    let failed = log_lines(cluster.site(), "master.log", "the control socket cannot accept");
    assert!(failed.len() < 3, "{failed:?}");
}
