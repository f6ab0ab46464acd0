//! Keyed states across the deaths of agents and workers, and what workers contribute.

use std::fs::{self, File};

use hatchery::testing::{Cluster, eventually};
use serde_json::{Value, json};

use crate::harness::{FAST, ask_all, cluster, kill, logged, site};
use crate::messages::{order, talkers};

const PATIENT: &[&str] = &["--set", "cluster.restart_limit=1000", "--workers", "3"];

fn keyed(keys: &str) -> Cluster {
    let options = [FAST, PATIENT].concat();
    Cluster::start_at(site(&format!("[states]\nlinger_ms = 300\nkeys = {keys}")), &options)
}

/// The version of a key, and the agent that fed it.
fn seen(answer: &Value, key: &str) -> Option<(u64, u64)> {
    let line = answer["keys"].get(key)?;
    assert_eq!(line[3], 0, "a version fell: {answer}");
    Some((line[1].as_u64()?, line[2].as_u64()?))
}

/// Waits until every worker sees the key fed by this agent, in a version above `above`; the lowest of them.
fn await_fed(cluster: &Cluster, key: &str, agent: u32, above: u64) -> u64 {
    eventually("every worker sees the key move", || {
        let seen: Vec<_> = ask_all(cluster, "/states/keys").iter().map(|answer| seen(answer, key)).collect();
        let fed = |seen: &Option<(u64, u64)>| {
            seen.filter(|(version, pid)| *version > above && *pid == u64::from(agent)).map(|seen| seen.0)
        };
        seen.iter().map(fed).collect::<Option<Vec<_>>>().and_then(|versions| versions.into_iter().min())
    })
}

