//! Workers that are busy, stand still or die: connections go to others.

use super::*;

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
        // 50 ms on a machine that does nothing else; one that does may be late with some, but not each time.
        one_of(0..5, |_| {
            let longest = (0..50).map(|_| ask()).max().unwrap();
            should(longest < Duration::from_millis(500), || format!("{policy}: one took {longest:?}"))
        });
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
pub(super) fn assert_others_serve_whom_the_first_leaves_behind(cluster: &Cluster, clients: usize) {
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
    one_of(0..3, |_| {
        let (took, came_home) = attempt();
        let is_good = took < Duration::from_millis(700) && came_home;
        should(is_good, || format!("the others took {took:?}; who is bound came home: {came_home}"))
    });
}
