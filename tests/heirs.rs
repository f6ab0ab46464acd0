//! Mail for a slot whose process dies: who gets it, in which order, and what status and log say of it meanwhile.

use hatchery::status::{ClusterState, ProcessState};
use hatchery::testing::{Cluster, eventually, send_signal};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{kill, logged, stdout};
use crate::messages::{heard, order, talkers};

const STOPPABLE: &[&str] = &["--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"];

/// Two workers of the group `web`, the second of which is stopped; with its process id.
fn stopped() -> (Cluster, u32) {
    let cluster = talkers(&[&["--workers", "2"], STOPPABLE].concat());
    let pid = cluster.status().workers[1].process.pid.unwrap();
    send_signal(pid, Signal::STOP);
    (cluster, pid)
}

/// A cluster whose agent was killed, while much waited for it, and comes again after a long time at the earliest; with the
/// process id that it had.
fn bereft() -> (Cluster, u32) {
    let cluster = talkers(
        &[
            &["--workers", "1", "--set", "cluster.restart_limit=0", "--set", "cluster.stable_after=1h"],
            STOPPABLE,
        ]
        .concat(),
    );
    let pid = cluster.status().agent.process.pid.unwrap();
    send_signal(pid, Signal::STOP);
    let some = json!({ "try-send": { "to": "agent", "text": "word", "count": 100, "size": 10_000 } });
    assert_eq!(order(&cluster, "web.0", &some), 0);
    kill(pid);
    let _ = cluster
        .wait_for("an agent that gave up", |status| status.agent.process.state == ProcessState::GaveUp);
    (cluster, pid)
}

#[test]
fn all_that_was_confirmed_for_a_slot_goes_to_its_next_process_in_its_order() {
    let (cluster, pid) = stopped();
    let most = json!({ "try-send": { "to": "web.1", "text": "word", "count": 350, "size": 10_000 } });
    assert_eq!(order(&cluster, "agent", &most), 0, "all of it fits, and is confirmed");
    kill(pid);
    // Until then it has too much to do for a question.
    let _ = cluster.wait_for("a successor that has it all", |status| {
        let is_new = status.workers[1].process.pid != Some(pid);
        is_new && status.state == ClusterState::Running && status.bus.queued_bytes == 0
    });
    let texts = eventually("the successor has heard the last", || {
        let heard = heard(&cluster, "web.1");
        let texts: Vec<_> = heard.iter().map(|note| note["text"].as_str().unwrap().to_owned()).collect();
        texts.last().is_some_and(|text| text == "word 349").then_some(texts)
    });
    // What the kernel had taken is lost with the one that was killed.
    let first = 350 - texts.len();
    let expected: Vec<_> = (first..350).map(|number| format!("word {number}")).collect();
    assert_eq!(texts, expected);
    let topics = cluster.status().bus.topics;
    assert_eq!(topics.iter().find(|topic| topic.name == "words").unwrap().dropped, 0);
}

#[test]
fn what_waits_where_nobody_comes_any_more_is_in_the_log() {
    let (mut cluster, agent) = bereft();
    let _ = cluster.stop();
    let told = logged(cluster.site(), "master.log", "for agent were given up, because nobody comes there", 1);
    assert!(told[0].contains(" on `words`"), "{told:?} of {agent}");
}

#[test]
fn mail_for_a_process_that_comes_late_is_shown_and_who_writes_there_hears_so() {
    let (cluster, _) = bereft();
    let status = cluster.status();
    let topic = status.bus.topics.iter().find(|topic| topic.name == "words").unwrap().clone();
    assert!(topic.queued > 50 && topic.queued <= 100, "{topic:?}");
    let bytes = status.agent.process.bus.queued_bytes;
    assert!(bytes > topic.queued * 10_000 && status.bus.queued_bytes >= bytes, "{bytes}");
    let shown = cluster.site().run(&["status"]);
    assert!(stdout(&shown).contains("mail to agent: "), "{}", stdout(&shown));
    let refused = json!({ "try-send": { "to": "agent", "text": "late", "count": 1, "size": 0 } });
    let answer = order(&cluster, "web.0", &refused);
    let told = answer["error"].as_str().unwrap();
    assert!(told.contains("nobody can get the message for agent: its processes died too often"), "{told}");
    let asked = order(&cluster, "web.0", &json!({ "ask": { "whom": "agent", "within_ms": 60_000 } }));
    assert_eq!(asked, json!({ "Err": "no such peer" }));
    let after = cluster.status().bus.topics;
    let after = after.iter().find(|topic| topic.name == "words").unwrap();
    assert_eq!((after.sent, after.dropped), (topic.sent, topic.dropped), "it counts as nothing");
}