fn upstreams(cluster: &Cluster) -> Vec<String> {
    let text = fs::read_to_string(cluster.site().dir().join("upstreams")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Whether an upstream lives; it has its file locked.
fn is_fed(cluster: &Cluster, key: &str) -> bool {
    let file = File::open(cluster.site().dir().join(format!("upstream-{key}"))).unwrap();
    file.try_lock().is_err()
}

#[test]
fn an_agent_that_dies_again_and_again_feeds_each_key_once() {
    let cluster = keyed("['eu', 'us']");
    let mut last = 0;
    for _ in 0..20 {
        let agent = cluster.status().agent.process.pid.unwrap();
        for key in ["eu", "us"] {
            last = last.max(await_fed(&cluster, key, agent, last));
        }
        kill(agent);
        let _ = cluster
            .wait_for("another agent", |status| status.agent.process.pid.is_some_and(|pid| pid != agent));
    }
    let agent = cluster.status().agent.process.pid.unwrap();
    await_fed(&cluster, "eu", agent, last);
    assert!(!cluster.site().dir().join("overlap").exists(), "two upstreams at a time");
    let mut once = upstreams(&cluster);
    once.sort();
    once.dedup();
    assert_eq!(once.len(), upstreams(&cluster).len(), "an agent fed a key twice: {once:?}");
    assert!(once.len() >= 2 * 20, "{once:?}");
    let state = cluster.status().states.into_iter().find(|state| state.name == "tick").unwrap();
    assert_eq!(state.keys, Some(2));

    cluster.site().configure("default.toml", "[states]\nlinger_ms = 300\nkeys = []");
    eventually("no upstream is left", || (!is_fed(&cluster, "eu") && !is_fed(&cluster, "us")).then_some(()));
    let _ = cluster.wait_for("no key is left", |status| status.states.iter().all(|one| one.name != "tick"));
}

#[test]
fn the_repair_of_the_only_observer_does_not_start_the_upstream_anew() {
    let options = [FAST, &["--workers", "1"]].concat();
    let site = site("[states]\nlinger_ms = 20000\nkeys = ['eu']");
    let cluster = Cluster::start_at(site, &options);
    let status = cluster.status();
    let (agent, worker) = (status.agent.process.pid.unwrap(), status.workers[0].process.pid.unwrap());
    let before = await_fed(&cluster, "eu", agent, 0);
    kill(worker);
    let _ = cluster.wait_for("a replacement", |status| {
        status.workers[0].process.pid.is_some_and(|pid| pid != worker)
            && status.agent.process.pid == Some(agent)
    });
    eventually("the replacement sees the key", || {
        let answer = cluster.try_get("/states/keys").ok()?;
        seen(&serde_json::from_str(&answer.body).ok()?, "eu").filter(|(version, _)| *version > before)
    });
    assert_eq!(upstreams(&cluster), [format!("eu {agent}")]);
}

#[test]
fn an_upstream_that_fails_or_panics_is_started_again() {
    let cluster = keyed("['flaky']");
    let agent = cluster.status().agent.process.pid.unwrap();
    await_fed(&cluster, "flaky", agent, 0);
    assert_eq!(upstreams(&cluster).len(), 3);
    let lines = logged(cluster.site(), "agent.log", "the upstream of tick[flaky] failed: ", 2);
    for problem in ["the upstream is away", "the upstream talks nonsense"] {
        assert!(lines.iter().any(|line| line.contains(problem)), "{lines:?}");
    }
}

#[test]
fn a_key_that_is_refused_is_an_error_for_all_who_ask_until_there_is_a_value() {
    let cluster = talkers(&["--workers", "2"]);
    let glance = json!({ "glance": { "key": "unlisted" } });
    let refused = json!({ "Err": "the state `tick[unlisted]` cannot be observed: no such key" });
    for who in ["web.0", "web.1", "web.0", "agent"] {
        assert_eq!(order(&cluster, who, &glance), refused, "{who}");
    }
    fs::write(cluster.site().dir().join("listed"), "").unwrap();
    let value = json!({ "Ok": cluster.status().agent.process.pid });
    for who in ["web.0", "web.1", "agent"] {
        eventually("it has a value", || (order(&cluster, who, &glance) == value).then_some(()));
    }
}

#[test]
fn a_reload_of_the_agent_hands_the_keys_over() {
    let cluster = keyed("['eu']");
    let before = cluster.status().agent.process.pid.unwrap();
    let version = await_fed(&cluster, "eu", before, 0);
    let reload = cluster.site().command(&["reload", "--agent"]).output().unwrap();
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    let after = cluster.status().agent.process.pid.unwrap();
    assert_ne!(before, after);
    let _ = cluster.wait_for("the old workers are gone", |status| status.workers.len() == 3);
    await_fed(&cluster, "eu", after, version);
    assert!(!cluster.site().dir().join("overlap").exists(), "two upstreams at a time");
}

/// The gatherer, and the pid and value of each worker.
fn gathered(cluster: &Cluster) -> Option<(u32, Vec<(u32, u32)>)> {
    let text = fs::read_to_string(cluster.site().dir().join("gathered")).ok()?;
    let (agent, lines) = text.split_once('\n')?;
    let line = |line: &str| {
        let mut words = line.split(' ').skip(1).map(|word| word.parse().ok());
        Some((words.next()??, words.next()??))
    };
    Some((agent.parse().ok()?, lines.lines().map(line).collect::<Option<_>>()?))
}

#[test]
fn the_agent_has_the_latest_contribution_of_each_worker_that_lives() {
    let cluster = cluster("[states]\ncontribute = true");
    let expected = || {
        let status = cluster.status();
        let workers = status.workers.iter().map(|worker| Some((worker.process.pid?, worker.index)));
        Some((status.agent.process.pid?, workers.collect::<Option<Vec<_>>>()?))
    };
    let complete =
        |what: &str| eventually(what, || expected().filter(|it| gathered(&cluster).as_ref() == Some(it)));
    let (agent, workers) = complete("all have contributed");
    kill(workers[0].0);
    eventually("the dead worker's value is gone", || {
        gathered(&cluster).filter(|(_, values)| values.iter().all(|(pid, _)| *pid != workers[0].0))
    });
    let (_, after) = complete("its replacement has contributed");
    assert_eq!((after.len(), after[1]), (2, workers[1]));
    kill(agent);
    let _ =
        cluster.wait_for("the next agent", |status| status.agent.process.pid.is_some_and(|pid| pid != agent));
    let (_, again) = complete("the next agent has all values");
    assert_eq!(again, after);
}
