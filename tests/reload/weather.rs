//! Reloads, crashes, changes of size and of configuration in turn, under clients of several kinds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hatchery::status::{ClusterState, ProcessState, WorkerStatus};
use hatchery::testing::Cluster;

use super::{assert_becomes_all_of, begin_reload, is_all_of, reload};
use crate::harness::{FAST, kill, site, stderr};
use crate::load::{self, Failure, Load, Mode, Report};

/// How long the mixed test goes on.
const LONG: Duration = Duration::from_secs(20);

/// What happens to a cluster in the mixed test, one after the other.
struct Weather<'a> {
    cluster: &'a Cluster,
    round: u32,
    crashed: BTreeSet<u32>,
    reloads: u32,
}

impl Weather<'_> {
    fn change(&mut self) {
        self.round += 1;
        match self.round % 5 {
            0 => self.crash(),
            1 => self.reload(),
            2 => self.scale(),
            3 => self.crash_within_a_reload(),
            _ => self.configure(),
        }
        let _ = self.cluster.wait_for("all is well", |status| {
            status.state == ClusterState::Running && is_all_of(status, status.generation)
        });
    }

    /// Another slot each time.
    fn crash(&mut self) {
        let ready = |worker: &&WorkerStatus| worker.process.state == ProcessState::Ready;
        let status = self.cluster.status();
        let pids: Vec<u32> =
            status.workers.iter().filter(ready).filter_map(|worker| worker.process.pid).collect();
        let victim = pids[self.crashed.len() % pids.len()];
        kill(victim);
        self.crashed.insert(victim);
    }

    fn reload(&mut self) {
        let output = reload(self.cluster.site());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        self.reloads += 1;
    }

    /// The reload may then fail, but it must say so.
    fn crash_within_a_reload(&mut self) {
        let reloading = begin_reload(self.cluster.site());
        self.crash();
        let output = reloading.await_output();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
        self.reloads += u32::from(output.status.success());
    }

    fn scale(&self) {
        for wish in ["+2", "-2"] {
            assert!(self.cluster.site().run(&["scale", wish]).status.success());
        }
    }

    fn configure(&self) {
        let version = self.cluster.status().config.version;
        self.cluster.site().configure("default.toml", &format!("flags = {}", self.round));
        let _ = self.cluster.wait_for("the configuration", |status| status.config.version > version);
    }
}

/// Only what the crashed had in hand may have failed: their own requests, and at most one of each client a crash.
#[track_caller]
fn assert_only_crashes_cost(report: &Report, crashed: &BTreeSet<u32>, clients: usize) {
    let costs = [
        Failure::ResetBeforeAnswer,
        Failure::ClosedBeforeAnswer,
        Failure::ResetWithinAnswer,
        Failure::Truncated,
    ];
    assert!(report.failures.keys().all(|failure| costs.contains(failure)), "{report}");
    assert!(report.failed_on.keys().flatten().all(|pid| crashed.contains(pid)), "{crashed:?}: {report}");
    assert!(report.failed() <= (crashed.len() * clients) as u64, "{} crashes: {report}", crashed.len());
    assert!(report.answered > 0, "{report}");
}

#[test]
fn in_mixed_weather_only_requests_of_crashed_workers_fail_and_nobody_hangs() {
    let options = [FAST, &["--set", "cluster.restart_limit=1000"]].concat();
    let cluster = Cluster::start_at(site(""), &options);
    let load = Load::new(cluster.address());
    let loads = [
        load.clone().clients(16).pausing(Duration::from_millis(5)),
        load.clone().clients(32).pausing(Duration::from_millis(300)),
        load.clone().mode(Mode::NewConnection).clients(4).pausing(Duration::from_millis(10)),
        load.posting(16 << 10).clients(4).pausing(Duration::from_millis(10)),
    ];
    let sizes = [16, 32, 4, 4];
    let running = loads.map(Load::begin);
    running.iter().for_each(load::Running::await_first_answers);
    let mut weather = Weather { cluster: &cluster, round: 0, crashed: BTreeSet::new(), reloads: 0 };
    let began = Instant::now();
    // Until enough has happened, however slow the machine is.
    while began.elapsed() < LONG || weather.reloads < 3 || weather.crashed.len() < 3 {
        weather.change();
    }
    for (load, clients) in running.into_iter().zip(sizes) {
        assert_only_crashes_cost(&load.end(), &weather.crashed, clients);
    }
    let generation = cluster.status().generation;
    assert!(generation > u64::from(weather.reloads));
    assert_becomes_all_of(&cluster, generation);
}
