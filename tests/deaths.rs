//! The example `deaths`, through all of its ways: why the process ended, what the agent hears, and what the client of
//! that request gets. `docs/deaths.md` tells the same in words.

use std::fs;
use std::process::Command;

use hatchery::status::{ClusterState, ProcessStatus, Status};
use hatchery::testing::{Cluster, Site, eventually};
use hatchery::{ClusterEvent, Exit, Reason};

use crate::harness::{events, pids};

/// A way for a worker: the path, the code of the answer if there is one, the end if there is one, and what the agent
/// hears then.
type WorkersWay = (&'static str, Option<u16>, Option<Reason>, &'static [&'static str]);

/// A way for the agent: the place, the way, and the end if there is one. A new agent hears of itself alone.
type AgentsWay = (&'static str, &'static str, Option<Reason>);

const NOTHING: &[&str] = &[""];
const REPLACED: &[&str] = &["exited spawned ready"];
const RETIRED: &[&str] = &["retiring spawned ready draining exited"];
/// It wants a successor and does not wait for it.
const OVERLAPPING: &[&str] = &["retiring spawned exited ready", "retiring spawned ready exited", RETIRED[0]];

const WORKERS_WAYS: &[WorkersWay] = &[
    ("/function/return", None, Some(Reason::Left), REPLACED),
    ("/function/error", None, Some(Reason::Failed), REPLACED),
    ("/function/panic", None, Some(Reason::Panicked), OVERLAPPING),
    ("/handler/return", Some(200), None, NOTHING),
    ("/handler/error", Some(500), None, NOTHING),
    ("/handler/panic", Some(500), Some(Reason::Retired), RETIRED),
    ("/handler/abort", None, Some(Reason::Crashed), REPLACED),
    ("/handler/overflow", None, Some(Reason::Crashed), REPLACED),
    ("/handler/memory", None, Some(Reason::OutOfMemory), REPLACED),
    ("/handler/kill", None, Some(Reason::Killed), REPLACED),
    ("/handler/hang", None, Some(Reason::Hung), REPLACED),
    ("/task/error", Some(200), None, NOTHING),
    ("/task/panic", Some(200), Some(Reason::Retired), RETIRED),
    ("/task/abort", Some(200), Some(Reason::Crashed), REPLACED),
    ("/job/return", Some(200), None, NOTHING),
    ("/job/error", Some(500), None, NOTHING),
    ("/job/panic", Some(500), Some(Reason::Retired), RETIRED),
    ("/job/abort", None, Some(Reason::Crashed), REPLACED),
    ("/job/overflow", None, Some(Reason::Crashed), REPLACED),
    ("/job/memory", None, Some(Reason::OutOfMemory), REPLACED),
    ("/retire", Some(200), Some(Reason::Retired), RETIRED),
];

const AGENTS_WAYS: &[AgentsWay] = &[
    ("function", "error", Some(Reason::Failed)),
    ("function", "panic", Some(Reason::Panicked)),
    ("function", "abort", Some(Reason::Crashed)),
    ("function", "overflow", Some(Reason::Crashed)),
    ("function", "memory", Some(Reason::OutOfMemory)),
    ("function", "kill", Some(Reason::Killed)),
    ("task", "hang", Some(Reason::Hung)),
    ("task", "panic", None),
    ("duty", "error", None),
    ("duty", "panic", None),
    ("duty", "abort", Some(Reason::Crashed)),
    ("function", "return", None),
    ("duty", "return", None),
];

/// The example, with a limit so that memory can run out. It knows nothing of tests: somebody else has to see to it that
/// it dies with this one.
fn start() -> (Cluster, Listener) {
    let site = Site::new(env!("CARGO_BIN_EXE_deaths"));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "prlimit", "--as=1073741824", env!("CARGO_BIN_EXE_deaths")]);
    command.args(["start", "--listen", "127.0.0.1:0", "--workers", "2"]).current_dir(site.dir());
    command.args(["--set", "cluster.heartbeat_timeout=3s", "--set", "cluster.stable_after=0s"]);
    let cluster = Cluster::start_by(command, site);
    let mut listener = Listener::default();
    listener.await_words(&cluster, "the start", "ready spawned spawned ready ready");
    (cluster, listener)
}

