//! The app's own tests: each starts a cluster of real processes in a folder of its own, on a free port.

use std::collections::BTreeSet;

use hatchery::testing::{Answer, Cluster, Site, eventually};
use serde_json::Value;

/// The program of this package, whatever its name.
const APP: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));

/// The largest body that the app takes, as long as the configuration names no other limit.
const BODY_LIMIT: usize = 1024 * 1024;

fn start_with(config: &str) -> Cluster {
    let site = Site::new(APP);
    site.configure("default.toml", config);
    Cluster::start_at(site, &["--workers", "2"])
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {:?}", answer.body))
}

fn post_echo(cluster: &Cluster, body: &str) -> Answer {
    let length = body.len();
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    cluster.exchange((head + body).as_bytes()).expect("an answer")
}

fn pids(cluster: &Cluster) -> Vec<Option<u32>> {
    let workers = cluster.status().workers;
    workers.iter().map(|worker| worker.process.pid).collect()
}

#[test]
fn the_front_page_greets_as_configured() {
    let cluster = start_with("greeting = \"good morning\"");
    let answer = cluster.get("/");
    assert_eq!(answer.code, 200);
    let expected = ["good morning from worker 0\n", "good morning from worker 1\n"];
    assert!(expected.contains(&&*answer.body), "{answer:?}");
}

#[test]
fn the_shipped_configuration_is_sound() {
    let cluster = start_with(include_str!("../config/default.toml"));
    assert_eq!(cluster.get("/").code, 200);
}

#[test]
fn a_changed_greeting_arrives_in_every_worker_without_a_restart() {
    let cluster = start_with("greeting = \"hello\"");
    let before = pids(&cluster);
    cluster.site().configure("default.toml", "greeting = \"good night\"");
    let mut heard = BTreeSet::new();
    eventually("both workers say good night", || {
        heard.insert(cluster.get("/").body);
        let both = (0..2).all(|index| heard.contains(&format!("good night from worker {index}\n")));
        both.then_some(())
    });
    assert_eq!(pids(&cluster), before);
}

#[test]
fn a_worker_says_which_configuration_it_runs() {
    let cluster = start_with("greeting = \"hello\"");
    let told = json(&cluster.get("/config"));
    assert_eq!(told["version"], 1);
    assert_eq!(told["config"]["greeting"], "hello");
}

#[test]
fn a_worker_says_who_it_is() {
    let cluster = start_with("");
    let who = json(&cluster.get("/whoami"));
    assert_eq!(who["group"], "web");
    assert_eq!(who["generation"], 1);
    let status = cluster.status();
    let worker = status.workers.iter().find(|worker| who["index"] == worker.index);
    assert_eq!(Some(&who["pid"]), worker.map(|worker| Value::from(worker.process.pid)).as_ref());
}

#[test]
fn a_body_comes_back() {
    let cluster = start_with("");
    for body in ["", "hello", &"x".repeat(BODY_LIMIT)] {
        let answer = post_echo(&cluster, body);
        assert_eq!(answer.code, 200);
        assert!(answer.body == body, "{} of {} bytes", answer.body.len(), body.len());
    }
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let cluster = start_with("");
    let head = format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", BODY_LIMIT + 1);
    // The length alone is enough: the body need not be sent.
    assert_eq!(cluster.exchange(head.as_bytes()).expect("an answer").code, 413);
}

#[test]
fn the_app_stops_when_it_is_asked_to() {
    let mut cluster = start_with("");
    assert_eq!(cluster.stop().code(), Some(0));
}
