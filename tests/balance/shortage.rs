//! Processes without free descriptors: they take connections up as soon as they can, and none is lost.

use super::*;

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
