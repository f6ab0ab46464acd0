//! How connections are spread over the workers. `absent` has workers that have no time for them, `shortage` those
//! without free descriptors, `paths` and `slots` two of the policies.

mod absent;
mod paths;
mod shortage;
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
use crate::retry::{one_of, should, waited};

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
    one_of(0..5, |_| {
        let (shares, waited) = attempt();
        let even = is_even(&shares);
        let told = format!("{shares:?}, while they waited for processors {waited:.3} of the time");
        // Workers that wait for a processor on a busy machine are not idle: that says nothing. Anything else does.
        assert!(even || waited > 0.05, "{told}");
        should(even, || told)
    });
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

/// Whoever has no time for 10 ms, as on a busy machine, misses turns: what is due by turns is tried a few times.
pub(crate) fn shares_out(due: &[usize], mut attempt: impl FnMut() -> Vec<usize>) {
    one_of(0..5, |_| {
        let shares = attempt();
        should(shares == due, || format!("{shares:?} in place of {due:?}"))
    });
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

/// Whoever has no time for a second, as on a very busy machine, is not waited for even by clients that are its own: what
/// holds of them is tried a few times.
fn comes_true(what: &str, mut attempt: impl FnMut() -> bool) {
    one_of(0..5, |_| should(attempt(), || format!("this does not hold: {what}")));
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
