//! How processes take leave: what was queued for them is taken, what they were asked is answered, and whoever stands still
//! meanwhile holds nobody up for long.

use std::fs;

use hatchery::testing::{Cluster, eventually, is_running, send_signal};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{log_lines, processes_in};
use crate::messages::{order, send, talkers};
use crate::retry::{one_of, should};

/// A cluster whose processes write down what they hear, with this much time to stop.
fn journalists(grace: &str) -> Cluster {
    let grace = format!("cluster.stop_timeout={grace}");
    let cluster = talkers(&["--workers", "1", "--set", &grace]);
    fs::create_dir(cluster.site().dir().join("journal")).unwrap();
    cluster
}

/// Has a file of the cluster's folder say something.
fn write(cluster: &Cluster, file: &str, text: &str) {
    fs::write(cluster.site().dir().join(file), text).unwrap();
}

fn lines(cluster: &Cluster, file: &str) -> Vec<String> {
    let text = fs::read_to_string(cluster.site().dir().join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What a process has heard.
fn journal(cluster: &Cluster, pid: u32) -> Vec<String> {
    lines(cluster, &format!("journal/{pid}"))
}

fn pid_of(cluster: &Cluster, group: &str) -> u32 {
    let workers = cluster.status().workers;
    workers.iter().find(|worker| worker.group == group).unwrap().process.pid.unwrap()
}

/// A cluster with two seconds to stop, whose worker `jobs.0` was asked to leave while it has a message in hand, and whose
/// master was stopped then; its pid.
fn asked_while_it_works() -> (Cluster, u32) {
    let cluster = journalists("2s");
    write(&cluster, "pause", "until this is gone");
    let pid = pid_of(&cluster, "jobs");
    assert_eq!(send(&cluster, "web.0", "jobs.0", "work", 1), 1);
    eventually("it is at work", || lines(&cluster, "taken").first().cloned());
    cluster.signal(Signal::TERM);
    eventually("it is asked to leave", || {
        lines(&cluster, "asked").contains(&"jobs.0".to_owned()).then_some(())
    });
    cluster.signal(Signal::STOP);
    (cluster, pid)
}

/// What is in hand is done.
fn end_the_work(cluster: &Cluster) {
    fs::remove_file(cluster.site().dir().join("pause")).unwrap();
}

#[test]
fn a_worker_whose_master_stands_still_leaves_by_itself() {
    let (mut cluster, pid) = asked_while_it_works();
    end_the_work(&cluster);
    eventually("it leaves without a farewell", || (!is_running(pid)).then_some(()));
    assert_eq!(journal(&cluster, pid), ["work 0"]);
    cluster.signal(Signal::CONT);
    assert_eq!(cluster.wait().code(), Some(0));
}

#[test]
fn a_worker_that_stands_still_before_its_farewell_holds_no_stop_up() {
    let (mut cluster, pid) = asked_while_it_works();
    end_the_work(&cluster);
    eventually("it has done its work, and says so", || journal(&cluster, pid).first().cloned());
    send_signal(pid, Signal::STOP);
    cluster.signal(Signal::CONT);
    assert_eq!(cluster.wait().code(), Some(0));
    assert_eq!(processes_in(cluster.site().dir()), [0; 0]);
}

/// A cluster that has stopped, with all the time for it, after the worker of a group got three messages, for each of which
/// it takes as long as a file says; and what the worker has heard.
fn stopped_with_three_messages(group: &str, (file, pause): (&str, &str), to: &str) -> (Cluster, Vec<String>) {
    let mut cluster = journalists("30s");
    write(&cluster, file, pause);
    let pid = pid_of(&cluster, group);
    assert_eq!(send(&cluster, "agent", to, "work", 3), 3);
    assert_eq!(cluster.stop().code(), Some(0));
    let heard = journal(&cluster, pid);
    (cluster, heard)
}

#[test]
fn a_subscription_that_is_slow_but_goes_on_is_waited_for_and_hears_of_the_end() {
    // Longer than a subscription is waited for that takes nothing; and they come together.
    let (cluster, heard) = stopped_with_three_messages("web", ("slow", "1500"), "web.0");
    assert_eq!(heard.len(), 3);
    assert!(lines(&cluster, "left").contains(&"web.0".to_owned()), "{:?}", lines(&cluster, "left"));
    assert!(log_lines(cluster.site(), "web.log", "did not take").is_empty());
}

#[test]
fn a_subscription_that_never_comes_back_is_waited_for_until_the_deadline_and_the_log_says_what_it_left() {
    let mut cluster = journalists("2s");
    write(&cluster, "slow", "3600000");
    let pid = pid_of(&cluster, "web");
    assert_eq!(send(&cluster, "agent", "web.0", "leave", 3), 3);
    eventually("the first is taken", || journal(&cluster, pid).first().cloned());
    assert_eq!(cluster.stop().code(), Some(0));
    assert_eq!(journal(&cluster, pid), ["leave 0"]);
    let said = log_lines(cluster.site(), "web.log", "leaving with 2 messages on `words`");
    assert!(matches!(&said[..], [one] if one.contains("it has one in hand")), "{said:?}");
}

#[test]
fn a_question_that_a_worker_has_when_it_leaves_is_answered() {
    let cluster = journalists("30s");
    // On a busy machine a quick answer is there before anybody is asked to leave.
    one_of([700, 3000, 12_000], |ms| {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| order(&cluster, "jobs.0", &json!({ "dawdle": { "ms": ms } })));
            let is_asked = eventually("it is asked", || {
                let is_asked = order(&cluster, "jobs.0", &json!("dawdling")) == 1;
                (is_asked || asking.is_finished()).then_some(is_asked)
            });
            if is_asked {
                let scaled = cluster.site().run(&["scale", "jobs=0"]);
                assert!(scaled.status.success(), "{scaled:?}");
            }
            assert_eq!(asking.join().unwrap(), "at last");
            should(is_asked, || format!("it had answered before it was asked to leave, after {ms} ms"))
        })
    });
}

#[test]
fn a_worker_that_returns_unasked_has_a_moment_for_its_questions_and_is_replaced() {
    let cluster = journalists("30s");
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| order(&cluster, "jobs.0", &json!({ "dawdle": { "ms": 15_000 } })));
        eventually("it is asked", || (order(&cluster, "jobs.0", &json!("dawdling")) == 1).then_some(()));
        let pid = pid_of(&cluster, "jobs");
        assert_eq!(send(&cluster, "web.0", "jobs.0", "go home", 1), 1);
        eventually("it has ended", || (!is_running(pid)).then_some(()));
        let answer = asking.join().unwrap();
        assert_eq!(answer["kind"], "gone", "{answer}");
        eventually("another is there", || {
            (order(&cluster, "jobs.0", &json!("name")) == "jobs.0").then_some(())
        });
    });
}

#[test]
fn a_worker_that_lives_by_messages_carries_out_all_that_waits_for_it() {
    // Longer than any subscription is waited for that does nothing.
    let (_, heard) = stopped_with_three_messages("jobs", ("pause", "1300"), "next:jobs");
    assert_eq!(heard, ["work 0", "work 1", "work 2"]);
}
