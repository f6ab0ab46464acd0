//! Sockets and files that go with messages from process to process, and that none of them is left anywhere.

use std::fs;
use std::io::Read;
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use hatchery::status::ProcessState;
use hatchery::testing::{Cluster, Site, eventually, send_signal};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{kill, post_json};

/// How often each way is gone that could leave something behind.
const OFTEN: u32 = 200;

/// What is on its way at most: messages with two attachments each.
const ON_THE_WAY: u64 = 16;

fn bearers(options: &[&str]) -> Cluster {
    let site = Site::new(env!("CARGO_BIN_EXE_bearer"));
    site.configure("default.toml", "");
    Cluster::start_at(site, options)
}

fn order(cluster: &Cluster, by: &str, order: &Value) -> Value {
    post_json(cluster, &format!("/order?by={by}"), order)
}

/// Has `by` hand something to `to`, so often.
fn hand(
    cluster: &Cluster,
    by: &str,
    to: &str,
    what: &str,
    (topic, count, patience): (&str, u32, &str),
) -> Value {
    let hand = json!({ "what": what, "to": to, "topic": topic, "count": count, "patience": patience });
    order(cluster, by, &json!({ "hand": hand }))
}

/// Has `by` hand something to `to` once, and returns what it tells of it.
fn hand_once(cluster: &Cluster, by: &str, to: &str, what: &str) -> Value {
    let answer = hand(cluster, by, to, what, ("goods", 1, "endless"));
    assert_eq!(answer["sent"], 1, "{answer}");
    answer["about"].clone()
}

/// What a process has seen, once that is so much.
fn seen(cluster: &Cluster, who: &str, count: usize) -> Vec<String> {
    eventually("it arrives", || {
        let seen: Vec<String> = serde_json::from_value(order(cluster, who, &json!("seen"))).unwrap();
        (seen.len() >= count).then_some(seen)
    })
}

fn text_of(mut reader: impl Read) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The open descriptors of each process, by its pid.
#[derive(Debug)]
struct Census(Vec<(u32, usize)>);

impl Census {
    fn take(cluster: &Cluster) -> Self {
        let pids = crate::harness::pids(&cluster.status());
        let all = pids.into_iter().chain([cluster.pid()]);
        Self(all.map(|pid| (pid, descriptors(pid))).collect())
    }

    /// Nobody who still lives has more than then.
    fn holds(&self, after: &str) {
        let live = self.0.iter().filter(|(pid, _)| fs::exists(format!("/proc/{pid}/fd")).unwrap());
        for (pid, then) in live {
            eventually(&format!("{pid} has no more descriptors than before ({then}) after {after}"), || {
                (descriptors(*pid) <= *then).then_some(())
            });
        }
    }
}

#[test]
fn a_worker_accepts_on_a_listener_that_the_agent_opened() {
    let cluster = bearers(&["--workers", "2"]);
    let address = hand_once(&cluster, "agent", "web.1", "listener");
    let stream = TcpStream::connect(address.as_str().unwrap()).unwrap();
    assert_eq!(text_of(stream), "web.1");
}

#[test]
fn datagrams_files_and_streams_go_from_worker_to_worker() {
    let cluster = bearers(&["--workers", "2"]);
    let address = hand_once(&cluster, "web.0", "web.1", "udp");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(b"who", address.as_str().unwrap()).unwrap();
    let mut answer = [0; 16];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"web.1");

    hand_once(&cluster, "web.0", "web.1", "file");
    assert_eq!(seen(&cluster, "web.1", 2)[1], "what is in it");

    hand_once(&cluster, "web.0", "web.1", "pair");
    let over = cluster.site().dir().join("over-the-pair");
    eventually("the word over the pair", || (fs::read_to_string(&over).ok()? == "web.1").then_some(()));
}

#[test]
fn what_is_not_as_expected_is_named() {
    let cluster = bearers(&["--workers", "1"]);
    hand_once(&cluster, "agent", "web.0", "wrong");
    assert_eq!(seen(&cluster, "web.0", 1), ["the attachment is a UDP socket, not a TCP stream"]);
    let answer = hand(&cluster, "agent", "web.0", "many", ("goods", 1, "endless"));
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("17 attachments: at most 16"), "{error}");
}

