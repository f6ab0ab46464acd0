//! Workers that are replaced while they work, groups that grow and shrink: successors first, and no request fails.

use hatchery::status::{ClusterState, Status};
use hatchery::testing::{Cluster, Site, eventually};
use hatchery::{ClusterEvent, Reason};
use rustix::process::Signal;

use crate::harness::{FAST, assert_said_once, cluster, events, kill, log_lines, pids, site, stderr, stdout};
use crate::load::{Load, Mode};

fn worker_pids(status: &Status) -> Vec<u32> {
    pids(status)[1..].to_vec()
}

/// Whether every slot has one process, and it is ready.
fn is_settled(status: &Status, workers: usize) -> bool {
    status.state == ClusterState::Running && status.workers.len() == workers
}

/// A site of the probe with its group `jobs`.
fn site_with_jobs(config: &str) -> Site {
    let site = site(config);
    std::fs::write(site.dir().join("jobs"), "").expect("a file");
    site
}

fn cluster_with_jobs(config: &str) -> Cluster {
    Cluster::start_at(site_with_jobs(config), FAST)
}

/// Clients that keep their connections and never pause, while `deed` is done: no request fails.
fn under_load(cluster: &Cluster, deed: impl FnOnce()) {
    Load::new(cluster.address()).mode(Mode::KeepAlive).run_while(deed).assert_flawless();
}

#[test]
fn a_worker_whose_handler_panics_is_replaced_by_one_that_is_ready_first() {
    let cluster = cluster("watch = true");
    let before = worker_pids(&cluster.status());
    under_load(&cluster, || {
        assert_eq!(cluster.get("/panic").code, 500);
        let after =
            cluster.wait_for("a successor", |status| is_settled(status, 2) && worker_pids(status) != before);
        let retired: Vec<_> =
            after.workers.iter().filter_map(|worker| worker.process.last_exit.as_ref()).collect();
        assert_eq!(retired.len(), 1);
        assert_eq!(retired[0].reason, Reason::Retired);
    });
    eventually("the panic is logged with its place", || {
        log_lines(cluster.site(), "error.log", "a handler panics")
            .first()
            .filter(|line| line.contains("probe/harm.rs"))
            .cloned()
    });
    let happened = eventually("the agent hears of the end", || {
        let events = events(&cluster);
        let gone = |event: &ClusterEvent| matches!(event, ClusterEvent::Exited { .. });
        events.iter().any(gone).then_some(events)
    });
    let words: Vec<_> = happened
        .iter()
        .filter_map(|event| match event {
            ClusterEvent::Retiring { why, .. } if why.contains("a handler panics") => Some("retiring"),
            ClusterEvent::Spawned { .. } => Some("spawned"),
            ClusterEvent::Ready { .. } => Some("ready"),
            ClusterEvent::Draining { .. } => Some("draining"),
            ClusterEvent::Exited { .. } => Some("exited"),
            _ => None,
        })
        .skip_while(|word| *word != "retiring")
        .collect();
    assert_eq!(words, ["retiring", "spawned", "ready", "draining", "exited"]);
}

#[test]
fn a_panic_in_a_task_counts_like_one_in_a_handler() {
    let cluster = cluster("");
    let before = worker_pids(&cluster.status());
    assert_eq!(cluster.get("/panic-in-a-task").code, 200);
    let _ = cluster.wait_for("a successor", |status| is_settled(status, 2) && worker_pids(status) != before);
}

#[test]
fn a_panic_may_be_ignored() {
    let cluster = cluster("cluster.on_panic = 'ignore'");
    let before = pids(&cluster.status());
    assert_eq!(cluster.get("/panic").code, 500);
    eventually("the panic is counted", || {
        cluster.status().workers.iter().any(|worker| worker.panics == 1).then_some(())
    });
    assert_eq!(pids(&cluster.status()), before);
}

