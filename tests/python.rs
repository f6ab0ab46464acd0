//! The example `python`: a group whose processes are another program, in another language. `docs/protocol.md` tells what
//! it has to say.

use std::fs;
use std::process::Stdio;

use hatchery::Reason;
use hatchery::status::{Status, WorkerStatus};
use hatchery::testing::{Answer, Cluster, Site, eventually, is_running, send_signal};
use rustix::process::{Pid, Signal, getsid};

use crate::harness::{Running, kill, log_lines, logged, missing, processes_in, stderr};
use crate::retry::{one_of, should};

const WORKER: &str = include_str!("../framework/examples/python/worker.py");

/// A worker that does wrong when it is asked to; `proper` is the one of the example.
const IMPROPER: &str = include_str!("python/improper.py");

/// A worker that serves whoever comes by the descriptors of its welcome.
const HOSPITABLE: &str = include_str!("python/hospitable.py");

/// No growing patience with processes that die.
const QUICK: &[&str] =
    &["--workers", "1", "--set", "cluster.stable_after=0s", "--set", "cluster.restart_delay=10ms"];

fn site(files: &[(&str, &str)]) -> Site {
    let site = Site::new(env!("CARGO_BIN_EXE_python"));
    files.iter().for_each(|(name, text)| fs::write(site.dir().join(name), text).unwrap());
    site
}

/// None where there is no Python to run them.
fn runnable(files: &[(&str, &str)]) -> Option<Site> {
    (!missing("python3")).then(|| site(files))
}

fn cluster() -> Option<Cluster> {
    runnable(&[("worker.py", WORKER)]).map(|site| Cluster::start_at(site, QUICK))
}

fn improper_cluster() -> Option<Cluster> {
    runnable(&[("worker.py", IMPROPER), ("proper.py", WORKER)]).map(|site| Cluster::start_at(site, QUICK))
}

fn py(status: &Status) -> &WorkerStatus {
    status.workers.iter().find(|worker| worker.group == "py").expect("a worker of the group py")
}

fn ask(cluster: &Cluster, question: &str) -> Answer {
    cluster.get(&format!("/ask/{}", question.replace(' ', "%20")))
}

/// Waits until another process than `pid` works in the place of the worker in Python.
fn successor_of(cluster: &Cluster, pid: Option<u32>) -> Status {
    cluster.wait_for("a successor", |status| {
        let process = &py(status).process;
        process.pid != pid && status.groups.iter().all(|group| group.ready == group.wanted)
    })
}

#[test]
fn a_worker_in_python_answers_a_worker_in_rust() {
    let Some(mut cluster) = cluster() else { return };
    assert_eq!(ask(&cluster, "what is 6 times 7").body, "42");
    assert_eq!(cluster.get("/say/good%20day").body, "py.0 has heard: good day");
    let refused = ask(&cluster, "what is love");
    assert_eq!((refused.code, &*refused.body), (502, "any:py: I do not know: what is love"));
    assert_eq!(cluster.stop().code(), Some(0));
    let farewell = log_lines(cluster.site(), "master.log", "py.0 stopped as asked");
    assert_eq!(farewell.len(), 1, "it left when it was asked to");
}

#[test]
fn a_worker_in_python_passes_over_what_it_cannot_read() {
    let Some(cluster) = cluster() else { return };
    let pid = py(&cluster.status()).process.pid;
    for payload in ["1", "[]", "{}", "null", "'a text'"] {
        let sent = cluster.site().run(&["send", "words", &payload.replace('\'', "\""), "--to", "py.0"]);
        assert!(sent.status.success(), "{}", stderr(&sent));
    }
    assert_eq!(ask(&cluster, "what is 6 times 7").body, "42");
    assert_eq!(py(&cluster.status()).process.pid, pid);
}

#[test]
fn a_worker_in_python_follows_the_configuration() {
    let Some(cluster) = cluster() else { return };
    assert_eq!(ask(&cluster, "how do you greet").body, "hello");
    cluster.site().configure("default.toml", "greeting = 'moin'");
    let status = cluster.wait_for("the change is everywhere", |status| {
        let config = status.states.iter().find(|state| state.name == "config");
        config.is_some_and(|config| config.version == 2 && config.converged)
    });
    assert_eq!(py(&status).states["config"], 2);
    assert_eq!(ask(&cluster, "how do you greet").body, "moin");
}

