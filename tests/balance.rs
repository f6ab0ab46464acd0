//! How connections are spread over the workers, and that none waits for a worker that has no time for it.

mod paths;
mod slots;

use std::fs;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use hatchery::status::Status;
use hatchery::testing::{Answer, Cluster, PATIENCE, Site, eventually, send_signal};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::harness::{FAST, json, kill, log_lines, site, unaccepted};

fn start(config: &str, workers: &str) -> Cluster {
    Cluster::start_at(site(config), &[&["--workers", workers], FAST].concat())
}

/// A connection that was used once and stays open.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn open(cluster: &Cluster) -> Self {
        let stream = TcpStream::connect(cluster.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, path: &str) -> Answer {
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        Answer::read(&mut self.0).unwrap()
    }

    /// The worker at the other end.
    fn index(&mut self) -> u64 {
        json(&self.ask("/whoami").body)["index"].as_u64().unwrap()
    }
}

/// The connections that each worker has accepted, when they are so many together.
fn accepted(cluster: &Cluster, total: u64) -> Vec<u64> {
    let of = |status: &Status| status.workers.iter().map(|worker| worker.accepted).collect::<Vec<_>>();
    of(&cluster.wait_for("every connection is counted", |status| of(status).iter().sum::<u64>() >= total))
}

/// The voluntary context switches of all threads of a process.
fn switches(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("voluntary_ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
    };
    tasks.map(|task| of(task.unwrap())).sum()
}

fn worker_pids(cluster: &Cluster) -> Vec<u32> {
    cluster.status().workers.iter().filter_map(|worker| worker.process.pid).collect()
}

/// How long all threads of these processes have waited for a processor.
fn waited(pids: &[u32]) -> Duration {
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().nth(1).and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or_default()
    };
    let tasks = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).unwrap());
    Duration::from_nanos(tasks.map(|task| of(task.unwrap())).sum())
}

/// The section that makes the listener shared.
const SHARED: &str = "[http]\npolicy = \"shared\"\n";

#[test]
fn idle_workers_take_turns_at_a_shared_listener() {
    const COUNT: u64 = 2000;
    let attempt = || {
        let cluster = start(SHARED, "8");
        let pids = worker_pids(&cluster);
        let (begun, waited_before) = (Instant::now(), waited(&pids));
        for _ in 0..COUNT {
            assert_eq!(cluster.get("/").code, 200);
        }
        let waited = waited(&pids) - waited_before;
        (accepted(&cluster, COUNT), waited.as_secs_f64() / begun.elapsed().as_secs_f64())
    };
    let is_even = |shares: &[u64]| shares.iter().all(|share| (105..=145).contains(&(share * 1000 / COUNT)));
    let mut failed = Vec::new();
    while failed.len() < 5 {
        let (shares, waited) = attempt();
        if is_even(&shares) {
            return;
        }
        // Workers that wait for a processor on a busy machine are not idle: that says nothing. Anything else does.
        assert!(
            waited > 0.05,
            "{shares:?}, although they waited for processors {waited:.3} of the time only"
        );
        failed.push((shares, waited));
    }
    panic!("the machine was busy each time: {failed:?}");
}

#[test]
fn a_connection_wakes_one_worker_of_those_who_share_a_listener() {
    const COUNT: u64 = 400;
    let cluster = start(SHARED, "8");
    let pids = worker_pids(&cluster);
    let all = || pids.iter().map(|pid| switches(*pid)).sum::<u64>();
    let before = all();
    let connect = || {
        let client = TcpStream::connect(cluster.address()).unwrap();
        // Long enough for idle workers to be idle again.
        std::thread::park_timeout(Duration::from_micros(300));
        client
    };
    let clients: Vec<TcpStream> = (0..COUNT).map(|_| connect()).collect();
    let woken = all() - before;
    drop(clients);
    // With 8 that all wake up there are more than 2500; two each, and some for the signs of life.
    assert!(woken <= COUNT * 4, "{woken} wake-ups for {COUNT} connections");
}

