//! Many messages and questions while processes die and are replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use hatchery::status::ClusterState;
use hatchery::testing::{Cluster, eventually};
use serde_json::json;

use crate::harness::kill;
use crate::messages::{order, send, talkers};

/// Has a worker ask the agent until it is enough; how often which kind of answer came.
fn inquire(cluster: &Cluster, by: &str, enough: &AtomicBool) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    let mut asked = 0;
    while !enough.load(Ordering::Relaxed) {
        let answer = order(cluster, by, &json!({ "inquire": { "whom": "agent", "count": 40 } }));
        asked += 40;
        for (kind, count) in answer.as_object().unwrap() {
            *kinds.entry(kind.clone()).or_default() += count.as_u64().unwrap_or_else(|| panic!("{answer}"));
        }
    }
    assert_eq!(kinds.values().sum::<u64>(), asked, "{kinds:?}");
    kinds
}

#[test]
fn every_question_ends_while_the_agent_is_killed_fifty_times() {
    let cluster = talkers(&["--workers", "4"]);
    let enough = AtomicBool::new(false);
    let kinds = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4)
            .map(|index| {
                let (cluster, enough) = (&cluster, &enough);
                scope.spawn(move || inquire(cluster, &format!("web.{index}"), enough))
            })
            .collect();
        for _ in 0..50 {
            let victim = cluster.status().agent.process.pid;
            kill(victim.unwrap());
            let _ = cluster.wait_for("a new agent", |status| {
                status.state == ClusterState::Running && status.agent.process.pid != victim
            });
        }
        enough.store(true, Ordering::Relaxed);
        let kinds = askers.into_iter().flat_map(|asker| asker.join().unwrap());
        kinds.fold(BTreeMap::new(), |mut all: BTreeMap<String, u64>, (kind, count)| {
            *all.entry(kind).or_default() += count;
            all
        })
    });
    let known: BTreeSet<&str> = kinds.keys().map(String::as_str).collect();
    assert!(known.is_subset(&["answered", "gone", "deadline"].into()), "{kinds:?}");
    assert!(kinds["answered"] > 100 && kinds["gone"] > 0, "{kinds:?}");
    // What was counted adds up: each question was passed on to an agent, or given up.
    let status = cluster.status();
    let topic = status.bus.topics.iter().find(|topic| topic.name == "orders").unwrap();
    assert_eq!(topic.sent, topic.relayed + topic.dropped, "{topic:?}");
    eprintln!("fifty agents: {kinds:?}");
}

#[test]
fn many_workers_that_all_talk_at_once_lose_nothing() {
    const WORKERS: usize = 64;
    let cluster = talkers(&["--workers", "64"]);
    let before = cluster.status().master.usage.rss_bytes;
    let shout = json!({ "send": { "to": "all", "text": "hear me", "count": 40, "size": 1000 } });
    std::thread::scope(|scope| {
        for first in 0..8 {
            let (cluster, shout) = (&cluster, &shout);
            scope.spawn(move || {
                for index in (first..WORKERS).step_by(8) {
                    assert_eq!(order(cluster, &format!("web.{index}"), shout), 40);
                }
            });
        }
    });
    for index in 0..WORKERS {
        let tally = || order(&cluster, &format!("web.{index}"), &json!("tally"));
        let complete = json!({ "heard": WORKERS * 40, "missed": 0 });
        eventually("everything arrives", || (tally() == complete).then_some(()));
    }
    let status = cluster.status();
    let topic = status.bus.topics.iter().find(|topic| topic.name == "words").unwrap();
    let (sent, receivers) = (WORKERS as u64 * 40, WORKERS as u64 + 2);
    assert_eq!((topic.sent, topic.relayed, topic.dropped), (sent, sent * receivers, 0));
    let grown = status.master.usage.rss_bytes.saturating_sub(before);
    assert!(grown < 32 << 20, "the master grew by {grown} bytes");
    eprintln!("64 workers: the master grew by {} KiB", grown >> 10);
}

/// The round and the number of a text such as `round 3 of 17`, which `send` has numbered.
fn place(text: &str) -> (u32, u32) {
    let mut words = text.split_whitespace().filter_map(|word| word.parse().ok());
    (words.next().unwrap(), words.next().unwrap())
}

#[test]
fn a_reload_under_messages_keeps_their_order_and_repeats_none() {
    let cluster = talkers(&["--workers", "2"]);
    let journals = cluster.site().dir().join("journal");
    fs::create_dir(&journals).unwrap();
    let reloaded = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut round = 0;
            while !reloaded.load(Ordering::Relaxed) || round % 2 == 1 {
                let to = ["web.0", "all"][round % 2];
                assert_eq!(send(&cluster, "agent", to, &format!("round {round} of"), 50), 50);
                round += 1;
            }
            round
        });
        for _ in 0..3 {
            assert!(cluster.site().run(&["reload"]).status.success());
        }
        reloaded.store(true, Ordering::Relaxed);
        sending.join().unwrap()
    });
    let sent: Vec<_> = (0..rounds).flat_map(|round| (0..50).map(move |number| (round, number))).collect();
    let mut to_one = BTreeSet::new();
    let mut processes = 0;
    for journal in fs::read_dir(&journals).unwrap() {
        let text = fs::read_to_string(journal.unwrap().path()).unwrap();
        let heard: Vec<_> = text.lines().map(place).collect();
        assert!(heard.is_sorted_by(|one, next| one < next), "{heard:?}");
        for message in heard.iter().filter(|(round, _)| round % 2 == 0) {
            assert!(to_one.insert(*message), "{message:?} came twice");
        }
        processes += 1;
    }
    assert!(processes >= 8, "{processes}");
    let wanted = sent.iter().filter(|(round, _)| round % 2 == 0).count();
    let lost = wanted - to_one.len();
    // What is queued for one that leaves may be lost with it, and no more.
    assert!(lost * 20 <= wanted, "{lost} of {wanted} messages were lost");
    eprintln!("reload: {wanted} messages to one slot, {lost} lost with a process that left");
}
