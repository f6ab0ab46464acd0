//! Messages from the command line, the log of what goes by, and what the status says of the bus.

use std::fs;

use hatchery::status::{ClusterState, Status};
use hatchery::testing::{Cluster, eventually, send_signal};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{kill, stderr, stdout};
use crate::messages::{heard, order, send, talkers};

const STOPPABLE: &[&str] = &["--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"];

fn run(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = cluster.site().run(arguments);
    (output.status.code(), stdout(&output), stderr(&output))
}

fn done(cluster: &Cluster, arguments: &[&str]) -> String {
    let (code, answer, problem) = run(cluster, arguments);
    assert_eq!((code, &*problem), (Some(0), ""), "{arguments:?}");
    answer
}

fn log(cluster: &Cluster, name: &str) -> String {
    fs::read_to_string(cluster.site().dir().join("logs").join(name)).unwrap()
}

/// The traced lines of a log, from what was done on.
fn traced(cluster: &Cluster, name: &str) -> Vec<String> {
    let log = log(cluster, name);
    log.lines()
        .filter_map(|line| line.split_once("hatchery::bus: "))
        .map(|(_, text)| text.to_owned())
        .collect()
}

/// How many lines one tells of in their place.
fn left_out(line: &str) -> Option<usize> {
    line.split_once(" lines were left out")?.0.parse().ok()
}

fn traced_when(cluster: &Cluster, name: &str, wanted: &str) -> String {
    eventually(&format!("`{wanted}` in {name}"), || {
        traced(cluster, name).into_iter().find(|line| line.contains(wanted))
    })
}

