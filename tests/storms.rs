//! Many messages and questions while processes die and are replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hatchery::status::ClusterState;
use hatchery::testing::{Cluster, eventually};
use serde_json::json;

use crate::harness::kill;
use crate::messages::{order, send, talkers};
use crate::retry::{one_of, waited};

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
fn fifty_agents_that_are_killed_leave_no_question_open_and_no_key_behind() {
    let cluster = talkers(&["--workers", "4"]);
    for index in 0..4 {
        let _ = order(&cluster, &format!("web.{index}"), &json!({ "observe": { "key": "brief" } }));
    }
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
    // Nobody but the first of each worker has asked for the key, and all see the last word of the last agent.
    let agent = cluster.status().agent.process.pid.unwrap();
    let seen = |index| order(&cluster, &format!("web.{index}"), &json!("observed"));
    let versions: BTreeSet<_> = (0..4)
        .map(|index| {
            eventually("the newest value is seen", || {
                let seen = seen(index);
                assert_eq!(seen["fell"], 0, "a version fell: {seen}");
                let newest = seen["count"] == 20 && seen["pid"] == agent;
                newest.then(|| seen["version"].as_u64().unwrap())
            })
        })
        .collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
    // What was counted adds up: each question was passed on to an agent, or given up.
    let status = cluster.status();
    let topic = status.bus.topics.iter().find(|topic| topic.name == "orders").unwrap();
    assert_eq!(topic.sent, topic.relayed + topic.dropped, "{topic:?}");
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
    let wanted = rounds.div_ceil(2) * 50;
    let heard = eventually("what was sent to one slot arrives", || {
        let heard = heard_by_each(&journals);
        let to_one = heard.iter().flatten().filter(|(round, _)| round % 2 == 0).count();
        (to_one >= wanted).then_some(heard)
    });
    for heard in &heard {
        assert!(heard.is_sorted_by(|one, next| one < next), "{heard:?}");
    }
    let to_one = heard.iter().flatten().filter(|(round, _)| round % 2 == 0);
    assert_eq!(to_one.clone().count(), wanted, "some came twice");
    assert_eq!(to_one.collect::<BTreeSet<_>>().len(), wanted, "some came twice, and as many never");
    assert!(heard.len() >= 8, "{}", heard.len());
}

/// What each process has written down.
fn heard_by_each(journals: &Path) -> Vec<Vec<(u32, u32)>> {
    let journals = fs::read_dir(journals).unwrap();
    let texts = journals.map(|journal| fs::read_to_string(journal.unwrap().path()).unwrap());
    // The last line may be on its way.
    texts
        .map(|text| text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(place).collect())
        .collect()
}

#[test]
fn what_was_confirmed_arrives_through_reloads_scaling_and_a_stop() {
    let mut cluster = talkers(&["--workers", "3"]);
    let dir = cluster.site().dir().to_owned();
    fs::create_dir(dir.join("journal")).unwrap();
    let whom = ["web.0", "web.1", "web.2", "jobs.0", "any:web"];
    let _ = order(&cluster, "agent", &json!({ "pester": { "whom": whom } }));
    let confirmed = || lines_of(&fs::read_to_string(dir.join("confirmed")).unwrap_or_default());
    for command in [&["scale", "1"][..], &["scale", "3"], &["reload"], &["scale", "jobs=0"], &["scale", "2"]]
    {
        let before = confirmed().len();
        eventually("more is confirmed", || (confirmed().len() > before + 50).then_some(()));
        let done = cluster.site().run(command);
        assert!(done.status.success(), "{command:?}: {done:?}");
    }
    assert_eq!(cluster.stop().code(), Some(0));
    let journals = fs::read_dir(dir.join("journal")).unwrap();
    let heard: Vec<String> =
        journals.flat_map(|it| lines_of(&fs::read_to_string(it.unwrap().path()).unwrap())).collect();
    let once: BTreeSet<&String> = heard.iter().collect();
    assert_eq!(once.len(), heard.len(), "some came twice");
    let confirmed = confirmed();
    let lost: Vec<_> = confirmed.iter().filter(|line| !once.contains(line)).collect();
    assert!(confirmed.len() > 250 && lost.is_empty(), "of {}: {lost:?}", confirmed.len());
}

fn lines_of(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_slow_receiver_holds_up_neither_its_sender_for_long_nor_who_asks_that() {
    const COUNT: u64 = 600;
    one_of(0..4, |_| {
        let cluster = talkers(&["--workers", "2"]);
        let keeping_up = [cluster.status().workers[0].process.pid.unwrap()];
        let waited_before = waited(&keeping_up);
        fs::write(cluster.site().dir().join("slow.web.1"), "20").unwrap();
        let flood =
            json!({ "send": { "to": "group:web", "text": "flood", "count": COUNT, "size": 100_000 } });
        let median = std::thread::scope(|scope| {
            let flooding = scope.spawn(|| assert_eq!(order(&cluster, "agent", &flood), COUNT));
            let median = order(&cluster, "web.0", &json!({ "time": { "whom": "agent", "count": 15 } }));
            flooding.join().unwrap();
            median.as_u64().unwrap_or_else(|| panic!("{median}"))
        });
        assert!(median < 2_000_000, "half of the questions took {median} µs or more");
        let dropped = |index: usize| cluster.status().workers[index].process.bus.dropped;
        let tally = || order(&cluster, "web.0", &json!("tally"));
        let kept_up = eventually("the other gets everything, or loses some", || {
            let tally = tally();
            let complete = tally == json!({ "heard": COUNT, "missed": 0 });
            (complete || tally["missed"] != 0 || dropped(0) > 0).then_some(complete)
        });
        if !kept_up {
            // Who has no time for a quarter of a second, as on a busy machine, is slow, too.
            let waited = waited(&keeping_up).saturating_sub(waited_before);
            assert!(
                waited > Duration::from_millis(100),
                "it lost some, and waited for processors {waited:?}"
            );
            return Err(format!("the other waited for processors {waited:?}"));
        }
        assert_eq!(dropped(0), 0);
        assert!(dropped(1) > COUNT / 10, "{} were not passed on", dropped(1));
        Ok(())
    });
}
