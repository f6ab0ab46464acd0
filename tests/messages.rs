//! Messages from process to process, between real processes. `slow` has those whose receivers stand still.

mod slow;

use std::fs;
use std::time::Duration;

use hatchery::status::{ClusterState, Status};
use hatchery::testing::{Cluster, Site, eventually, send_signal};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::asks::micros;
use crate::harness::{FAST, kill, logged, post_json};

/// A running cluster of processes that talk.
pub(crate) fn talkers(options: &[&str]) -> Cluster {
    Cluster::start_at(talkers_site(), &[FAST, options].concat())
}

/// The place of such a cluster.
pub(crate) fn talkers_site() -> Site {
    let site = Site::new(env!("CARGO_BIN_EXE_talker"));
    site.configure("default.toml", "");
    site
}

/// Has `by` carry out an order.
pub(crate) fn order(cluster: &Cluster, by: &str, order: &Value) -> Value {
    post_json(cluster, &format!("/order?by={by}"), order)
}

pub(crate) fn send(cluster: &Cluster, by: &str, to: &str, text: &str, count: u32) -> Value {
    order(cluster, by, &json!({ "send": { "to": to, "text": text, "count": count, "size": 0 } }))
}

/// What a process has heard.
pub(crate) fn heard(cluster: &Cluster, who: &str) -> Vec<Value> {
    let notes = order(cluster, who, &json!("heard"));
    notes.as_array().unwrap_or_else(|| panic!("{notes}")).clone()
}

/// What a process has heard, once that is so many messages.
fn heard_when(cluster: &Cluster, who: &str, count: usize) -> Vec<Value> {
    eventually("the messages arrive", || Some(heard(cluster, who)).filter(|notes| notes.len() >= count))
}

fn texts(notes: &[Value]) -> Vec<&str> {
    notes.iter().filter_map(|note| note["text"].as_str()).collect()
}

fn topic(status: &Status, name: &str) -> hatchery::status::TopicTraffic {
    status.bus.topics.iter().find(|topic| topic.name == name).cloned().unwrap_or_default()
}

#[test]
fn a_broadcast_reaches_everybody_with_its_sender_and_in_its_order() {
    let cluster = talkers(&["--workers", "2"]);
    assert_eq!(send(&cluster, "web.1", "all", "hello", 3), 3);
    for who in ["agent", "web.0", "web.1", "jobs.0"] {
        let notes = heard_when(&cluster, who, 3);
        assert_eq!(texts(&notes), ["hello 0", "hello 1", "hello 2"]);
        assert!(notes.iter().all(|note| note["from"] == "web.1"), "{notes:?}");
        assert!(notes.is_sorted_by_key(|note| note["number"].as_u64()), "{notes:?}");
    }
    let status = cluster.status();
    assert_eq!((topic(&status, "words").sent, topic(&status, "words").relayed), (3, 12));
}

#[test]
fn messages_reach_those_who_are_meant_and_nobody_else() {
    let cluster = talkers(&["--workers", "2"]);
    let pid = cluster.status().workers[0].process.pid.unwrap().to_string();
    for (to, text) in [
        ("others", "to others"),
        ("group:web", "to the group"),
        ("agent", "to the agent"),
        ("web.1", "to web.1"),
        (&*pid, "to a process"),
        ("any:jobs", "to any"),
    ] {
        assert_eq!(send(&cluster, "web.0", to, text, 1), 1, "{to}");
    }
    // Everything of one sender comes in its order, so that the last word ends the waiting.
    assert_eq!(send(&cluster, "web.0", "all", "the end", 1), 1);
    let heard = |who| {
        eventually("the last word", || {
            let notes = heard(&cluster, who);
            let texts: Vec<String> = texts(&notes).into_iter().map(str::to_owned).collect();
            texts.last().is_some_and(|text| text == "the end 0").then_some(texts)
        })
    };
    assert_eq!(heard("web.0"), ["to the group 0", "to a process 0", "the end 0"]);
    assert_eq!(heard("web.1"), ["to others 0", "to the group 0", "to web.1 0", "the end 0"]);
    assert_eq!(heard("agent"), ["to others 0", "to the agent 0", "the end 0"]);
    assert_eq!(heard("jobs.0"), ["to others 0", "to any 0", "the end 0"]);
}

