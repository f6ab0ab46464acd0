//! Processes that live and do not answer, a master that slept, and groups whose budget of restarts is spent.

use std::fs;
use std::thread;
use std::time::Duration;

use hatchery::status::{ClusterState, ProcessState};
use hatchery::testing::{Cluster, eventually, is_running, send_signal};
use hatchery::{ClusterEvent, Ending, Reason};
use rustix::process::Signal;

use crate::harness::{
    FAST, assert_said_once, events, kill, log_lines, logged, pass, pids, processes_in, site,
};
use crate::retry::{one_of, should};

/// A cluster in which silence is noticed after so long.
fn impatient(timeout: Duration) -> Cluster {
    let timeout = format!("cluster.heartbeat_timeout={}s", timeout.as_secs());
    Cluster::start_at(site("greeting = 'hi'"), &[FAST, &["--set", &timeout]].concat())
}

/// Who has no time for a second, as on a very busy machine, is as silent as who hangs: whether nobody but those who do is
/// replaced is tried with more patience then.
fn nobody_else_is_replaced(attempt: impl Fn(Duration) -> bool) {
    one_of([1, 3, 9].map(Duration::from_secs), |patience| {
        should(attempt(patience), || format!("somebody else was replaced after {patience:?}"))
    });
}

#[test]
fn a_stopped_worker_is_replaced_and_the_others_serve_on() {
    nobody_else_is_replaced(|timeout| {
        let mut cluster = impatient(timeout);
        let before = pids(&cluster.status());
        send_signal(before[1], Signal::STOP);
        let after = cluster.wait_for("a replacement", |status| {
            status.state == ClusterState::Running && status.workers[0].process.pid != Some(before[1])
        });
        assert_eq!(after.workers[0].process.last_exit.as_ref().unwrap().reason, Reason::Hung);
        assert!(!is_running(before[1]));
        assert_eq!(cluster.get("/").body, "hi");
        assert_eq!(cluster.stop().code(), Some(0));
        let told = log_lines(cluster.site(), "master.log", "web.0 is hung").len();
        (pids(&after)[0], pids(&after)[2], told) == (before[0], before[2], 1)
    });
}

#[test]
fn a_stopped_worker_that_nobody_replaces_lags() {
    let endless = [FAST, &["--set", "cluster.heartbeat_timeout=0s"]].concat();
    let cluster = Cluster::start_at(site(""), &endless);
    send_signal(pids(&cluster.status())[1], Signal::STOP);
    let status = cluster.wait_for("its lag", |status| status.workers[0].lag_ms >= 1000);
    assert_eq!(status.workers[0].process.state, ProcessState::Ready);
}

#[test]
fn a_stopped_agent_is_replaced_and_the_workers_serve_on() {
    nobody_else_is_replaced(|timeout| {
        let cluster = impatient(timeout);
        let before = pids(&cluster.status());
        send_signal(before[0], Signal::STOP);
        assert_eq!(cluster.get("/").body, "hi");
        let after = cluster.wait_for("a new agent", |status| {
            status.state == ClusterState::Running && status.agent.process.pid != Some(before[0])
        });
        assert_eq!(after.agent.process.last_exit.as_ref().unwrap().reason, Reason::Hung);
        pids(&after)[1..] == before[1..]
    });
}

#[test]
fn a_handler_that_blocks_its_loop_for_good_costs_only_its_own_worker() {
    nobody_else_is_replaced(|timeout| {
        let cluster = impatient(timeout);
        let before = pids(&cluster.status());
        thread::scope(|scope| {
            scope.spawn(|| cluster.try_get("/block?ms=600000"));
            let began = || fs::read_to_string(cluster.site().dir().join("block-began")).ok();
            let blocked: u32 = eventually("a worker is blocked", || began()?.parse().ok());
            let after = cluster.wait_for("a replacement", |status| {
                status.state == ClusterState::Running && !pids(status).contains(&blocked)
            });
            let hung = |worker: &hatchery::status::WorkerStatus| worker.process.last_exit.clone();
            assert_eq!(after.workers.iter().find_map(hung).unwrap().reason, Reason::Hung);
            pids(&after).iter().filter(|pid| before.contains(pid)).count() == 2
        })
    });
}