/// The section that gives every listener this policy.
fn policy(name: &str) -> String {
    format!("[http]\npolicy = \"{name}\"\n")
}

#[test]
fn a_busy_worker_holds_no_new_connection() {
    for policy in ["shared", "round-robin", "least-busy"].map(policy) {
        // It is busy for as long as the test goes on, however long that is.
        let cluster = start(&(policy.clone() + "[cluster]\nheartbeat_timeout = '0s'\n"), "2");
        let mut busy = Kept::open(&cluster);
        let index = busy.index();
        write!(busy.0.get_mut(), "GET /block?ms=600000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        eventually("a worker is busy", || cluster.site().dir().join("block-began").exists().then_some(()));
        let ask = || {
            let began = Instant::now();
            assert_ne!(json(&cluster.get("/whoami").body)["index"], index, "{policy}");
            began.elapsed()
        };
        let mut took: Vec<Duration> = (0..50).map(|_| ask()).collect();
        took.sort_unstable();
        // 50 ms on a machine that does nothing else; one that does may be late with some.
        assert!(took[25] < Duration::from_millis(500), "{policy}: {took:?}");
    }
}

#[test]
fn a_stopped_worker_holds_no_new_connection() {
    for policy in ["shared", "round-robin", "ip-hash"].map(policy) {
        let cluster = start(&policy, "2");
        let stopped = worker_pids(&cluster)[0];
        send_signal(stopped, Signal::STOP);
        for _ in 0..50 {
            assert_ne!(json(&cluster.get("/whoami").body)["pid"], stopped, "{policy}");
        }
        send_signal(stopped, Signal::CONT);
    }
}

/// So many clients come while the first worker takes nobody up, and it dies with them.
#[track_caller]
fn assert_others_serve_whom_the_first_leaves_behind(cluster: &Cluster, clients: usize) {
    let dying = worker_pids(cluster)[0];
    send_signal(dying, Signal::STOP);
    let mut kept: Vec<Kept> = (0..clients).map(|_| Kept::open(cluster)).collect();
    for kept in &mut kept {
        write!(kept.0.get_mut(), "GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    kill(dying);
    for kept in &mut kept {
        assert_ne!(json(&Answer::read(&mut kept.0).unwrap().body)["pid"], dying);
    }
}

#[test]
fn a_connection_that_was_handed_to_a_worker_that_dies_is_served_by_another() {
    let cluster = start("", "1");
    // There is nobody else, so they go to the one that does not take them up.
    assert_others_serve_whom_the_first_leaves_behind(&cluster, 20);
}

fn descriptors(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64
}

fn limit_descriptors(pid: u32, most: u64) {
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    prlimit(Pid::from_raw(i32::try_from(pid).unwrap()), Resource::Nofile, limit).unwrap();
}

/// So many clients that ask for this, and read one answer.
fn asking(cluster: &Cluster, count: usize, path: &str) -> Vec<Kept> {
    let asking = || {
        let mut kept = Kept::open(cluster);
        write!(kept.0.get_mut(), "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        kept
    };
    std::iter::repeat_with(asking).take(count).collect()
}

#[test]
fn a_master_without_free_descriptors_takes_no_connection_back_to_lose_it() {
    let cluster = start("", "2");
    let workers = worker_pids(&cluster);
    workers.iter().for_each(|pid| send_signal(*pid, Signal::STOP));
    let mut streams: Vec<Kept> = (0..20).map(|_| Kept::open(&cluster)).collect();
    for stream in &mut streams {
        write!(stream.0.get_mut(), "GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    eventually("all are accepted", || (unaccepted(cluster.address()) == 0).then_some(()));
    let master = Pid::from_raw(cluster.pid().cast_signed());
    let few = Rlimit { current: Some(1), ..getrlimit(Resource::Nofile) };
    let before = prlimit(master, Resource::Nofile, few).unwrap();
    // From now on one of them has time for what lies with the other.
    send_signal(workers[1], Signal::CONT);
    let told = || log_lines(cluster.site(), "master.log", "they cannot be taken back");
    eventually("the shortage is logged", || (!told().is_empty()).then_some(()));
    prlimit(master, Resource::Nofile, before).unwrap();
    for stream in &mut streams {
        assert_eq!(json(&Answer::read(&mut stream.0).unwrap().body)["pid"], workers[1]);
    }
    send_signal(workers[0], Signal::CONT);
}

#[test]
fn a_worker_without_free_descriptors_loses_no_connection() {
    let cluster = start("", "1");
    let pid = worker_pids(&cluster)[0];
    limit_descriptors(pid, descriptors(pid) + 2);
    for mut kept in asking(&cluster, 20, "/whoami") {
        assert_eq!(Answer::read(&mut kept.0).unwrap().code, 200);
    }
}

#[test]
fn at_a_stop_a_worker_without_free_descriptors_serves_on_as_it_gets_some() {
    let mut cluster = start("", "1");
    let pid = worker_pids(&cluster)[0];
    let few = descriptors(pid) + 2;
    // They go on until long after the master has handed over the last.
    let mut clients = asking(&cluster, 2, "/slow?ms=4000");
    accepted(&cluster, 2);
    limit_descriptors(pid, few);
    clients.extend(asking(&cluster, 6, "/whoami"));
    let shortage = || log_lines(cluster.site(), "web.log", "cannot accept connections for now");
    eventually("the shortage is logged", || (!shortage().is_empty()).then_some(()));
    cluster.signal(Signal::TERM);
    for kept in &mut clients {
        assert_eq!(Answer::read(&mut kept.0).unwrap().code, 200);
    }
    assert_eq!(cluster.wait().code(), Some(0));
}

/// Whoever has no time for 10 ms, as on a busy machine, misses turns: what is due by turns is tried a few times.
pub(crate) fn shares_out(due: &[usize], mut attempt: impl FnMut() -> Vec<usize>) {
    let failed: Vec<_> = (0..5).map(|_| attempt()).take_while(|shares| shares != due).collect();
    assert!(failed.len() < 5, "{failed:?} in place of {due:?}");
}

/// How many of these connections each of so many workers has.
fn spread(kept: &mut [Kept], workers: usize) -> Vec<usize> {
    let mut shares = vec![0; workers];
    for kept in kept {
        shares[usize::try_from(kept.index()).unwrap()] += 1;
    }
    shares
}

#[test]
fn kept_connections_are_spread_evenly_by_default() {
    let cluster = start("", "4");
    assert_eq!(cluster.status().listeners[0].policy, "round-robin");
    shares_out(&[25; 4], || {
        // All at once, before anybody has answered.
        let mut kept: Vec<Kept> = (0..100).map(|_| Kept::open(&cluster)).collect();
        spread(&mut kept, 4)
    });
}

#[test]
fn weights_say_how_many_connections_each_worker_gets() {
    let config =
        "[http]\npolicy = \"weighted\"\nlisten = [{ address = \"127.0.0.1:0\", weights = [3, 1] }]\n";
    shares_out(&[30, 10], || {
        let site = site(config);
        let cluster = Cluster::start_by(plain_start(&site), site);
        let mut kept: Vec<Kept> = (0..40).map(|_| Kept::open(&cluster)).collect();
        spread(&mut kept, 2)
    });
}

/// A start that listens where its configuration says.
fn plain_start(site: &Site) -> Command {
    let mut command = site.command(&["start", "--workers", "2"]);
    command.args(FAST);
    command
}

#[test]
fn every_listener_can_have_a_policy_and_a_name_of_its_own() {
    let config = "[http]\nlisten = [\"127.0.0.1:0\", { address = \"127.0.0.1:0\", name = \"api\", policy = \"shared\" }]\n";
    let site = site(config);
    let cluster = Cluster::start_by(plain_start(&site), site);
    let listeners = cluster.status().listeners;
    let said: Vec<_> = listeners.iter().map(|one| (one.name.as_str(), one.policy.as_str())).collect();
    assert_eq!(said, [("http", "round-robin"), ("api", "shared")]);
    for listener in &listeners {
        assert_eq!(cluster.get_from(&listener.address, "/").code, 200);
    }
}

#[test]
fn a_worker_that_is_waited_for_at_one_listener_is_not_waited_for_at_another() {
    let attempt = || {
        let config =
            "[http]\nlisten = [{ address = \"127.0.0.1:0\", policy = \"ip-hash\" }, \"127.0.0.1:0\"]\n";
        let site = site(config);
        let cluster = Cluster::start_by(plain_start(&site), site);
        let free = cluster.status().listeners[1].address.clone();
        let home = Kept::open(&cluster).index();
        let stopped = worker_pids(&cluster)[usize::try_from(home).unwrap()];
        send_signal(stopped, Signal::STOP);
        let (mut bound, began) = (Kept::open(&cluster), Instant::now());
        write!(bound.0.get_mut(), "GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        for _ in 0..4 {
            assert_ne!(json(&cluster.get_from(&free, "/whoami").body)["pid"], stopped);
        }
        let took = began.elapsed();
        send_signal(stopped, Signal::CONT);
        let served_by = json(&Answer::read(&mut bound.0).unwrap().body)["index"].as_u64();
        (took, served_by == Some(home))
    };
    // Who is bound waits a second, which may pass for the others, too, on a busy machine.
    let is_good = |(took, came_home): &(Duration, bool)| *took < Duration::from_millis(700) && *came_home;
    let attempts: Vec<_> = std::iter::repeat_with(attempt).take(3).take_while(|it| !is_good(it)).collect();
    assert!(attempts.len() < 3, "{attempts:?}");
}

/// Whoever has no time for a second, as on a very busy machine, is not waited for even by clients that are its own: what
/// holds of them is tried a few times.
fn comes_true(what: &str, mut attempt: impl FnMut() -> bool) {
    assert!((0..5).any(|_| attempt()), "not once in five attempts: {what}");
}

/// The worker that serves a client with this address.
fn index_for(cluster: &Cluster, client: [u8; 4]) -> u64 {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((client, 0))).unwrap();
    let server: SocketAddr = cluster.address().parse().unwrap();
    rustix::net::connect(&socket, &server).unwrap();
    Kept(BufReader::new(socket.into())).index()
}

#[test]
fn a_client_comes_back_to_its_worker_and_only_those_of_a_dead_one_move() {
    let cluster = start(&policy("ip-hash"), "4");
    let clients: Vec<[u8; 4]> = (1..=40).map(|last| [127, 0, 0, last]).collect();
    let ask = || clients.iter().map(|client| index_for(&cluster, *client)).collect::<Vec<_>>();
    let mut before = ask();
    comes_true("everybody comes back", || {
        let last = std::mem::replace(&mut before, ask());
        last == before
    });
    assert!((0..4).all(|index| before.contains(&index)), "{before:?}");
    let stopped = worker_pids(&cluster)[2];
    send_signal(stopped, Signal::STOP);
    comes_true("only those of the stopped one move", || {
        let moved = |(before, now): (&u64, &u64)| if *before == 2 { *now != 2 } else { now == before };
        before.iter().zip(&ask()).all(moved)
    });
    send_signal(stopped, Signal::CONT);
}

#[test]
fn whoever_has_the_fewest_connections_gets_the_next() {
    let cluster = start(&policy("least-busy"), "2");
    let told = |connections: [u64; 2]| {
        let by_index = move |status: &Status| [0, 1].map(|index: usize| status.workers[index].connections);
        let _ = cluster.wait_for("it is told", |status| by_index(status) == connections);
    };
    let mut kept = Vec::new();
    shares_out(&[10, 10], || {
        // Those of an attempt that failed count no more.
        kept.clear();
        told([0, 0]);
        kept.extend((0..20).map(|_| Kept::open(&cluster)));
        spread(&mut kept, 2)
    });
    told([10, 10]);
    kept.retain_mut(|kept| kept.index() == 0);
    let mut further = Vec::new();
    shares_out(&[0, 10], || {
        further.clear();
        told([10, 0]);
        further.extend((0..10).map(|_| Kept::open(&cluster)));
        spread(&mut further, 2)
    });
}