#[test]
fn a_panic_may_end_the_worker_at_once() {
    let cluster = cluster("cluster.on_panic = 'abort'");
    let before = worker_pids(&cluster.status());
    let _ = cluster.try_get("/panic");
    let after =
        cluster.wait_for("a replacement", |status| is_settled(status, 2) && worker_pids(status) != before);
    let exit = after.workers.iter().find_map(|worker| worker.process.last_exit.clone()).expect("an exit");
    assert_eq!(exit.reason, Reason::Panicked);
    assert!(exit.message.is_some_and(|message| message.contains("a handler panics")));
}

#[test]
fn a_worker_may_ask_to_be_replaced() {
    let cluster = cluster("");
    let before = worker_pids(&cluster.status());
    under_load(&cluster, || {
        assert_eq!(cluster.get("/retire").code, 200);
        let _ =
            cluster.wait_for("a successor", |status| is_settled(status, 2) && worker_pids(status) != before);
    });
    assert_said_once(cluster, "master.log", "is to be replaced: it was asked for over HTTP");
}

#[test]
fn a_successor_that_never_gets_ready_leaves_the_one_that_works_at_work() {
    // Enough, on a busy machine too, for those who do not hang.
    let cluster = Cluster::start_at(site(""), &[FAST, &["--set", "cluster.ready_timeout=2s"]].concat());
    let before = worker_pids(&cluster.status());
    cluster.site().configure("default.toml", "worker = 'hang'");
    let _ = cluster.wait_for("the configuration arrives", |status| status.config.version == 2);
    assert_eq!(cluster.get("/retire").code, 200);
    under_load(&cluster, || {
        let _ = cluster.wait_for("two failures", |_| {
            log_lines(cluster.site(), "master.log", "was not ready in time").len() >= 2
        });
    });
    let status = cluster.status();
    assert!(before.iter().all(|pid| worker_pids(&status).contains(pid)), "both still work");
    cluster.site().configure("default.toml", "worker = 'none'");
    let _ =
        cluster.wait_for("the succession", |status| is_settled(status, 2) && worker_pids(status) != before);
}

#[test]
fn workers_are_recycled_by_requests_one_at_a_time_and_no_request_fails() {
    let options = [FAST, &["--set", "cluster.max_requests=50"]].concat();
    let cluster = Cluster::start_at(site("watch = true"), &options);
    let first = worker_pids(&cluster.status());
    under_load(&cluster, || {
        let _ = cluster.wait_for("everybody is recycled", |status| {
            worker_pids(status).iter().all(|pid| !first.contains(pid))
        });
    });
    let mut beside = 0;
    for event in events(&cluster) {
        match event {
            ClusterEvent::Retiring { why, .. } => {
                assert!(why.contains("it has served"), "{why}");
                beside += 1;
            }
            ClusterEvent::Exited { exit, .. } => {
                assert_eq!(exit.reason, Reason::Recycled);
                beside -= 1;
            }
            _ => {}
        }
        assert!(beside <= 1, "one at a time");
    }
}

#[test]
fn workers_are_recycled_by_age_and_by_memory() {
    for limit in ["cluster.max_age=200ms", "cluster.max_memory=1MiB"] {
        let options = [FAST, &["--set", limit]].concat();
        let cluster = Cluster::start_at(site(""), &options);
        let recycled = cluster.wait_for("somebody is recycled", |status| {
            status.workers.iter().any(|worker| worker.process.last_exit.is_some())
        });
        let exit =
            recycled.workers.iter().find_map(|worker| worker.process.last_exit.clone()).expect("an exit");
        assert_eq!(exit.reason, Reason::Recycled, "{limit}");
    }
}

#[test]
fn a_cluster_scales_up_and_down_under_load() {
    let cluster = cluster("");
    under_load(&cluster, || {
        let table = [
            ("5", 5, "web has 5 workers now; it had 2"),
            ("-2", 3, "web has 3 workers now; it had 5"),
            ("+1", 4, "web has 4 workers now; it had 3"),
            ("web=1", 1, "web has 1 worker now; it had 4"),
            ("1", 1, "web has 1 worker, as before"),
        ];
        for (wish, count, said) in table {
            let output = cluster.site().run(&["scale", wish]);
            assert!(output.status.success(), "{wish}: {}", stderr(&output));
            assert_eq!(stdout(&output).trim(), said);
            let status = cluster.status();
            assert_eq!((status.workers.len(), status.groups[0].wanted), (count, count as u32));
        }
    });
}

