//! Where a cluster listens: names, families, Unix sockets and their rights.

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use hatchery::status::{ClusterState, Status};
use hatchery::testing::{Answer, Site, eventually};

use crate::harness::{FAST, Running, site, stderr};

/// A start that listens where its configuration says, when it is ready.
fn running(site: &Site) -> (Running, Status) {
    let mut command = site.command(&["start", "--workers", "2"]);
    let master = Running(command.args(FAST).spawn().unwrap());
    let is_running = |status: &Status| status.state == ClusterState::Running;
    (master, eventually("it is ready", || site.status().filter(is_running)))
}

/// What a start says that fails as a mistake of the configuration.
fn refusal(config: &str) -> String {
    let output = site(config).run(&["start"]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    stderr(&output)
}

fn get_by(path: &Path) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    Answer::read(&mut BufReader::new(stream))
}

#[test]
fn a_unix_socket_can_be_connected_to_at_any_time_while_reloads_go_on() {
    let site = site("[http]\nlisten = [{ address = 'unix:web.sock', mode = '0666' }]\n");
    let (_master, _) = running(&site);
    let path = site.dir().join("web.sock");
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                assert_eq!(get_by(&path).unwrap().code, 200);
                answered.fetch_add(1, Relaxed);
            }
        });
        let outputs: Vec<_> = (0..3)
            .map(|_| {
                let output = site.run(&["reload"]);
                let before = answered.load(Relaxed);
                eventually("somebody is answered", || (answered.load(Relaxed) > before).then_some(()));
                output
            })
            .collect();
        over.store(true, Relaxed);
        outputs.iter().for_each(|output| assert!(output.status.success(), "{}", stderr(output)));
    });
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
}

#[test]
fn rights_that_cannot_be_given_fail_the_start_with_one_line() {
    let long = format!("listen = ['unix:{}']", "x".repeat(108));
    for (listen, words) in [
        ("listen = [{ address = 'unix:a', owner = 'no-such-one' }]", "there is no user `no-such-one`"),
        ("policy = 'reuseport'\nlisten = ['unix:a']", "the policy `reuseport` is for TCP addresses"),
        ("listen = [{ address = 'unix:a', policy = 'reuseport' }]", "is for TCP addresses"),
        ("listen = [{ address = '127.0.0.1:0', mode = '0600' }]", "are for Unix sockets"),
        (long.as_str(), "the path has 108 bytes"),
    ] {
        let words_said = refusal(&format!("[http]\n{listen}\n"));
        assert!(words_said.contains(words), "{words_said}");
    }
}

#[test]
fn a_place_by_which_nobody_could_come_is_refused_by_the_check_in_the_words_of_the_start() {
    for (config, expected) in [
        ("[http]\nlisten = ['127.0.0.1:99999']", "2:11: http.listen[0]: cannot listen on 127.0.0.1:99999: "),
        (
            "[http]\nlisten = ['127.0.0.1:7', 'localhost:7']",
            "2:26: http.listen[1]: cannot listen on localhost:7: it is the same place as 127.0.0.1:7, ",
        ),
        (
            "[http]\nlisten = [\n  'unix:a',\n  'unix:config/../a',\n]",
            "4:3: http.listen[1]: cannot listen on unix:config/../a: it is the same place as unix:a, ",
        ),
        (
            "[http]\nlisten = ['127.0.0.1:7', '127.0.0.1:7']",
            "2:26: http.listen[1]: cannot listen on 127.0.0.1:7: it is named twice",
        ),
        ("[http]\nlisten = ['udp:127.0.0.1:0']", "2:10: http.listen: web serves HTTP"),
        (
            "[http]\nlisten = ['unix:none/a']",
            "2:11: http.listen[0]: cannot listen on unix:none/a: there is no",
        ),
        (
            "[http]\nlisten = ['unix:config']",
            "2:11: http.listen[0]: cannot listen on unix:config: a file that",
        ),
        (
            "[http]\nlisten = ['192.0.2.1:80']",
            "2:11: http.listen[0]: cannot listen on 192.0.2.1:80: this machine",
        ),
    ] {
        let said = refusal(config);
        assert!(said.starts_with(&format!("error: config/default.toml:{expected}")), "{said}");
        let site = site(config);
        let (start, check) = (site.run(&["start"]), site.run(&["config", "check"]));
        assert_eq!((check.status.code(), stderr(&check)), (Some(78), stderr(&start)));
    }
}

#[test]
fn the_places_of_a_running_cluster_pass_the_check() {
    let site = site("[http]\nlisten = ['unix:web.sock']\n");
    let (_master, _) = running(&site);
    let checked = site.run(&["config", "check"]);
    assert!(checked.status.success(), "{}", stderr(&checked));
}

#[test]
fn a_name_is_listened_on_at_every_address_that_it_has() {
    let site = site("[http]\nlisten = ['localhost:0']\n");
    let (_master, status) = running(&site);
    let ports: Vec<&str> = status.listeners.iter().filter_map(|one| one.address.rsplit(':').next()).collect();
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    for listener in &status.listeners {
        assert_eq!(crate::harness::get(&listener.address, "/").code, 200);
    }
}

#[test]
fn an_ipv6_address_that_stands_for_all_takes_ipv4_too() {
    let only_six = fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    if std::net::TcpListener::bind("[::]:0").is_err() || only_six.is_ok_and(|text| text.trim() != "0") {
        eprintln!("skipped: this machine has no IPv6, or keeps the families apart");
        return;
    }
    let site = site("[http]\nlisten = ['[::]:0']\n");
    let (_master, status) = running(&site);
    let port = status.listeners[0].address.rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "[::1]"] {
        assert_eq!(crate::harness::get(&format!("{host}:{port}"), "/").code, 200);
    }
}