#[test]
fn a_message_says_who_sent_it_and_when_and_has_an_id_of_its_own() {
    let cluster = talkers(&["--workers", "1"]);
    let pid = cluster.status().agent.process.pid;
    let before = micros();
    assert_eq!(send(&cluster, "agent", "web.0", "hello", 2), 2);
    let after = micros();
    let notes = heard_when(&cluster, "web.0", 2);
    for note in &notes {
        assert_eq!((&note["from"], &note["pid"]), (&json!("agent"), &json!(pid)), "{note}");
        assert!((before..=after).contains(&note["at"].as_u64().unwrap().into()), "{before} {note} {after}");
    }
    assert_ne!(notes[0]["number"], notes[1]["number"]);
}

#[test]
fn once_is_the_first_message_after_the_call_and_what_is_wrong_with_it_and_ends_when_the_process_leaves() {
    let cluster = talkers(&["--workers", "1"]);
    let said = order(&cluster, "web.0", &json!({ "once": { "texts": ["first", "second"] } }));
    assert_eq!((&said["heard"], &said["own"]), (&json!("first 0"), &json!(true)), "{said}");
    let problem = said["problem"].as_str().unwrap();
    assert!(
        problem.contains("words cannot be decoded") && problem.contains(" from web.0 (process "),
        "{problem}"
    );
    assert!(cluster.site().run(&["reload"]).status.success());
    let ended = eventually("the one that nothing came for ends", || {
        fs::read_to_string(cluster.site().dir().join("once")).ok().filter(|text| text.ends_with('\n'))
    });
    assert_eq!(ended, "web.0: nothing more comes on `words`: this process takes leave\n");
}

#[test]
fn a_random_worker_of_a_group_gets_each_message_once() {
    let cluster = talkers(&["--workers", "1", "--set", "groups.jobs.workers=2"]);
    assert_eq!(send(&cluster, "agent", "random:jobs", "yours", 20), 20);
    let texts = eventually("they have all", || {
        let both = [heard(&cluster, "jobs.0"), heard(&cluster, "jobs.1")].concat();
        let mut texts: Vec<String> = texts(&both).into_iter().map(str::to_owned).collect();
        texts.sort();
        (texts.len() >= 20).then_some(texts)
    });
    let mut expected: Vec<String> = (0..20).map(|number| format!("yours {number}")).collect();
    expected.sort();
    assert_eq!(texts, expected);
}

#[test]
fn a_confirmed_broadcast_names_those_who_miss_it() {
    let options = ["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"];
    let cluster = talkers(&options);
    let stopped = cluster.status().workers.iter().find(|worker| worker.index == 1).unwrap().process.pid;
    let confirm = |to: &str, size: usize| {
        order(&cluster, "agent", &json!({ "confirm": { "to": to, "text": "hear", "size": size } }))
    };
    for (to, queued) in [("all", 4), ("others", 3), ("web", 2), ("jobs", 1)] {
        assert_eq!(confirm(to, 0), json!({ "queued": queued, "missed": [], "by": [] }), "to {to}");
    }
    send_signal(stopped.unwrap(), Signal::STOP);
    for (to, queued) in [("all", 3), ("others", 2), ("web", 1)] {
        eventually("too much waits for it", || {
            // On a busy machine somebody else may miss one, too.
            (confirm(to, 1 << 20) == json!({ "queued": queued, "missed": [stopped], "by": ["web.1"] }))
                .then_some(())
        });
    }
    send_signal(stopped.unwrap(), Signal::CONT);
    logged(
        cluster.site(),
        "master.log",
        "messages for web.1 are dropped, because it takes them too slowly",
        1,
    );
}

#[test]
fn workers_of_a_group_get_messages_by_turns() {
    let cluster = talkers(&["--workers", "3"]);
    assert_eq!(send(&cluster, "agent", "next:web", "yours", 9), 9);
    for who in ["web.0", "web.1", "web.2"] {
        assert_eq!(heard_when(&cluster, who, 3).len(), 3);
    }
}

#[test]
fn every_process_can_know_who_is_there() {
    let cluster = talkers(&["--workers", "2"]);
    for by in ["agent", "web.1", "jobs.0"] {
        let status = cluster.status();
        let worker = |group: &str, index: u32| {
            let it = status.workers.iter().find(|it| it.group == group && it.index == index).unwrap();
            (group.to_owned(), index, it.process.pid)
        };
        let expected = [
            ("agent".to_owned(), 0, status.agent.process.pid),
            worker("web", 0),
            worker("web", 1),
            worker("jobs", 0),
        ];
        let expected: Vec<Value> = expected
            .iter()
            .map(|(group, index, pid)| json!({ "group": group, "index": index, "pid": pid, "generation": 1 }))
            .map(|member| json!({ "member": member, "standing": "ready" }))
            .collect();
        assert_eq!(order(&cluster, by, &json!("members")), json!(expected), "{by}");
    }
}