#[test]
fn a_worker_in_python_is_replaced_like_any_other() {
    let Some(cluster) = cluster() else { return };
    let first = py(&cluster.status()).process.pid;
    kill(first.unwrap());
    // Who has begun to live is asked before it knows its own address.
    eventually("a successor answers", || (ask(&cluster, "what is 2 times 3").body == "6").then_some(()));
    let status = successor_of(&cluster, first);
    let second = py(&status).process.pid;
    assert_eq!(py(&status).process.last_exit.as_ref().map(|exit| exit.reason), Some(Reason::Killed));

    // The logs it does not have, and a polite signal.
    cluster.signal(Signal::USR1);
    send_signal(second.unwrap(), Signal::TERM);
    let status = successor_of(&cluster, second);
    let third = py(&status).process.pid;
    let retired = |status: &Status| {
        status.workers.len() == 2
            && py(status).process.last_exit.as_ref().is_some_and(|exit| exit.reason == Reason::Retired)
    };
    let _ = cluster.wait_for("the second has left", retired);

    let reloaded = cluster.site().run(&["reload"]);
    assert!(reloaded.status.success(), "{}", stderr(&reloaded));
    let status = successor_of(&cluster, third);
    assert_eq!((status.generation, py(&status).process.generation), (2, 2));
    assert_eq!(ask(&cluster, "what is 3 times 3").body, "9");
}

#[test]
fn a_reload_to_a_broken_command_changes_nothing() {
    let Some(cluster) = cluster() else { return };
    let pid = py(&cluster.status()).process.pid;
    fs::write(cluster.site().dir().join("worker.py"), "raise SystemExit('the new one is broken')").unwrap();
    let reloaded = cluster.site().run(&["reload"]);
    assert_eq!(reloaded.status.code(), Some(1));
    assert!(stderr(&reloaded).contains("the new one is broken"), "{}", stderr(&reloaded));
    let status = cluster.wait_for("all is as before", |status| status.workers.len() == 2);
    assert_eq!((py(&status).process.pid, status.generation), (pid, 1));
    assert_eq!(ask(&cluster, "what is 5 times 5").body, "25");
}

#[test]
fn a_command_serves_by_the_descriptors_of_its_welcome() {
    let Some(site) = runnable(&[("worker.py", HOSPITABLE), ("proper.py", WORKER)]) else { return };
    let shared = "{ address = '127.0.0.1:0', name = 'shared', policy = 'shared' }";
    let handed = "{ address = '127.0.0.1:0', name = 'handed' }";
    site.configure("default.toml", &format!("[groups.py]\nlisten = [{shared}, {handed}]"));
    let cluster = Cluster::start_at(site, QUICK);
    let status = cluster.status();
    for (name, how) in [("shared", "accepted"), ("handed", "handed over")] {
        let listener = status.listeners.iter().find(|listener| listener.name == name).expect("a listener");
        for _ in 0..3 {
            assert_eq!(cluster.get_from(&listener.address, "/").body, how);
        }
    }
}

#[test]
fn a_group_of_commands_grows_and_shrinks() {
    let Some(cluster) = cluster() else { return };
    let count = |status: &Status| status.workers.iter().filter(|worker| worker.group == "py").count();
    for wanted in [3, 1] {
        let scaled = cluster.site().run(&["scale", &format!("py={wanted}")]);
        assert!(scaled.status.success(), "{}", stderr(&scaled));
        assert_eq!(count(&cluster.status()), wanted);
    }
}

#[test]
fn a_command_that_talks_nonsense_loses_its_own_link_alone() {
    let Some(cluster) = improper_cluster() else { return };
    let others =
        |status: &Status| (status.agent.process.pid, status.workers[0].process.pid, status.master.pid);
    let before = cluster.status();
    for (question, words) in [("garbage", "no frame"), ("wrong kind", "not its own to send")] {
        let pid = py(&cluster.status()).process.pid;
        assert_eq!(ask(&cluster, question).code, 502);
        let status = successor_of(&cluster, pid);
        let exit = py(&status).process.last_exit.clone().unwrap();
        assert!(matches!(exit.reason, Reason::Left | Reason::LinkLost), "{question}: {exit:?}");
        logged(cluster.site(), "master.log", words, 1);
        assert_eq!(others(&status), others(&before));
        assert_eq!(ask(&cluster, "what is 1 times 1").body, "1");
    }
}

