//! Questions and answers between real processes.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use hatchery::status::ClusterState;
use hatchery::testing::{Cluster, eventually, send_signal};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{FAST, kill, log_lines};
use crate::messages::{order, talkers, talkers_site};

fn ask(whom: &str, within_ms: u64) -> Value {
    json!({ "ask": { "whom": whom, "within_ms": within_ms } })
}

/// Of the Unix epoch, until now.
pub(crate) fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

#[test]
fn whoever_is_asked_answers() {
    let cluster = talkers(&["--workers", "2"]);
    for (by, whom, name) in [
        ("web.0", "agent", "agent"),
        ("web.0", "web.1", "web.1"),
        ("agent", "web.0", "web.0"),
        ("jobs.0", "any:jobs", "jobs.0"),
        // Itself.
        ("agent", "agent", "agent"),
        ("web.1", "web.1", "web.1"),
    ] {
        assert_eq!(order(&cluster, by, &ask(whom, 5000)), json!({ "Ok": name }), "{by} asks {whom}");
    }
    let names: Vec<Value> = (0..4).map(|_| order(&cluster, "agent", &ask("next:web", 5000))).collect();
    assert_ne!(names[0], names[1]);
    assert_eq!(names[..2], names[2..]);
}

#[test]
fn whoever_is_asked_knows_who_asks_and_when() {
    let cluster = talkers(&["--workers", "1"]);
    let pid = cluster.status().workers.iter().find(|worker| worker.group == "web").unwrap().process.pid;
    let who = json!({ "ask-who-asks": { "whom": "agent" } });
    let before = micros();
    let answers = [order(&cluster, "web.0", &who), order(&cluster, "web.0", &who)];
    let after = micros();
    for answer in &answers {
        assert_eq!((&answer["from"], &answer["pid"]), (&json!("web.0"), &json!(pid)), "{answer}");
        assert!(
            (before..=after).contains(&answer["at"].as_u64().unwrap().into()),
            "{before} {answer} {after}"
        );
    }
    assert!(answers[0]["number"].as_u64() < answers[1]["number"].as_u64(), "{answers:?}");
}

#[test]
fn what_cannot_be_answered_says_why() {
    let cluster = talkers(&["--workers", "1"]);
    assert_eq!(order(&cluster, "web.0", &ask("web.9", 5000)), json!({ "Err": "no such peer" }));
    assert_eq!(order(&cluster, "web.0", &ask("riddle", 5000)), json!({ "Err": "nobody" }));
    let refused = order(&cluster, "agent", &json!({ "refuse": { "words": "not today" } }));
    assert_eq!(refused, json!({ "error": "agent: not today", "kind": "refused" }));
    let panicked = order(&cluster, "agent", &json!("panic"));
    let words = "agent was asked, and its function that answers `orders` panicked";
    assert_eq!(panicked, json!({ "error": words, "kind": "panicked" }));
}

#[test]
fn what_does_not_fit_its_type_is_told_to_who_asks() {
    let cluster = talkers(&["--workers", "1", "--set", "bus.message_limit=4KiB"]);
    let to_agent = json!({ "whom": "agent" });
    assert_eq!(order(&cluster, "web.0", &json!({ "misask": to_agent })), json!({ "Err": "misunderstood" }));
    assert_eq!(order(&cluster, "web.0", &json!({ "misread": to_agent })), json!({ "Err": "unreadable" }));
    let chatter = order(&cluster, "agent", &json!({ "chatter": { "size": 5000 } }));
    let words =
        "agent: the answer to `orders` has 5003 bytes, over the limit of 4096; raise bus.message_limit";
    assert_eq!(chatter, json!({ "error": words, "kind": "misunderstood" }));
    assert_eq!(order(&cluster, "web.0", &ask("agent", 5000)), json!({ "Ok": "agent" }), "it goes on");
}

#[test]
fn an_agent_that_asks_workers_before_it_is_ready_is_told_of_the_order() {
    let site = talkers_site();
    fs::write(site.dir().join("eager"), "").unwrap();
    let cluster = Cluster::start_at(site, &[FAST, &["--workers", "1"]].concat());
    eventually("its log tells of it", || {
        let words = "was asked of web.0 before this agent said ready";
        (log_lines(cluster.site(), "agent.log", words).len() == 1).then_some(())
    });
}

#[test]
fn who_asks_one_that_dies_knows_it_at_once() {
    let cluster = talkers(&["--workers", "2"]);
    for _ in 0..3 {
        let answer = order(&cluster, "jobs.0", &json!("die"));
        assert_eq!(answer["kind"], "gone", "{answer}");
        let _ = cluster.wait_for("a successor", |status| status.state == ClusterState::Running);
    }
}

#[test]
fn a_question_whose_time_is_up_is_given_up_on_the_other_side() {
    let cluster =
        talkers(&["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"]);
    let stopped = cluster.status().workers[1].process.pid.unwrap();
    send_signal(stopped, Signal::STOP);
    assert_eq!(order(&cluster, "agent", &ask("web.1", 200)), json!({ "Err": "deadline" }));
    send_signal(stopped, Signal::CONT);
    // A client that hangs up takes its question with it.
    let head = "POST /order?by=agent HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let body = json!({ "dawdle": { "ms": 20_000 } }).to_string();
    let mut stream = std::net::TcpStream::connect(cluster.address()).unwrap();
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let count = |wanted: u64| {
        eventually("they dawdle", || {
            (order(&cluster, "agent", &json!("dawdling")).as_u64() == Some(wanted)).then_some(())
        });
    };
    count(1);
    drop(stream);
    count(0);
}

#[test]
fn an_answer_that_takes_too_long_is_dropped_when_the_time_is_up() {
    let cluster = talkers(&["--workers", "1", "--set", "bus.ask_timeout=500ms"]);
    let late = order(&cluster, "agent", &json!({ "dawdle": { "ms": 60_000 } }));
    assert_eq!(late["kind"], "deadline", "{late}");
    eventually("nobody dawdles any more", || {
        (order(&cluster, "agent", &json!("dawdling")).as_u64() == Some(0)).then_some(())
    });
}

#[test]
fn more_questions_than_are_allowed_are_refused_at_once() {
    let cluster = talkers(&["--workers", "1"]);
    let many = json!({ "ask-many": { "whom": "agent", "count": 9 } });
    assert_eq!(order(&cluster, "web.0", &many), 4, "two at once and three waiting are allowed");
}

#[test]
fn questions_to_an_agent_that_is_being_replaced_are_answered_by_the_next() {
    let cluster = talkers(&["--workers", "1"]);
    for round in 0..10 {
        kill(cluster.status().agent.process.pid.unwrap());
        let answer = order(&cluster, "web.0", &ask("agent", 10_000));
        // Asked before its death was known, it is gone with the question.
        let expected = [json!({ "Ok": "agent" }), json!({ "Err": "gone" })];
        assert!(expected.contains(&answer), "{round}: {answer}");
        let _ = cluster.wait_for("a new agent", |status| status.state == ClusterState::Running);
    }
}