#[test]
fn what_cannot_be_scaled_is_explained() {
    let cluster = cluster("");
    let table = [
        ("shop=2", 1, "no group is called shop: there is web"),
        ("0", 1, "web cannot have 0 workers: 1 to 1024 are possible"),
        ("2000", 1, "web cannot have 2000 workers"),
        ("-7", 1, "web cannot have -5 workers"),
        ("many", 2, "`many` is no number of workers: write 4, +1 or -1"),
    ];
    for (wish, code, said) in table {
        let output = cluster.site().run(&["scale", wish]);
        assert_eq!(output.status.code(), Some(code), "{wish}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}

#[test]
fn signals_scale_by_one() {
    let cluster = cluster("");
    cluster.signal(Signal::TTIN);
    let _ = cluster.wait_for("one more", |status| is_settled(status, 3));
    // Signals do not queue: each is waited for.
    for left in [2, 1] {
        cluster.signal(Signal::TTOU);
        let _ = cluster.wait_for("one less", |status| is_settled(status, left));
    }
    cluster.signal(Signal::TTOU);
    eventually("the last one stays", || {
        log_lines(cluster.site(), "master.log", "web cannot have 0 workers").first().cloned()
    });
    assert!(is_settled(&cluster.status(), 1));
}

#[test]
fn a_group_of_its_own_has_its_own_count_listener_and_log() {
    let mut cluster = cluster_with_jobs("[groups.jobs]\nworkers = 2\nlisten = ['127.0.0.1:0']");
    let status = cluster.status();
    let jobs: Vec<_> = status.workers.iter().filter(|worker| worker.group == "jobs").collect();
    assert_eq!(jobs.iter().map(|worker| worker.index).collect::<Vec<_>>(), [0, 1]);
    let listener = status.listeners.iter().find(|listener| listener.name == "jobs").expect("its listener");
    let answer = cluster.get_from(&listener.address, "/whoami");
    assert!(answer.body.contains("\"group\":\"jobs\""), "{}", answer.body);
    assert!(cluster.get("/whoami").body.contains("\"group\":\"web\""));
    let both_say_so = || (log_lines(cluster.site(), "jobs.log", "is at work").len() == 2).then_some(());
    eventually("both are in the log of their group", both_say_so);
    assert!(cluster.site().run(&["scale", "jobs=0"]).status.success());
    let status = cluster.status();
    assert!(status.workers.iter().all(|worker| worker.group == "web"));
    assert_eq!(status.state, ClusterState::Running);
    assert!(cluster.stop().success());
}

#[test]
fn a_group_that_is_only_a_function_rests_until_it_is_wanted() {
    let cluster = cluster_with_jobs("[groups.jobs]\nworkers = 0");
    let status = cluster.status();
    assert!(status.groups.iter().any(|group| group.name == "jobs" && group.wanted == 0));
    let output = cluster.site().run(&["scale", "jobs=1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let pid =
        cluster.status().workers.iter().find(|worker| worker.group == "jobs").unwrap().process.pid.unwrap();
    kill(pid);
    let _ = cluster.wait_for("a replacement", |status| {
        status.workers.iter().any(|worker| worker.group == "jobs" && worker.process.restarts == 1)
    });
}

#[test]
fn settings_of_a_group_that_does_not_exist_are_a_mistake_with_its_place() {
    let output = site_with_jobs("[groups.job]\nworkers = 2").run(&["config", "check"]);
    assert_eq!(output.status.code(), Some(78));
    let said = stderr(&output);
    assert!(
        said.contains("config/default.toml:1:9") && said.contains("did you mean `groups.jobs`"),
        "{said}"
    );
}