#[test]
fn a_message_to_nobody_is_an_error() {
    let cluster = talkers(&["--workers", "1"]);
    for (to, problem) in
        [("web.7", "no such process"), ("99999999", "no such process"), ("any:x", "no group `x`")]
    {
        let answer = send(&cluster, "agent", to, "hello", 1);
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(problem)), "{answer}");
    }
}

#[test]
fn a_message_of_another_type_is_an_error_for_its_receiver_alone() {
    let cluster = talkers(&["--workers", "2"]);
    assert_eq!(order(&cluster, "web.0", &json!("mislead")), 1);
    assert_eq!(send(&cluster, "web.0", "all", "sorry", 1), 1);
    let notes = heard_when(&cluster, "web.1", 2);
    assert!(
        notes[0]["error"].as_str().is_some_and(|error| error.contains("words cannot be decoded")),
        "{notes:?}"
    );
    assert_eq!(notes[1]["text"], "sorry 0");
}

#[test]
fn no_process_can_speak_for_the_framework() {
    let cluster = talkers(&["--workers", "1"]);
    let answer = order(&cluster, "web.0", &json!("forge"));
    assert!(
        answer["Err"].as_str().is_some_and(|error| error.contains("belongs to the framework")),
        "{answer}"
    );
}

#[test]
fn a_thousand_messages_before_a_worker_is_ready_arrive_in_order() {
    let cluster = talkers(&["--workers", "2"]);
    fs::write(cluster.site().dir().join("late.1"), "").unwrap();
    let victim = cluster.status().workers[1].process.pid;
    kill(victim.unwrap());
    let _ = cluster.wait_for("its death is known", |status| status.workers[1].process.pid != victim);
    // The first ones may meet an empty slot, the last ones a process that starts.
    assert_eq!(send(&cluster, "agent", "web.1", "early", 500), 500);
    let _ = cluster.wait_for("a successor starts", |status| status.workers[1].process.pid.is_some());
    assert_eq!(send(&cluster, "agent", "web.1", "early", 500), 500);
    fs::write(cluster.site().dir().join("go"), "").unwrap();
    let notes = heard_when(&cluster, "web.1", 1000);
    let expected: Vec<String> = (0..500).chain(0..500).map(|number| format!("early {number}")).collect();
    assert_eq!(texts(&notes), expected);
}

#[test]
fn messages_wait_for_an_agent_that_is_being_replaced() {
    let cluster = talkers(&["--workers", "1"]);
    for round in 1..=5 {
        let victim = cluster.status().agent.process.pid;
        kill(victim.unwrap());
        let _ = cluster.wait_for("its death is known", |status| status.agent.process.pid != victim);
        assert_eq!(send(&cluster, "web.0", "agent", "are you there", 10), 10, "round {round}");
        assert!(!heard_when(&cluster, "agent", 1).is_empty());
        let _ = cluster.wait_for("a new agent", |status| status.state == ClusterState::Running);
    }
}

#[test]
fn a_confirmed_broadcast_names_the_empty_slots_that_miss_it() {
    let site = talkers_site();
    fs::write(site.dir().join("crowded"), "").unwrap();
    let cluster = Cluster::start_at(site, &[FAST, &["--workers", "2"]].concat());
    let delivery = fs::read_to_string(cluster.site().dir().join("delivery")).unwrap();
    assert_eq!(delivery, "1 [0, 0, 0] jobs.0 web.0 web.1\n", "only the agent itself has room");
}

#[test]
fn a_broadcast_before_there_are_workers_reaches_them_when_they_come() {
    let site = Site::new(env!("CARGO_BIN_EXE_talker"));
    site.configure("default.toml", "");
    fs::write(site.dir().join("early"), "").unwrap();
    let cluster = Cluster::start_at(site, &[FAST, &["--workers", "2"]].concat());
    let delivery = fs::read_to_string(cluster.site().dir().join("delivery")).unwrap();
    assert_eq!(delivery, "4 []\n", "the agent itself and three workers to come");
    for who in ["web.0", "web.1"] {
        assert_eq!(texts(&heard_when(&cluster, who, 4)), ["early 0", "early 1", "early 2", "early 3"]);
    }
    assert_eq!(texts(&heard_when(&cluster, "jobs.0", 1)), ["early 3"]);
    let words = topic(&cluster.status(), "words");
    assert_eq!((words.sent, words.relayed, words.dropped), (4, 10, 0));
}