#[test]
fn nothing_is_left_of_what_nobody_takes() {
    let cluster = bearers(&["--workers", "2"]);
    // Everything that is opened once is open now.
    hand_once(&cluster, "web.0", "web.1", "two");
    hand_once(&cluster, "agent", "web.0", "two");
    let census = Census::take(&cluster);
    for (topic, patience, what) in [
        ("unheard", "endless", "messages that nobody hears"),
        ("mistaken", "endless", "messages that cannot be read"),
        ("goods", "endless", "messages that are dropped"),
        ("goods", "cancel", "messages whose sender gave up"),
    ] {
        for (by, to) in [("web.0", "web.1"), ("agent", "web.0")] {
            let answer = hand(&cluster, by, to, "two", (topic, OFTEN, patience));
            assert!(answer["error"].is_null(), "{answer}");
        }
        census.holds(what);
    }
    let answer = hand(&cluster, "web.0", "web.1", "two", ("slow", OFTEN, "endless"));
    assert_eq!(answer["sent"], OFTEN);
    let receiver = cluster.status().workers[1].process.pid.unwrap();
    eventually("some wait for who follows the topic", || (descriptors(receiver) >= 64).then_some(()));
    assert_eq!(order(&cluster, "web.1", &json!("forget")), true);
    census.holds("messages to a subscription that takes none");
}

#[test]
fn nothing_is_left_of_what_waited_for_a_process_that_dies() {
    let options = ["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"];
    let cluster = bearers(&options);
    hand_once(&cluster, "agent", "web.1", "two");
    // What it has, it has said.
    seen(&cluster, "web.1", 1);
    let census = Census::take(&cluster);
    let victim = cluster.status().workers[1].process.pid.unwrap();
    send_signal(victim, Signal::STOP);
    let answer = hand(&cluster, "agent", "web.1", "two", ("goods", OFTEN, "none"));
    assert_eq!(answer["sent"], ON_THE_WAY, "{answer}");
    assert_eq!(answer["refused"], u64::from(OFTEN) - ON_THE_WAY, "{answer}");
    let answer = hand(&cluster, "agent", "web.1", "two", ("goods", OFTEN, "cancel"));
    assert_eq!(answer["sent"], 0, "{answer}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| hand(&cluster, "agent", "web.1", "two", ("goods", OFTEN, "endless")));
        kill(victim);
        assert_eq!(waiting.join().unwrap()["sent"], OFTEN, "the successor takes what waited");
    });
    census.holds("a receiver that died");
}

#[test]
fn nothing_is_left_of_what_waited_for_a_slot_that_is_given_up() {
    let cluster = bearers(&["--workers", "2", "--set", "cluster.restart_delay=30s"]);
    hand_once(&cluster, "agent", "web.0", "two");
    let census = Census::take(&cluster);
    fs::write(cluster.site().dir().join("doomed.1"), "").unwrap();
    kill(cluster.status().workers[1].process.pid.unwrap());
    let _ = cluster
        .wait_for("an empty slot", |status| status.workers[1].process.state == ProcessState::BackingOff);
    let answer = hand(&cluster, "agent", "web.1", "two", ("goods", OFTEN, "none"));
    assert_eq!(answer["sent"], ON_THE_WAY, "{answer}");
    let held = descriptors(cluster.pid());
    assert!(held >= 32, "they wait in the master: {held}");
    assert!(cluster.site().command(&["scale", "1"]).status().unwrap().success());
    census.holds("a slot that is no more");
}

#[test]
fn a_process_without_free_descriptors_gets_the_message_without_them_and_lives_on() {
    let cluster = bearers(&["--workers", "1"]);
    let receiver = cluster.status().agent.process.pid;
    assert!(order(&cluster, "agent", &json!({ "spare": { "free": 1 } })).is_null());
    hand_once(&cluster, "web.0", "agent", "two");
    hand_once(&cluster, "web.0", "agent", "lost");
    hand_once(&cluster, "web.0", "agent", "file");
    assert!(order(&cluster, "agent", &json!({ "spare": { "free": null } })).is_null());
    hand_once(&cluster, "web.0", "agent", "two");
    let lost = "the attachments were lost: no descriptor was free; raise the limit of open files";
    assert_eq!(seen(&cluster, "agent", 4), ["two (0 left)", lost, "what is in it", "two (2 left)"]);
    assert_eq!(cluster.status().agent.process.pid, receiver);
}
