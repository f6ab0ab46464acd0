//! How connections are spread over the workers, and that none waits for a worker that has no time for it.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hatchery::status::Status;
use hatchery::testing::{Answer, Cluster, PATIENCE, eventually, send_signal};
use rustix::process::Signal;

use crate::harness::{FAST, json, site};

fn start(config: &str, workers: &str) -> Cluster {
    Cluster::start_at(site(config), &[&["--workers", workers], FAST].concat())
}

/// A connection that was used once and stays open.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn open(cluster: &Cluster) -> Self {
        let stream = TcpStream::connect(cluster.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, path: &str) -> Answer {
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        Answer::read(&mut self.0).unwrap()
    }

    /// The worker at the other end.
    fn index(&mut self) -> u64 {
        json(&self.ask("/whoami").body)["index"].as_u64().unwrap()
    }
}

/// The connections that each worker has accepted, when they are so many together.
fn accepted(cluster: &Cluster, total: u64) -> Vec<u64> {
    let of = |status: &Status| status.workers.iter().map(|worker| worker.accepted).collect::<Vec<_>>();
    of(&cluster.wait_for("every connection is counted", |status| of(status).iter().sum::<u64>() >= total))
}

/// The voluntary context switches of all threads of a process.
fn switches(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("voluntary_ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
    };
    tasks.map(|task| of(task.unwrap())).sum()
}

fn worker_pids(cluster: &Cluster) -> Vec<u32> {
    cluster.status().workers.iter().filter_map(|worker| worker.process.pid).collect()
}

/// The section that makes the listener shared.
const SHARED: &str = "";

#[test]
fn idle_workers_take_turns_at_a_shared_listener() {
    const COUNT: u64 = 2000;
    let cluster = start(SHARED, "8");
    for _ in 0..COUNT {
        assert_eq!(cluster.get("/").code, 200);
    }
    let shares = accepted(&cluster, COUNT);
    let permille = |share: &u64| share * 1000 / COUNT;
    assert!(shares.iter().map(permille).all(|share| (105..=145).contains(&share)), "{shares:?}");
}

#[test]
fn a_connection_wakes_one_worker_of_those_who_share_a_listener() {
    const COUNT: u64 = 400;
    let cluster = start(SHARED, "8");
    let pids = worker_pids(&cluster);
    let all = || pids.iter().map(|pid| switches(*pid)).sum::<u64>();
    let before = all();
    let connect = || {
        let client = TcpStream::connect(cluster.address()).unwrap();
        // Long enough for idle workers to be idle again.
        std::thread::park_timeout(Duration::from_micros(300));
        client
    };
    let clients: Vec<TcpStream> = (0..COUNT).map(|_| connect()).collect();
    let woken = all() - before;
    drop(clients);
    // With 8 that all wake up there are more than 2500; two each, and some for the signs of life.
    assert!(woken <= COUNT * 4, "{woken} wake-ups for {COUNT} connections");
}

#[test]
fn a_busy_worker_holds_no_new_connection() {
    let cluster = start("", "2");
    let mut busy = Kept::open(&cluster);
    busy.index();
    write!(busy.0.get_mut(), "GET /block?ms=3000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("a worker is busy", || cluster.site().dir().join("block-began").exists().then_some(()));
    let slowest = (0..50).map(|_| {
        let began = Instant::now();
        assert_eq!(cluster.get("/whoami").code, 200);
        began.elapsed()
    });
    let slowest = slowest.max().unwrap();
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}

#[test]
fn a_stopped_worker_holds_no_new_connection() {
    let cluster = start("", "2");
    let stopped = worker_pids(&cluster)[0];
    send_signal(stopped, Signal::STOP);
    for _ in 0..50 {
        assert_ne!(json(&cluster.get("/whoami").body)["pid"], stopped);
    }
    send_signal(stopped, Signal::CONT);
}