#[test]
fn a_message_from_the_command_line_reaches_those_who_are_meant() {
    let cluster = talkers(&["--workers", "2"]);
    let pid = cluster.status().workers[0].process.pid.unwrap().to_string();
    for (to, answer) in [
        (&["--to", "web.1"][..], "queued for 1 process\n"),
        (&["--to", "web"], "queued for 2 processes\n"),
        (&["--to", "next:jobs"], "queued for 1 process\n"),
        (&["--to", &pid], "queued for 1 process\n"),
        (&["--to", &format!("pid:{pid}")], "queued for 1 process\n"),
        (&[], "queued for 4 processes\n"),
    ] {
        assert_eq!(done(&cluster, &[&["send", "words", r#"{"text": "hello"}"#], to].concat()), answer);
    }
    for (who, count) in [("agent", 1), ("web.0", 4), ("web.1", 3), ("jobs.0", 2)] {
        let notes = eventually("the messages arrive", || {
            Some(heard(&cluster, who)).filter(|notes| notes.len() >= count)
        });
        assert_eq!(notes.len(), count, "{who}");
        assert!(notes.iter().all(|note| note["text"] == "hello" && note["from"] == Value::Null), "{notes:?}");
    }
}

#[test]
fn a_message_from_the_command_line_that_cannot_be_sent_says_why() {
    let cluster = talkers(&[&["--workers", "2"], STOPPABLE].concat());
    for (arguments, code, problem) in [
        (&["words", "{text}"][..], 2, "no JSON: key must be a string at line 1 column 2"),
        (&["hatchery.exited", "1"], 2, "belongs to the framework"),
        (&["words", "1", "--to", ""], 2, "`` names nobody"),
        (&["words", "1", "--to", "web."], 2, "`web.` is no worker"),
        (&["words", "1", "--to", "web.-1"], 2, "`web.-1` is no worker"),
        (&["words", "1", "--to", "web.65536"], 2, "from 0 to 65535"),
        (&["words", "1", "--to", "web.0 "], 2, "`web.0 ` is no worker"),
        (&["words", "1", "--to", "agent.0"], 2, "there is one agent, write `agent`"),
        (&["words", "1", "--to", "wob"], 1, "there is no group `wob`: this cluster has web, jobs"),
        (
            &["words", "1", "--to", "web.9"],
            1,
            "nobody can get the message for web.9: there is no such process",
        ),
        (&["words", "1", "--to", "99999999"], 1, "there is no such process"),
    ] {
        let (found, _, said) = run(&cluster, &[&["send"], arguments].concat());
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains(problem), "{said}");
    }
    let stopped = cluster.status().workers[1].process.pid.unwrap();
    send_signal(stopped, Signal::STOP);
    let flood = json!({ "try-send": { "to": "web.1", "text": "try", "count": 40, "size": 1 << 20 } });
    assert!(order(&cluster, "agent", &flood).as_u64().is_some());
    let fill = json!({ "try-send": { "to": "web.1", "text": "try", "count": 100, "size": 40_000 } });
    assert!(order(&cluster, "agent", &fill).as_u64().is_some());
    let text = format!(r#"{{"text": "{}"}}"#, "x".repeat(40_000));
    let (code, _, said) = run(&cluster, &["send", "words", &text, "--to", "web.1"]);
    assert_eq!((code, said), (Some(1), format!("error: too much waits for pid:{stopped} already\n")));
    let (code, answer, _) = run(&cluster, &["send", "words", &text]);
    assert_eq!(
        (code, answer),
        (Some(0), format!("queued for 3 processes; too much waits for pid:{stopped}\n"))
    );
}

#[test]
fn what_goes_by_on_chosen_topics_is_logged_by_every_process() {
    let cluster = talkers(&["--workers", "2"]);
    assert!(done(&cluster, &["trace", "words", "ord*"]).contains("words, ord*"));
    assert_eq!(cluster.status().bus.traced, ["words", "ord*"]);
    assert!(done(&cluster, &["status"]).contains("traced: words, ord*"));
    send(&cluster, "agent", "web.1", "hello", 1);
    let sent = traced_when(&cluster, "agent.log", "sent message `words`");
    assert!(sent.contains(" to web.1: ") && sent.ends_with(" bytes"), "{sent}");
    let received = traced_when(&cluster, "web.log", "received message `words`");
    assert!(received.contains(" from agent after ") && received.contains(" µs: "), "{received}");
    for (log, wanted) in [
        ("web.log", "sent question `orders`"),
        ("agent.log", "received question `orders`"),
        ("agent.log", "sent answer `orders`"),
        ("web.log", "received answer `orders`"),
    ] {
        traced_when(&cluster, log, wanted);
    }
    let logs = fs::canonicalize(cluster.site().dir().join("logs")).unwrap();
    let told = done(&cluster, &["trace"]);
    assert!(told.starts_with("every process logs what goes by on words, ord*: agent.log, "), "{told}");
    assert!(told.contains(", web.log") && told.ends_with(&format!(" in {}\n", logs.display())), "{told}");
    assert_eq!(done(&cluster, &["trace", "--off"]), "nothing is traced\n");
    assert_eq!(done(&cluster, &["trace"]), "nothing is traced\n");
    eventually("everybody has heard it", || {
        let lines = traced(&cluster, "agent.log").len();
        send(&cluster, "agent", "web.1", "unseen", 1);
        (traced(&cluster, "agent.log").len() == lines).then_some(())
    });
    for wrong in [
        &["trace", "a*b"][..],
        &["trace", "a", "--off"],
        &["trace", "config"],
        &["trace", "a", "hatchery.*"],
        &["scale", "=1"],
    ] {
        assert_eq!(run(&cluster, wrong).0, Some(2), "{wrong:?}");
    }
}

#[test]
fn every_question_and_message_that_comes_to_nothing_is_logged_with_the_reason() {
    let cluster = talkers(&["--workers", "1", "--set", "bus.ask_timeout=500ms"]);
    done(&cluster, &["trace", "*"]);
    eventually("everybody traces", || {
        send(&cluster, "web.0", "agent", "begin", 1);
        let traces = |log| !traced(&cluster, log).is_empty();
        (traces("agent.log") && traces("web.log")).then_some(())
    });
    let nobody = json!({ "try-send": { "to": "web.9", "text": "try", "count": 1, "size": 0 } });
    assert!(order(&cluster, "agent", &nobody)["error"].as_str().unwrap().contains("no such process"));
    traced_when(&cluster, "agent.log", "to web.9 was not taken: there is no such process");
    for (order_of, wanted) in [
        (json!({ "ask": { "whom": "web.9", "within_ms": 5000 } }), "µs: there is no such process"),
        (json!({ "ask": { "whom": "riddle", "within_ms": 5000 } }), "µs: no function there answers it"),
    ] {
        order(&cluster, "web.0", &order_of);
        let line = traced_when(&cluster, "web.log", wanted);
        assert!(line.starts_with("question `") && line.contains(" ended without an answer after "), "{line}");
    }
    order(&cluster, "agent", &json!("panic"));
    traced_when(&cluster, "web.log", "µs: the function that answers it panicked");
    let line = traced_when(&cluster, "agent.log", ": the function that answers it panicked");
    assert!(line.starts_with("sent no answer `orders` #") && line.contains(" to web.0: "), "{line}");
    order(&cluster, "agent", &json!({ "dawdle": { "ms": 60_000 } }));
    traced_when(&cluster, "web.log", "µs: its time was up");
    let line = traced_when(&cluster, "agent.log", ": it waits no longer");
    assert!(line.starts_with("gave up question `orders` #") && line.contains(" from web.0"), "{line}");
}

#[test]
fn a_trace_is_in_the_log_whatever_its_level() {
    for level in ["log.level=warn", "log.level=off"] {
        let cluster = talkers(&["--workers", "1", "--set", level]);
        done(&cluster, &["trace", "words"]);
        send(&cluster, "agent", "web.0", "hello", 1);
        traced_when(&cluster, "agent.log", "sent message `words`");
        traced_when(&cluster, "web.log", "received message `words`");
        let others =
            log(&cluster, "agent.log").lines().filter(|line| !line.contains("hatchery::bus: ")).count();
        assert_eq!(others, 0, "{}", log(&cluster, "agent.log"));
    }
}

#[test]
fn processes_that_come_later_log_what_goes_by_too() {
    let cluster = talkers(&["--workers", "1"]);
    done(&cluster, &["trace", "words"]);
    let victim = cluster.status().agent.process.pid;
    kill(victim.unwrap());
    let _ = cluster.wait_for("a new agent", |status| {
        status.state == ClusterState::Running && status.agent.process.pid != victim
    });
    send(&cluster, "agent", "agent", "again", 1);
    traced_when(&cluster, "agent.log", "sent message `words`");
    done(&cluster, &["reload", "--agent"]);
    assert_eq!(cluster.status().bus.traced, ["words"]);
    let before = traced(&cluster, "agent.log").len();
    send(&cluster, "agent", "agent", "and again", 1);
    eventually("the next one traces", || (traced(&cluster, "agent.log").len() > before).then_some(()));
}

#[test]
fn a_flood_is_logged_in_part_and_the_rest_is_counted() {
    let cluster = talkers(&["--workers", "1"]);
    done(&cluster, &["trace", "*"]);
    send(&cluster, "agent", "jobs.0", "flood", 100);
    let flood = json!({ "send": { "to": "others", "text": "flood", "count": 20_000, "size": 0 } });
    assert_eq!(order(&cluster, "agent", &flood), 20_000);
    let line = traced_when(&cluster, "agent.log", "lines were left out: more than 1000 in a second");
    assert!(left_out(&line).is_some(), "{line}");
    // As often as there was a second of that.
    eventually("most are counted", || {
        let counted: usize = traced(&cluster, "agent.log").iter().filter_map(|line| left_out(line)).sum();
        (counted > 1000).then_some(())
    });
}

#[test]
fn who_stops_tracing_tells_what_was_left_out() {
    const COUNT: usize = 5000;
    let cluster = talkers(&["--workers", "1"]);
    done(&cluster, &["trace", "words"]);
    eventually("the agent traces", || {
        send(&cluster, "agent", "jobs.0", "begin", 1);
        traced(&cluster, "agent.log").iter().any(|line| line.contains("`words`")).then_some(())
    });
    let flood = json!({ "send": { "to": "others", "text": "flood", "count": COUNT, "size": 0 } });
    assert_eq!(order(&cluster, "agent", &flood), COUNT as u64);
    done(&cluster, &["trace", "--off"]);
    eventually("each line is there, or is counted", || {
        // What came before them went to somebody else, and all of it is told.
        let lines = traced(&cluster, "agent.log");
        let there = lines.iter().filter(|line| line.contains(" to others: ")).count();
        (there + lines.iter().filter_map(|line| left_out(line)).sum::<usize>() == COUNT).then_some(())
    });
}

#[test]
fn the_status_shows_what_was_lost_and_where() {
    let cluster = talkers(&[&["--workers", "2"], STOPPABLE].concat());
    assert!(!done(&cluster, &["status"]).contains("mail to "), "nothing is lost, and nothing said");
    order(&cluster, "web.0", &json!("mislead"));
    done(&cluster, &["send", "whispers", "1", "--to", "jobs.0"]);
    let status = cluster.wait_for("the figures", |status| {
        let jobs = status.workers.iter().find(|worker| worker.group == "jobs");
        jobs.is_some_and(|jobs| (jobs.process.bus.unheard, jobs.process.bus.unreadable) == (1, 1))
    });
    assert_eq!(status.agent.process.bus.missed, 0);
    assert!(done(&cluster, &["status"]).contains("mail to jobs.0: 1 unheard, 1 unreadable"));
    let _ = cluster.wait_for("the figures by topic", |status| {
        let topic = |name: &str| status.bus.topics.iter().find(|topic| topic.name == name).unwrap();
        // What misleads goes to all four.
        (topic("whispers").unheard, topic("words").unreadable) == (1, 4)
    });
    assert!(done(&cluster, &["status"]).contains(" UNHEARD  UNREADABLE"));
    send_signal(status.workers[1].process.pid.unwrap(), Signal::STOP);
    let flood = json!({ "send": { "to": "group:web", "text": "flood", "count": 40, "size": 1 << 20 } });
    assert_eq!(order(&cluster, "agent", &flood), 40);
    let dropped = |worker: usize| cluster.status().workers[worker].process.bus.dropped;
    // On a machine that has much else to do, the other one may be slow, too.
    let (lost, all) = (dropped(1), dropped(0) + dropped(1));
    assert!(lost > 30, "{lost}");
    let topics = cluster.status().bus.topics;
    let queued = topics.iter().find(|topic| topic.name == "words").map(|topic| topic.queued).unwrap();
    assert!((1..=80 - all).contains(&queued), "{queued} wait, and {all} are lost");
    let refused = json!({ "try-send": { "to": "web.1", "text": "try", "count": 3, "size": 4 << 20 } });
    assert_eq!(order(&cluster, "agent", &refused), 3);
    let shown = done(&cluster, &["status"]);
    // Who is refused knows it: that is no sent message.
    let row = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = row.into_iter().find(|row| row.first() == Some(&"words")).expect("the topic is shown");
    assert_eq!((row[1], row[3]), ("41", &*all.to_string()), "{shown}");
    assert!(shown.contains("mail to web.1: ") && shown.contains(" queued, "), "{shown}");
    assert!(shown.contains(&format!("{lost} dropped")), "{shown}");
}

#[test]
fn the_figures_of_a_slot_outlive_its_processes() {
    let cluster = talkers(&["--workers", "1"]);
    order(&cluster, "web.0", &json!("mislead"));
    done(&cluster, &["send", "whispers", "1", "--to", "jobs.0"]);
    let jobs = |status: &Status| {
        status.workers.iter().find(|worker| worker.group == "jobs").map(|jobs| jobs.process.bus).unwrap()
    };
    let known =
        cluster.wait_for("the figures", |status| (jobs(status).unheard, jobs(status).unreadable) == (1, 1));
    done(&cluster, &["reload"]);
    let pid = |status: &Status| {
        status.workers.iter().find(|worker| worker.group == "jobs").and_then(|jobs| jobs.process.pid)
    };
    let victim = pid(&cluster.status());
    kill(victim.unwrap());
    let now = cluster
        .wait_for("a successor", |status| status.state == ClusterState::Running && pid(status) != victim);
    let (before, after) = (jobs(&known), jobs(&now));
    assert_eq!((after.unheard, after.unreadable), (1, 1), "{after:?}");
    assert!(after.relayed >= before.relayed && after.bytes >= before.bytes, "{before:?}, {after:?}");
}