#[test]
fn a_worker_that_is_busy_for_less_than_the_limit_is_tolerated_and_its_lag_is_shown() {
    let cluster = Cluster::start_at(site(""), &[FAST, &["--set", "cluster.heartbeat_timeout=8s"]].concat());
    let before = pids(&cluster.status());
    assert_eq!(cluster.get("/block?ms=1500").body, "busy, not dead");
    let _ = cluster
        .wait_for("the lag is seen", |status| status.workers.iter().any(|worker| worker.lag_ms >= 400));
    assert_eq!(pids(&cluster.status()), before);
}

#[test]
fn nobody_is_blamed_when_the_master_itself_was_stopped() {
    nobody_else_is_replaced(|timeout| {
        let cluster = impatient(timeout);
        let before = pids(&cluster.status());
        cluster.signal(Signal::STOP);
        // Longer than anybody may be silent: this is what is tested.
        pass(timeout * 5 / 2);
        cluster.signal(Signal::CONT);
        logged(cluster.site(), "master.log", "nobody is blamed", 1);
        // Whoever were blamed would be so within the next time-out; a stopped worker shows that it has passed.
        send_signal(before[1], Signal::STOP);
        let after = cluster.wait_for("the one that is really hung is replaced", |status| {
            status.state == ClusterState::Running && pids(status)[1] != before[1]
        });
        (pids(&after)[0], pids(&after)[2]) == (before[0], before[2])
    });
}

#[test]
fn a_whole_stopped_cluster_goes_on_where_it_was() {
    nobody_else_is_replaced(|timeout| {
        let cluster = impatient(timeout);
        let before = pids(&cluster.status());
        let everybody = [&[cluster.pid()], &before[..]].concat();
        everybody.iter().for_each(|pid| send_signal(*pid, Signal::STOP));
        pass(timeout * 5 / 2);
        everybody.iter().for_each(|pid| send_signal(*pid, Signal::CONT));
        assert_eq!(cluster.get("/").body, "hi");
        logged(cluster.site(), "master.log", "nobody is blamed", 1);
        pids(&cluster.status()) == before
    });
}

#[test]
fn a_worker_that_starts_once_and_never_again_is_given_up_slowly_while_another_serves() {
    let budget = ["--set", "cluster.restart_limit=3", "--set", "cluster.restart_delay_max=500ms"];
    let options = [FAST, &["--set", "cluster.stable_after=1h"], &budget].concat();
    let cluster = Cluster::start_at(site("greeting = 'hi'\nwatch = true"), &options);
    let survivor = pids(&cluster.status())[2];
    cluster.site().configure("default.toml", "greeting = 'hi'\nwatch = true\nworker = 'error'");
    let _ = cluster.wait_for("the configuration arrives", |status| {
        status.states.iter().any(|state| state.name == "config" && state.version == 2 && state.converged)
    });
    kill(pids(&cluster.status())[1]);
    let status = cluster
        .wait_for("the budget is spent", |status| status.workers[0].process.state == ProcessState::GaveUp);
    assert!(status.groups[0].gave_up);
    assert_eq!(status.state, ClusterState::Degraded);
    assert_eq!(status.workers[1].process.pid, Some(survivor));
    let _ = cluster.wait_for("it is tried on", |now| {
        now.workers[0].process.restarts > status.workers[0].process.restarts + 1
    });
    eventually("the agent hears of it", || {
        events(&cluster).into_iter().find(|event| matches!(event, ClusterEvent::GaveUp { .. }))
    });
    cluster.site().configure("default.toml", "greeting = 'hi'\nwatch = true");
    let _ = cluster.wait_for("it works again", |status| status.state == ClusterState::Running);
    assert_said_once(cluster, "error.log", "gave up on web");
}

#[test]
fn a_cluster_that_cannot_serve_any_more_ends_with_70() {
    let options = [FAST, &["--set", "cluster.stable_after=1h", "--set", "cluster.restart_limit=3"]].concat();
    let mut cluster = Cluster::start_at(site("greeting = 'hi'"), &options);
    cluster.site().configure("default.toml", "greeting = 'hi'\nworker = 'error'");
    let _ = cluster.wait_for("the configuration arrives", |status| {
        status.states.iter().any(|state| state.name == "config" && state.version == 2 && state.converged)
    });
    for pid in &pids(&cluster.status())[1..] {
        kill(*pid);
    }
    assert_eq!(cluster.wait().code(), Some(Ending::GaveUp as i32));
    assert_eq!(log_lines(cluster.site(), "error.log", "gave up, because nothing serves").len(), 1);
    assert_eq!(processes_in(cluster.site().dir()), [0; 0]);
}
