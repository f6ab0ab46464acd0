//! The command line, the control socket, the run dir.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};

use hatchery::testing::{Site, eventually, is_running, send_signal};
use rustix::process::Signal;

use crate::harness::{FAST, cluster, json, kill, processes_in, site, stderr, stdout};

fn run(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output: Output = site.run(arguments);
    (output.status.code(), stdout(&output), stderr(&output))
}

/// Stops what a test started in the background, also when the test fails.
struct Daemon<'a>(&'a Site);

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        processes_in(self.0.dir()).into_iter().for_each(kill);
    }
}

#[test]
fn status_and_stop_of_nothing_exit_with_3() {
    let site = site("");
    for arguments in [&["status"][..], &["status", "--json"], &["stop"]] {
        assert_eq!(run(&site, arguments), (Some(3), String::new(), "error: not running\n".to_owned()));
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let site = site("");
    for arguments in [&["fly"][..], &["start", "--ready-timeout", "soon"], &["start", "--port", "70000"]] {
        assert_eq!(run(&site, arguments).0, Some(2), "{arguments:?}");
    }
    let (code, out, _) = run(&site, &["--version"]);
    assert_eq!((code, out.as_str()), (Some(0), "probe 1.2.3\n"));
}

#[test]
fn the_json_status_has_the_promised_names() {
    let cluster = cluster("");
    let status = json(&run(cluster.site(), &["status", "--json"]).1);
    let has = |value: &serde_json::Value, names: &str| {
        let missing: Vec<_> = names.split(' ').filter(|name| value.get(name).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?} in {value}");
    };
    has(
        &status,
        "app version env state generation uptime_ms master agent workers listeners states config bus",
    );
    has(&status["master"], "pid rss_bytes cpu_ms");
    has(&status["agent"], "pid state generation restarts uptime_ms rss_bytes cpu_ms duties last_exit");
    has(&status["agent"]["duties"][0], "name state last_error next_run_ms");
    let worker = &status["workers"][0];
    has(
        worker,
        "group index pid state generation restarts uptime_ms connections requests rss_bytes cpu_ms states last_exit",
    );
    has(&status["listeners"][0], "name address policy");
    has(&status["states"][0], "name version bytes converged");
    has(&status["config"], "version refused");
    has(&status["bus"], "relayed dropped queued_bytes");
    assert_eq!(
        (&status["app"], &status["state"], &status["generation"]),
        (&"probe".into(), &"running".into(), &1.into())
    );
    assert!(status["master"]["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    assert_eq!(worker["states"]["config"], 1);
}

#[test]
fn the_status_for_people_names_every_process() {
    let cluster = cluster("");
    let (code, text, _) = run(cluster.site(), &["status"]);
    assert_eq!(code, Some(0));
    for word in [
        "probe 1.2.3 (local): running",
        "master",
        "agent",
        "web.0",
        "web.1",
        "config-polling",
        "state config",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn requests_and_connections_are_counted() {
    let cluster = cluster("");
    for _ in 0..20 {
        assert_eq!(cluster.get("/").code, 200);
    }
    let _ = cluster.wait_for("the requests", |status| {
        status.workers.iter().map(|worker| worker.requests).sum::<u64>() == 20
    });
}

#[test]
fn a_second_start_in_the_same_run_dir_is_refused() {
    let cluster = cluster("");
    let (code, _, words) = run(cluster.site(), &["start", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(words.starts_with(&format!("error: already running with pid {}", cluster.pid())), "{words}");
    assert_eq!(cluster.get("/healthz").code, 200, "the first one is not disturbed");
}

#[test]
fn the_run_dir_is_private() {
    let cluster = cluster("");
    let run = cluster.site().dir().join("run");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&run), mode(&run.join("control.sock"))), (0o700, 0o600));
}

#[test]
fn what_a_dead_master_left_does_not_block_a_start_or_harm_a_stranger() {
    let site = site("");
    let stranger = crate::harness::Running(std::process::Command::new("sleep").arg("1000").spawn().unwrap());
    fs::create_dir_all(site.dir().join("run")).unwrap();
    fs::write(site.dir().join("run/master.lock"), format!("{} 1\n", stranger.0.id())).unwrap();
    drop(std::os::unix::net::UnixListener::bind(site.dir().join("run/control.sock")).unwrap());
    assert_eq!(run(&site, &["stop"]).0, Some(3));
    let mut cluster = hatchery::testing::Cluster::start_at(site, FAST);
    assert_eq!(cluster.stop().code(), Some(0));
    assert!(is_running(stranger.0.id()));
}

#[test]
fn a_daemon_says_ready_and_is_stopped() {
    let site = site("");
    let _guard = Daemon(&site);
    let (code, out, err) = run(&site, &["start", "--daemon", "--listen", "127.0.0.1:0", "--workers", "1"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("probe is ready: http://127.0.0.1:"), "{out}");
    let status = site.status().unwrap();
    assert_eq!(status.workers.len(), 1);
    let session = rustix::process::getsid(rustix::process::Pid::from_raw(status.master.pid as i32)).unwrap();
    assert_eq!(session.as_raw_nonzero().get() as u32, status.master.pid, "it has a session of its own");
    assert_eq!(run(&site, &["stop"]), (Some(0), "probe has stopped\n".to_owned(), String::new()));
    assert_eq!(processes_in(site.dir()), [0; 0]);
}

#[test]
fn a_daemon_that_fails_says_why() {
    let wrong = site("small = 300");
    let (code, out, err) = run(&wrong, &["start", "--daemon", "--listen", "127.0.0.1:0"]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.starts_with("error: config/default.toml:1:9: small: "), "{err}");
    let failing = site("worker = 'error'");
    let (code, _, err) = run(&failing, &["start", "--daemon", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(75), "{err}");
    assert!(err.contains("the fault was switched on"), "{err}");
    // Its word is heard a moment before its end.
    eventually("nobody is left", || processes_in(failing.dir()).is_empty().then_some(()));
}

#[test]
fn garbage_on_the_control_socket_changes_nothing() {
    let cluster = cluster("");
    let socket = cluster.site().dir().join("run/control.sock");
    let mut silent = Vec::new();
    for garbage in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 4096], &[0; 64]] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(garbage).unwrap();
        if garbage.is_empty() {
            silent.push(stream);
        } else {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    assert_eq!(cluster.status().workers.len(), 2);
}

#[test]
fn a_master_that_does_not_answer_is_named_and_does_not_do_later_what_nobody_waits_for() {
    let cluster = cluster("");
    send_signal(cluster.pid(), Signal::STOP);
    let mut stop = cluster.site().command(&["stop"]);
    let stop = crate::harness::Running(stop.stderr(Stdio::piped()).spawn().unwrap());
    let (code, _, words) = run(cluster.site(), &["status"]);
    assert_eq!(code, Some(1));
    assert_eq!(words, format!("error: the master with pid {} does not answer\n", cluster.pid()));
    let stop = stop.await_output();
    assert_eq!(stop.status.code(), Some(1));
    assert!(stderr(&stop).contains("only if it has begun to; look at `status`"), "{}", stderr(&stop));
    send_signal(cluster.pid(), Signal::CONT);
    for _ in 0..3 {
        assert_eq!(run(cluster.site(), &["scale", "2"]).0, Some(0), "it does not stop");
    }
}

#[test]
fn hundreds_who_say_nothing_delay_nobody_who_speaks() {
    let mut cluster = cluster("");
    let socket = cluster.site().dir().join("run/control.sock");
    let silent: Vec<_> = (0..400).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for arguments in [&["status"][..], &["trace", "orders"], &["stop"]] {
        assert_eq!(run(cluster.site(), arguments).0, Some(0), "{arguments:?}");
    }
    assert_eq!(cluster.wait().code(), Some(0));
    drop(silent);
}

#[test]
fn a_command_run_by_a_child_is_a_command() {
    let cluster = cluster("");
    let output =
        cluster.site().command(&["status", "--json"]).env("HATCHERY_ROLE", "web.0@1").output().unwrap();
    assert_eq!(json(&stdout(&output))["app"], "probe");
}

#[test]
fn a_signal_that_is_reserved_changes_nothing() {
    let cluster = cluster("");
    cluster.signal(Signal::USR2);
    let said = || {
        crate::harness::log_lines(cluster.site(), "master.log", "is reserved and changes nothing yet").len()
    };
    eventually("it is noted", || (said() == 1).then_some(()));
    assert_eq!(cluster.get("/healthz").code, 200);
}

#[test]
fn a_program_that_was_touched_and_removed_still_replaces_its_workers() {
    let site = site("");
    let copy = site.dir().join("app");
    // Not by this process: while it held the copy open for writing, a fork of another test would inherit that.
    assert!(
        std::process::Command::new("cp").arg(crate::harness::probe()).arg(&copy).status().unwrap().success()
    );
    let other = Site::new(&copy);
    other.configure("default.toml", "");
    let cluster = hatchery::testing::Cluster::start_at(other, FAST);
    let victim = cluster.status().workers[0].process.pid.unwrap();
    fs::File::open(&copy).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::remove_file(&copy).unwrap();
    kill(victim);
    eventually("a replacement", || {
        let answer = json(&cluster.get("/whoami").body);
        (answer["index"] == 0 && answer["pid"] != victim).then_some(())
    });
}

#[test]
fn a_closed_stdout_does_not_matter() {
    let site = site("");
    let mut master = crate::harness::Running::start(&site, &[]);
    drop((master.0.stdout.take(), master.0.stderr.take()));
    let status = eventually("the cluster is ready", || {
        site.status().filter(|status| status.state == hatchery::status::ClusterState::Running)
    });
    assert_eq!(status.workers.len(), 2);
    send_signal(master.0.id(), Signal::TERM);
    assert_eq!(eventually("the master ends", || master.0.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn a_reader_of_stderr_that_has_stopped_reading_stops_nobody() {
    let site = site("");
    let mut master = crate::harness::Running::start(&site, &[]);
    let ready = |status: &hatchery::status::Status| status.state == hatchery::status::ClusterState::Running;
    eventually("the cluster is ready", || site.status().filter(ready));
    // Far more warnings than a pipe holds.
    let socket = site.dir().join("run/control.sock");
    for _ in 0..1500 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let _ = stream.write_all(b"nonsense, and much more of it than the head of any frame has");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(site.run(&["stop"]).status.code(), Some(0));
    assert_eq!(eventually("the master ends", || master.0.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn a_master_whose_run_dir_was_removed_spares_its_successor() {
    let mut old = cluster("");
    let run_dir = old.site().dir().join("run");
    fs::remove_dir_all(&run_dir).unwrap();
    let new = crate::harness::Running::start(old.site(), &[]);
    let pid = new.0.id();
    eventually("the successor is ready", || {
        old.site().status().filter(|status| status.master.pid == pid && run_dir.join("ready").exists())
    });
    assert_eq!(old.stop().code(), Some(0));
    assert_eq!(old.site().status().map(|status| status.master.pid), Some(pid));
    assert!(run_dir.join("ready").exists());
}

#[test]
fn looking_is_not_in_the_way_of_starting() {
    let site = site("");
    let (keep_looking, looking) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let site = &site;
        scope.spawn(move || {
            // Until the other end is dropped, also by a failure.
            while looking.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                let _ = site.run(&["status"]);
            }
        });
        let _keep_looking = keep_looking;
        for _ in 0..10 {
            let mut master = crate::harness::Running::start(site, &["--set", "cluster.workers=1"]);
            eventually("it starts", || {
                assert_eq!(master.0.try_wait().unwrap(), None, "the start was refused");
                site.dir().join("run/ready").exists().then_some(())
            });
            assert_eq!(run(site, &["stop"]), (Some(0), "probe has stopped\n".to_owned(), String::new()));
            eventually("it ends", || master.0.try_wait().unwrap());
        }
    });
}