#[test]
fn what_waits_for_a_command_that_closes_its_link_and_lives_on_goes_to_another_at_once() {
    one_of(0..3, |_| {
        let Some(cluster) = improper_cluster() else { return Ok(()) };
        std::thread::scope(|scope| {
            scope.spawn(|| ask(&cluster, "close the link when told"));
            let deaf = || fs::read_to_string(cluster.site().dir().join("deaf")).ok()?.parse().ok();
            the_other_hears_all_that_waits(&cluster, eventually("one is deaf", deaf))
        })
    });
}

/// An error says that the one that is deaf was ended before anybody looked.
fn the_other_hears_all_that_waits(cluster: &Cluster, deaf: u32) -> Result<(), String> {
    assert!(cluster.site().run(&["scale", "py=2"]).status.success());
    // By turns, and more for each than the kernel takes for a process that does not read.
    for number in 10..40 {
        let words = format!("{{\"text\": \"{number}{}\"}}", "x".repeat(60_000));
        let sent = cluster.site().run(&["send", "words", &words, "--to", "next:py"]);
        assert!(sent.status.success(), "{}", stderr(&sent));
    }
    let dir = cluster.site().dir();
    let heard = || fs::read_to_string(dir.join("heard")).unwrap_or_default();
    let count = || heard().lines().count();
    eventually("the other has its own", || (count() == 15).then_some(()));
    fs::write(dir.join("told"), "").unwrap();
    eventually("it has most of those of the deaf one, too", || (count() >= 20).then_some(()));
    let lives_on = is_running(deaf);
    assert!(!heard().contains(&format!("{deaf} ")), "it was deaf: {}", heard());
    // It has a second to end by itself.
    logged(cluster.site(), "master.log", "lives on without its link", 1);
    should(lives_on, || "it was ended before the other had heard anything".to_owned())
}

#[test]
fn a_command_that_fails_is_heard_to_the_end() {
    let Some(cluster) = improper_cluster() else { return };
    let pid = py(&cluster.status()).process.pid;
    assert_eq!(ask(&cluster, "fail").code, 502);
    let exit = py(&successor_of(&cluster, pid)).process.last_exit.clone().unwrap();
    assert_eq!(exit.reason, Reason::Failed);
    assert_eq!(exit.message.as_deref(), Some("OSError: the disk is full"));
}

#[test]
fn a_command_has_a_session_and_what_it_leaves_behind_ends_with_it() {
    let Some(cluster) = improper_cluster() else { return };
    let pid = py(&cluster.status()).process.pid.unwrap();
    let as_pid = Pid::from_raw(i32::try_from(pid).unwrap());
    assert_eq!(getsid(as_pid).ok(), as_pid);
    let left: u32 = ask(&cluster, "leave something behind").body.parse().unwrap();
    assert!(processes_in(cluster.site().dir()).contains(&left));
    kill(pid);
    eventually("what it left behind is gone", || {
        (!processes_in(cluster.site().dir()).contains(&left)).then_some(())
    });
}

#[test]
fn a_stopped_command_does_not_outlive_its_master() {
    let Some(mut cluster) = cluster() else { return };
    send_signal(py(&cluster.status()).process.pid.unwrap(), Signal::STOP);
    kill(cluster.pid());
    cluster.wait();
    eventually("everybody is gone", || processes_in(cluster.site().dir()).is_empty().then_some(()));
}

#[test]
fn a_start_without_the_program_fails_and_names_it() {
    let site = site(&[]);
    let mut command = site.command(&["start", "--listen", "127.0.0.1:0"]);
    command.args(QUICK).env("PATH", site.dir()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = Running(command.spawn().unwrap()).await_output();
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(75), "{words}");
    assert!(words.contains("the program `python3` cannot be found on the PATH"), "{words}");
}
