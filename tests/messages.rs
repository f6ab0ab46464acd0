//! Messages from process to process, between real processes.

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

/// Somebody for whom much waits and who has no time for a quarter of a second, as on a busy machine, loses what comes
/// then: what is promised to those who keep up is tried until they did.
pub(crate) fn with_all_keeping_up(attempt: impl FnMut() -> bool) {
    let succeeded = std::iter::repeat_with(attempt).take(4).any(|kept_up| kept_up);
    assert!(succeeded, "in each of four attempts somebody did not keep up who should");
}

/// Whether a worker has heard so many words, once it has or has lost some.
fn keeps_up(cluster: &Cluster, index: u32, count: usize) -> bool {
    eventually("everything arrives, or is lost", || {
        if texts(&heard(cluster, &format!("web.{index}"))).len() >= count {
            return Some(true);
        }
        lost(&cluster.status(), index).then_some(false)
    })
}

/// Whether a worker of the group `web` has lost messages.
fn lost(status: &Status, index: u32) -> bool {
    let mut web = status.workers.iter().filter(|worker| worker.group == "web" && worker.index == index);
    web.any(|worker| worker.process.bus.dropped + worker.process.bus.missed > 0)
}

#[test]
fn a_stopped_worker_costs_the_master_its_queue_and_the_others_nothing() {
    with_all_keeping_up(|| {
        let cluster = talkers(&[
            "--workers",
            "2",
            "--set",
            "cluster.heartbeat_timeout=0s",
            "--set",
            "http.policy=shared",
        ]);
        let observe = json!({ "observe": { "key": "lasting" } });
        let _ = ["web.0", "web.1"].map(|who| order(&cluster, who, &observe));
        let without = median_under_flood(&cluster, 30);
        keeps_up(&cluster, 1, 30) && the_others_lose_nothing_by_one_that_is_stopped(&cluster, without)
    });
}

/// The time that half of the questions take at most while an agent floods everybody with so many MiB.
fn median_under_flood(cluster: &Cluster, count: u32) -> Duration {
    let flood = json!({ "send": { "to": "all", "text": "flood", "count": count, "size": 1 << 20 } });
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| assert_eq!(order(cluster, "agent", &flood), count));
        let time = json!({ "time": { "whom": "jobs.0", "count": 30 } });
        let median = order(cluster, "web.0", &time);
        let median = median.as_u64().unwrap_or_else(|| panic!("{median}"));
        flooding.join().unwrap();
        Duration::from_micros(median)
    })
}

/// Returns whether they kept up.
fn the_others_lose_nothing_by_one_that_is_stopped(cluster: &Cluster, without: Duration) -> bool {
    let version = |who| order(cluster, who, &json!("observed"))["version"].as_u64().unwrap();
    let known = eventually("the key is seen", || Some(version("web.1")).filter(|version| *version > 0));
    let counted = texts(&heard(cluster, "web.1")).len();
    let before = cluster.status();
    let stopped = before.workers[1].process.pid.unwrap();
    send_signal(stopped, Signal::STOP);
    let with = median_under_flood(cluster, 100);
    // Far below the time after which an asker gives up, and far above what a busy machine needs.
    let most = (5 * without).max(Duration::from_secs(2));
    assert!(with <= most, "half of the questions took {with:?} or more, and {without:?} before");
    if !keeps_up(cluster, 0, 130) {
        return false;
    }
    let status = cluster.status();
    let grown = status.master.usage.rss_bytes.saturating_sub(before.master.usage.rss_bytes);
    assert!(grown < 16 << 20, "the master grew by {grown} bytes");
    assert!(status.workers[1].process.bus.dropped > 80, "{:?}", status.workers[1].process.bus);
    let _ = cluster.wait_for("no more waits than one queue", |status| status.bus.queued_bytes <= 10 << 20);
    send_signal(stopped, Signal::CONT);
    assert_eq!(send(cluster, "agent", "web.1", "awake", 1), 1);
    let notes = eventually("it goes on", || {
        Some(heard(cluster, "web.1")).filter(|notes| texts(notes).last() == Some(&"awake 0"))
    });
    assert!(notes.len() < counted + 30, "{}", notes.len());
    let newest = version("web.0");
    assert!(newest > known, "{newest}");
    eventually("the newest state arrives", || (version("web.1") >= newest).then_some(()));
    true
}

