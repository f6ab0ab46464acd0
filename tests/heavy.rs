//! The pool for heavy work: one heavy request does not hold up the others of its worker.

use std::io::Write;
use std::net::TcpStream;

use hatchery::status::JobFigures;
use hatchery::testing::{Cluster, eventually};

use crate::harness::{FAST, pids, site};

fn lone_worker(options: &[&str]) -> Cluster {
    Cluster::start_at(site("greeting = 'hi'"), &[FAST, &["--workers", "1"], options].concat())
}

fn jobs(cluster: &Cluster) -> JobFigures {
    cluster.status().workers[0].jobs
}

/// Asks, and goes on without the answer.
fn ask(cluster: &Cluster, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(cluster.address()).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("a request");
    stream
}

#[test]
fn a_worker_answers_others_while_it_does_heavy_work() {
    let cluster = lone_worker(&[]);
    // It works for as long as somebody waits.
    let heavy = ask(&cluster, "/heavy?ms=600000");
    eventually("the heavy job runs", || (jobs(&cluster).running == 1).then_some(()));
    (0..10).for_each(|_| assert_eq!(cluster.get("/").body, "hi"));
    drop(heavy);
    eventually("it is given up", || (jobs(&cluster).cancelled == 1).then_some(()));
    assert_eq!(cluster.get("/heavy?ms=100").body, "heavy, but done");
    eventually("the job is counted", || (jobs(&cluster).done == 1).then_some(()));
}

#[test]
fn what_nobody_waits_for_any_more_is_given_up_and_what_finds_no_room_is_refused() {
    let cluster = lone_worker(&["--set", "cpu.threads=1", "--set", "cpu.queue_limit=1"]);
    let running = ask(&cluster, "/heavy?ms=600000");
    eventually("one runs", || (jobs(&cluster).running == 1).then_some(()));
    let waiting = ask(&cluster, "/heavy?ms=600000");
    eventually("one waits", || (jobs(&cluster).waiting == 1).then_some(()));
    assert_eq!(cluster.get("/heavy?ms=1").code, 503);
    drop((running, waiting));
    let after = eventually("both are given up", || {
        Some(jobs(&cluster)).filter(|jobs| jobs.cancelled == 2 && jobs.running == 0 && jobs.waiting == 0)
    });
    assert_eq!(after.refused, 1);
    assert_eq!(cluster.get("/heavy?ms=1").body, "heavy, but done");
}

#[test]
fn a_job_that_panics_is_an_error_of_its_own_request() {
    let cluster = lone_worker(&["--set", "cluster.on_panic=ignore"]);
    let before = pids(&cluster.status());
    assert_eq!(cluster.get("/heavy-panic").code, 500);
    assert_eq!(cluster.get("/heavy?ms=1").body, "heavy, but done");
    eventually("the panic is counted", || (jobs(&cluster).panicked == 1).then_some(()));
    assert_eq!(pids(&cluster.status()), before);
}