/// What of the events that the agent heard has been looked at.
#[derive(Debug, Default)]
struct Listener {
    seen: usize,
}

impl Listener {
    /// Waits until all that is wanted has been heard, in whatever order, and returns what has been heard.
    fn await_words(&mut self, cluster: &Cluster, what: &str, wanted: &str) -> String {
        let wanted: Vec<_> = wanted.split_whitespace().collect();
        let heard = eventually(what, || {
            let heard: Vec<_> = events(cluster).split_off(self.seen).iter().map(word).collect();
            let complete = wanted.iter().all(|word| heard.contains(word)) && heard.len() >= wanted.len();
            complete.then_some(heard)
        });
        self.seen += heard.len();
        heard.join(" ")
    }
}

fn word(event: &ClusterEvent) -> &'static str {
    match event {
        ClusterEvent::Spawned { .. } => "spawned",
        ClusterEvent::Ready { .. } => "ready",
        ClusterEvent::Retiring { .. } => "retiring",
        ClusterEvent::Draining { .. } => "draining",
        ClusterEvent::Exited { .. } => "exited",
        _ => "else",
    }
}

fn settled(cluster: &Cluster, what: &str) -> Status {
    cluster.wait_for(what, |status| status.state == ClusterState::Running && pids(status).len() == 3)
}

fn processes(status: &Status) -> impl Iterator<Item = &ProcessStatus> {
    std::iter::once(&status.agent.process).chain(status.workers.iter().map(|worker| &worker.process))
}

/// How those ended that are there no more.
fn ends(before: &Status, after: &Status) -> Vec<Exit> {
    let replaced = processes(before).zip(processes(after)).filter(|(before, after)| before.pid != after.pid);
    replaced.map(|(_, after)| after.last_exit.clone().unwrap()).collect()
}

#[test]
fn each_way_of_a_worker_to_die_has_its_reason_and_its_events() {
    let (cluster, mut listener) = start();
    for (path, code, reason, wanted) in WORKERS_WAYS {
        let before = settled(&cluster, path);
        let answer = cluster.try_get(path).ok().map(|answer| answer.code);
        assert_eq!(answer, *code, "{path}");
        let heard = listener.await_words(&cluster, path, wanted[0]);
        assert!(wanted.contains(&&*heard), "{path}: {heard}");
        let ends = ends(&before, &settled(&cluster, path));
        assert_eq!(
            ends.iter().map(|exit| exit.reason).collect::<Vec<_>>(),
            Vec::from_iter(*reason),
            "{path}"
        );
        assert_eq!(cluster.get("/").body, "alive\n", "{path}");
    }
}

#[test]
fn each_way_of_the_agent_to_die_has_its_reason_and_costs_no_worker() {
    let (cluster, mut listener) = start();
    for (place, way, reason) in AGENTS_WAYS {
        let what = format!("{place}/{way}");
        let before = settled(&cluster, &what);
        let order = cluster.site().dir().join(format!("die-in-{place}"));
        fs::write(&order, way).unwrap();
        eventually(&what, || (!order.exists()).then_some(()));
        let wanted = reason.map_or("", |_| "ready");
        assert_eq!(listener.await_words(&cluster, &what, wanted), wanted, "{what}");
        assert_eq!(cluster.get("/").body, "alive\n", "{what}");
        let after = settled(&cluster, &what);
        let ends = ends(&before, &after);
        assert_eq!(
            ends.iter().map(|exit| exit.reason).collect::<Vec<_>>(),
            Vec::from_iter(*reason),
            "{what}"
        );
        assert_eq!(pids(&after)[1..], pids(&before)[1..], "{what}");
    }
}
