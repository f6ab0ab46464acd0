//! UDP sockets of groups: bound by the master, shared by the workers, and nothing that waits there is lost.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hatchery::status::Status;
use hatchery::testing::{Cluster, PATIENCE, send_signal};
use rustix::process::Signal;

use crate::harness::{FAST, kill, site, stderr, uninterrupted};

fn start(config: &str) -> Cluster {
    let site = site(config);
    std::fs::write(site.dir().join("jobs"), "").unwrap();
    Cluster::start_at(site, FAST)
}

const ONE: &str = "[groups.jobs]\nlisten = [{ address = 'udp:127.0.0.1:0', name = 'echo' }]\n";

fn address(status: &Status, name: &str) -> String {
    let listener = status.listeners.iter().find(|listener| listener.name == name).unwrap();
    listener.address.strip_prefix("udp:").unwrap().to_owned()
}

/// A client of the socket with this name.
fn client(cluster: &Cluster, name: &str) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(address(&cluster.status(), name)).unwrap();
    socket
}

/// The socket's name, the worker and the words of the next answer.
fn answer(client: &UdpSocket) -> (String, u32, String) {
    let mut buffer = [0; 128];
    let length = uninterrupted(|| client.recv(&mut buffer)).unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let mut words = text.splitn(3, ' ').map(str::to_owned);
    let mut next = || words.next().unwrap();
    (next(), next().parse().unwrap(), next())
}

fn ask(client: &UdpSocket, words: &str) -> (String, u32, String) {
    client.send(words.as_bytes()).unwrap();
    answer(client)
}

#[test]
fn sockets_are_known_by_their_names_and_serve_no_pages() {
    let config = "[groups.jobs]\nworkers = 2\nlisten = ['127.0.0.1:0', 'udp:127.0.0.1:0', { address = 'udp:127.0.0.1:0', name = 'news' }]\n";
    let cluster = start(config);
    for name in ["jobs-2", "news"] {
        let (said, _, words) = ask(&client(&cluster, name), "hello");
        assert_eq!((said.as_str(), words.as_str()), (name, "hello"));
    }
    let pages = cluster.status().listeners.into_iter().find(|listener| listener.name == "jobs").unwrap();
    assert_eq!(cluster.get_from(&pages.address, "/whoami").code, 200);
}

#[test]
fn datagrams_that_wait_when_a_worker_dies_are_answered_by_the_next() {
    let cluster = start(ONE);
    let client = client(&cluster, "echo");
    let (_, dying, _) = ask(&client, "who?");
    send_signal(dying, Signal::STOP);
    for number in 0..50 {
        client.send(format!("{number}").as_bytes()).unwrap();
    }
    kill(dying);
    for number in 0..50 {
        let (_, pid, words) = answer(&client);
        assert_eq!(words, number.to_string());
        assert_ne!(pid, dying);
    }
}

#[test]
fn a_reload_loses_no_datagram() {
    let cluster = start(ONE);
    let (over, client) = (AtomicBool::new(false), client(&cluster, "echo"));
    let (_, before, _) = ask(&client, "who?");
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut last = before;
            for number in 0.. {
                if over.load(Relaxed) {
                    break;
                }
                let (_, pid, words) = ask(&client, &number.to_string());
                assert_eq!(words, number.to_string());
                last = pid;
            }
            last
        });
        let output = cluster.site().run(&["reload"]);
        over.store(true, Relaxed);
        assert!(output.status.success(), "{}", stderr(&output));
        asking.join().unwrap();
    });
    // Whoever was replaced receives nothing any more.
    let _ = cluster.wait_for("it is gone", |status| {
        status.workers.iter().all(|worker| worker.process.pid != Some(before))
    });
    assert_ne!(ask(&client, "who?").1, before);
}
