//! SIGKILL of each role, faults of each function: what is replaced, what lives on, and that nobody is left.

use std::time::{Duration, Instant};

use hatchery::Reason;
use hatchery::status::{ClusterState, DutyState, Status};
use hatchery::testing::{Cluster, eventually, is_running};
use rustix::process::Signal;

use crate::harness::{FAST, Port, ask_all, cluster, kill, pids, probe, processes_in, site, zombies_of};

const ROUNDS: usize = 10;

fn is_whole(status: &Status) -> bool {
    status.state == ClusterState::Running
}

#[test]
fn a_dead_worker_is_replaced_ten_times_in_a_row() {
    let cluster = cluster("");
    for round in 1..=ROUNDS {
        let before = cluster.status();
        let victim = before.workers[1].process.pid.unwrap();
        kill(victim);
        let after = cluster.wait_for("a replacement", |status| {
            is_whole(status) && status.workers[1].process.pid.is_some_and(|pid| pid != victim)
        });
        assert_eq!(after.workers[1].process.restarts, round as u64);
        let exit = after.workers[1].process.last_exit.clone().unwrap();
        assert_eq!((exit.reason, exit.signal.as_deref()), (Reason::Killed, Some("SIGKILL")));
        assert_eq!(after.workers[0].process.pid, before.workers[0].process.pid, "the other one lives on");
        assert_eq!(zombies_of(cluster.pid()), [0; 0]);
    }
    assert_eq!(processes_in(cluster.site().dir()).len(), 4);
}

#[test]
fn workers_serve_on_while_the_agent_is_replaced_ten_times_in_a_row() {
    let cluster = cluster("greeting = 'hi'");
    let workers: Vec<u32> = pids(&cluster.status())[1..].to_vec();
    for round in 1..=ROUNDS {
        let victim = cluster.status().agent.process.pid.unwrap();
        kill(victim);
        assert_eq!(cluster.get("/").body, "hi");
        let after = cluster.wait_for("a new agent", |status| {
            is_whole(status) && status.agent.process.pid.is_some_and(|pid| pid != victim)
        });
        assert_eq!(after.agent.process.restarts, round as u64);
        assert_eq!(pids(&after)[1..], workers, "no worker was replaced");
        assert_eq!(zombies_of(cluster.pid()), [0; 0]);
    }
}

#[test]
fn a_killed_master_takes_everybody_with_it_ten_times_in_a_row() {
    let port = Port::hold(0).unwrap();
    let options = [FAST, &["--listen", &port.address]].concat();
    let mut cluster = Cluster::start_at(site("greeting = 'hi'"), &options);
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let children = pids(&cluster.status());
        assert_eq!(children.len(), 3);
        let killed = Instant::now();
        kill(cluster.pid());
        eventually("the children end", || (!children.iter().any(|pid| is_running(*pid))).then_some(()));
        took.push(killed.elapsed());
        cluster.wait();
        assert_eq!(processes_in(cluster.site().dir()), [0; 0]);
        // The port is free and what the dead master left does not matter.
        cluster.start_again(&options);
        assert_eq!(cluster.get("/").body, "hi");
    }
    took.sort();
    // The middle one: a busy machine may delay a few.
    assert!(took[ROUNDS / 2] < Duration::from_secs(1), "{took:?}");
    assert!(took[ROUNDS - 1] < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_stopped_child_does_not_outlive_its_master() {
    let mut cluster = cluster("");
    let children = pids(&cluster.status());
    for pid in &children {
        hatchery::testing::send_signal(*pid, Signal::STOP);
    }
    kill(cluster.pid());
    cluster.wait();
    eventually("the children end", || (!children.iter().any(|pid| is_running(*pid))).then_some(()));
}

#[test]
fn a_worker_that_is_asked_by_hand_to_leave_is_replaced() {
    let cluster = cluster("");
    let asked = cluster.status().workers[0].process.pid.unwrap();
    hatchery::testing::send_signal(asked, Signal::TERM);
    let after = cluster.wait_for("a replacement", |status| {
        is_whole(status) && status.workers[0].process.pid.is_some_and(|pid| pid != asked)
    });
    assert_eq!(after.workers[0].process.last_exit.as_ref().unwrap().reason, Reason::Retired);
}

#[test]
fn a_duty_that_fails_is_started_again_and_shown() {
    for fault in ["error", "panic"] {
        let cluster = cluster("");
        cluster.site().configure("default.toml", &format!("duty = '{fault}'"));
        let failed = cluster.wait_for("the duty fails", |status| {
            status
                .agent
                .duties
                .iter()
                .any(|duty| duty.name == "faulty" && duty.state == DutyState::BackingOff)
        });
        let duty = failed.agent.duties.iter().find(|duty| duty.name == "faulty").unwrap();
        assert!(duty.last_error.as_ref().unwrap().contains("the fault was switched on"), "{duty:?}");
        assert_eq!(failed.agent.process.restarts, 0, "the agent lives on");
        cluster.site().configure("default.toml", "# well again");
        let _ = cluster.wait_for("the duty runs again", |status| {
            status.agent.duties.iter().all(|duty| duty.state == DutyState::Running)
        });
    }
}

#[test]
fn all_processes_killed_at_once_come_back() {
    let cluster = cluster("greeting = 'hi'");
    for _ in 0..3 {
        let victims = pids(&cluster.status());
        victims.iter().for_each(|pid| kill(*pid));
        let _ = cluster.wait_for("everybody is back", |status| {
            is_whole(status)
                && !pids(status).iter().any(|pid| victims.contains(pid))
                && pids(status).len() == 3
        });
        let answers = ask_all(&cluster, "/config");
        assert!(answers.iter().all(|answer| answer["config"]["greeting"] == "hi"));
    }
}

#[test]
fn the_master_keeps_its_descriptors_and_its_memory_over_many_deaths() {
    let cluster = Cluster::start(probe(), FAST);
    let kill_one = || {
        let victim = cluster.status().workers[0].process.pid.unwrap();
        kill(victim);
        let _ = cluster.wait_for("a replacement", |status| {
            is_whole(status) && status.workers[0].process.pid.is_some_and(|pid| pid != victim)
        });
    };
    let open = || std::fs::read_dir(format!("/proc/{}/fd", cluster.pid())).unwrap().count();
    (0..5).for_each(|_| kill_one());
    let (descriptors, memory) = (open(), cluster.status().master.usage.rss_bytes);
    (0..30).for_each(|_| kill_one());
    eventually("no descriptor is left open", || (open() <= descriptors).then_some(()));
    let grown = cluster.status().master.usage.rss_bytes.saturating_sub(memory);
    assert!(grown < 1 << 20, "{grown} bytes more");
}
