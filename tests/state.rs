//! States across restarts of their publishers and observers.

use hatchery::status::{ClusterState, Status};

use crate::harness::{ask_all, cluster, kill};

fn has_converged(status: &Status, name: &str, version: u64) -> bool {
    status.states.iter().any(|state| state.name == name && state.version == version && state.converged)
}

#[test]
fn a_state_is_there_before_a_worker_serves_and_follows_every_change() {
    let cluster = cluster("flags = 7");
    for answer in ask_all(&cluster, "/flags") {
        assert_eq!((&answer["count"], &answer["version"]), (&7.into(), &1.into()));
    }
    cluster.site().configure("default.toml", "flags = 8");
    let status = cluster.wait_for("the change is everywhere", |status| has_converged(status, "flags", 2));
    assert!(status.workers.iter().all(|worker| worker.states["flags"] == 2 && worker.states["config"] == 2));
    assert!(ask_all(&cluster, "/flags").iter().all(|answer| answer["count"] == 8));
}

#[test]
fn a_restarted_worker_has_the_latest_version_at_once() {
    let cluster = cluster("flags = 1");
    cluster.site().configure("default.toml", "flags = 2");
    let status = cluster.wait_for("the change is everywhere", |status| has_converged(status, "flags", 2));
    let victim = status.workers[0].process.pid.unwrap();
    kill(victim);
    let _ = cluster.wait_for("a replacement", |status| {
        status.state == ClusterState::Running && status.workers[0].process.pid != Some(victim)
    });
    assert!(ask_all(&cluster, "/flags").iter().all(|answer| answer["count"] == 2 && answer["version"] == 2));
}

#[test]
fn versions_rise_across_restarts_of_the_agent() {
    let cluster = cluster("flags = 5");
    for version in 2..5 {
        let victim = cluster.status().agent.process.pid.unwrap();
        kill(victim);
        let _ = cluster.wait_for("a new agent publishes", |status| has_converged(status, "flags", version));
        assert!(ask_all(&cluster, "/flags").iter().all(|answer| answer["version"] == version));
    }
    assert_eq!(cluster.status().config.version, 1, "the same configuration is the same version");
}

#[test]
fn a_state_larger_than_any_queue_reaches_workers_and_their_replacements() {
    let greeting = "x".repeat(9 << 20);
    let cluster = cluster(&format!("greeting = '{greeting}'"));
    let victim = cluster.status().workers[0].process.pid.unwrap();
    kill(victim);
    let _ = cluster.wait_for("a replacement", |status| {
        status.state == ClusterState::Running
            && status.workers[0].process.pid != Some(victim)
            && has_converged(status, "config", 1)
    });
    assert_eq!(cluster.get("/").body.len(), greeting.len());
}
