//! The policy `url-hash`: the path of the first request chooses, if it comes in time.

use hatchery::status::ClusterState::Stopping;
use hatchery::testing::eventually;
use rustix::process::Signal;

use super::*;

/// With all the time for a first line.
fn patient() -> String {
    policy("url-hash") + "peek_timeout = '1h'\n"
}

#[test]
fn requests_for_one_path_go_to_one_worker() {
    let cluster = start(&patient(), "4");
    let paths: Vec<String> = (0..40).map(|number| format!("/whoami/{number}")).collect();
    let ask = || {
        let index = |path: &String| json(&cluster.get(path).body)["index"].as_u64().unwrap();
        paths.iter().map(index).collect::<Vec<_>>()
    };
    let mut before = ask();
    comes_true("everybody comes back", || {
        let last = std::mem::replace(&mut before, ask());
        last == before
    });
    assert!((0..4).all(|index| before.contains(&index)), "{before:?}");
    let of_query =
        |path: &String| json(&cluster.get(&format!("{path}?with=query")).body)["index"].as_u64().unwrap();
    comes_true("a query changes nothing", || paths.iter().map(of_query).eq(before.iter().copied()));
    assert_eq!(cluster.status().listeners[0].by_turns, 0);
}

#[test]
fn a_line_that_does_not_come_holds_nobody_up_and_is_counted() {
    let cluster = Cluster::start_at(site(&(policy("url-hash") + "peek_timeout = '200ms'\n")), FAST);
    let mut silent: Vec<Kept> = (0..300).map(|_| Kept::open(&cluster)).collect();
    silent.iter_mut().for_each(|kept| kept.0.get_mut().write_all(b"GET /who").unwrap());
    // Those who say what they want are served meanwhile.
    assert_eq!(cluster.get("/whoami").code, 200);
    let _ = cluster.wait_for("all are spread by turns", |status| status.listeners[0].by_turns >= 300);
    for kept in &mut silent {
        kept.0.get_mut().write_all(b"ami HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut kept.0).unwrap().code, 200);
    }
}

#[test]
fn a_stop_takes_nothing_from_those_whose_line_is_not_there_yet() {
    let mut cluster = Cluster::start_at(site(&patient()), FAST);
    let mut begun: Vec<Kept> = (0..20).map(|_| Kept::open(&cluster)).collect();
    begun.iter_mut().for_each(|kept| kept.0.get_mut().write_all(b"GET /who").unwrap());
    // Whoever comes later is accepted later.
    assert_eq!(cluster.get("/whoami").code, 200);
    cluster.signal(Signal::TERM);
    let status = || cluster.site().status();
    eventually("the stop has begun", || status().is_none_or(|one| one.state == Stopping).then_some(()));
    for kept in &mut begun {
        kept.0.get_mut().write_all(b"ami HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut kept.0).unwrap().code, 200);
    }
    assert_eq!(cluster.wait().code(), Some(0));
}

#[test]
fn a_line_in_pieces_is_put_together() {
    let cluster = start(&patient(), "4");
    let in_pieces = || {
        let mut kept = Kept::open(&cluster);
        for piece in ["GET /who", "ami/in-", "pieces HTTP/1.1\r\nHost: test\r\n\r\n"] {
            kept.0.get_mut().write_all(piece.as_bytes()).unwrap();
            // Long enough for the piece to arrive alone; nothing waits for this.
            std::thread::park_timeout(Duration::from_millis(10));
        }
        json(&Answer::read(&mut kept.0).unwrap().body)["index"].clone()
    };
    comes_true("it goes where the whole goes", || {
        let whole = json(&cluster.get("/whoami/in-pieces").body)["index"].clone();
        (0..4).all(|_| in_pieces() == whole)
    });
    assert_eq!(cluster.status().listeners[0].by_turns, 0);
}