#[test]
fn small_messages_that_wait_for_a_stopped_worker_take_no_more_than_its_queue() {
    with_all_keeping_up(|| {
        let cluster = talkers(&[
            "--workers",
            "2",
            "--set",
            "cluster.heartbeat_timeout=0s",
            "--set",
            "http.policy=shared",
        ]);
        let stopped = cluster.status().workers[1].process.pid.unwrap();
        let before = cluster.status().master.usage.rss_bytes;
        send_signal(stopped, Signal::STOP);
        let count = 200_000;
        assert_eq!(send(&cluster, "agent", "all", "a drop", count), count);
        let status = cluster.status();
        let its_own = &status.workers[1].process.bus;
        if status.bus.queued_bytes > its_own.queued_bytes + (1 << 20) || lost(&status, 0) {
            return false;
        }
        let grown = status.master.usage.rss_bytes.saturating_sub(before);
        assert!(grown < 16 << 20, "the master grew by {grown} bytes");
        assert!(its_own.dropped > 0 && its_own.queued_bytes <= 10 << 20, "{its_own:?}");
        true
    });
}

#[test]
fn a_sender_can_wait_for_room_or_be_refused() {
    let cluster =
        talkers(&["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"]);
    let stopped = cluster.status().workers[1].process.pid.unwrap();
    send_signal(stopped, Signal::STOP);
    let flood = json!({ "try-send": { "to": "web.1", "text": "try", "count": 40, "size": 1 << 20 } });
    let refused = order(&cluster, "agent", &flood).as_u64().unwrap();
    assert!((25..=38).contains(&refused), "{refused} were refused");
    let waiting = json!({ "send": { "to": "web.1", "text": "wait", "count": 20, "size": 1 << 20 } });
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| order(&cluster, "agent", &waiting));
        crate::harness::pass(Duration::from_millis(200));
        assert!(!sending.is_finished(), "there is no room");
        send_signal(stopped, Signal::CONT);
        assert_eq!(sending.join().unwrap(), 20);
    });
    let expected = 40 - usize::try_from(refused).unwrap() + 20;
    assert_eq!(heard_when(&cluster, "web.1", expected).len(), expected);
}

#[test]
fn what_waits_for_a_process_that_is_killed_goes_on_to_others_and_the_rest_is_counted() {
    let cluster =
        talkers(&["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"]);
    let stopped = cluster.status().workers[1].process.pid.unwrap();
    send_signal(stopped, Signal::STOP);
    // What the kernel takes in its socket's buffer is lost with it, and this fills that.
    let flood = |to: &str, text: &str, count: u32| {
        let flood = json!({ "send": { "to": to, "text": text, "count": count, "size": 10_000 } });
        assert_eq!(order(&cluster, "agent", &flood), count);
    };
    flood("web.1", "filling", 40);
    flood("next:web", "by turns", 100);
    flood("web.1", "for the slot", 50);
    flood(&stopped.to_string(), "for the process", 20);
    kill(stopped);
    let of = |notes: &[Value], text: &str| {
        let mut texts = texts(notes);
        texts.retain(|note| note.starts_with(text));
        texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()
    };
    let notes = eventually("what was by turns arrives at the other", || {
        Some(heard(&cluster, "web.0")).filter(|notes| of(notes, "by turns").len() == 100)
    });
    assert!(of(&notes, "for the slot").is_empty(), "{notes:?}");
    let _ = cluster.wait_for("a successor", |status| status.state == ClusterState::Running);
    let notes = eventually("what was for the slot arrives at the next there", || {
        Some(heard(&cluster, "web.1")).filter(|notes| of(notes, "for the slot").len() == 50)
    });
    let expected: Vec<String> = (0..50).map(|number| format!("for the slot {number}")).collect();
    assert_eq!(of(&notes, "for the slot"), expected);
    assert_eq!(topic(&cluster.status(), "words").dropped, 20);
    logged(cluster.site(), "master.log", "20 messages for web.1 were lost with it", 1);
}

#[test]
fn a_worker_for_which_too_much_waits_is_in_nobodys_way_who_wants_any_of_its_group() {
    let cluster =
        talkers(&["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"]);
    send_signal(cluster.status().workers[1].process.pid.unwrap(), Signal::STOP);
    let fill = json!({ "try-send": { "to": "web.1", "text": "fill", "count": 10, "size": 1 << 20 } });
    assert!(order(&cluster, "agent", &fill).as_u64().is_some_and(|refused| refused > 3));
    for (to, text) in [("next:web", "by turns"), ("any:web", "at random")] {
        let large = json!({ "send": { "to": to, "text": text, "count": 12, "size": 1 << 20 } });
        assert_eq!(order(&cluster, "agent", &large), 12);
        let ask = json!({ "ask": { "whom": to, "within_ms": 20_000 } });
        assert!((0..4).all(|_| order(&cluster, "agent", &ask)["Ok"] == "web.0"));
    }
    let expected: Vec<String> = ["by turns", "at random"]
        .iter()
        .flat_map(|text| (0..12).map(move |at| format!("{text} {at}")))
        .collect();
    assert_eq!(texts(&heard_when(&cluster, "web.0", 24)), expected);
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
