//! Receivers that stand still or are slow: what waits for them takes no more than their queue, and nobody else notices.

use super::*;

/// Has so many messages sent, some of them at a time, and goes on when these have all of those: however busy the machine
/// is, no more waits for them than their queue takes.
fn paced(cluster: &Cluster, whom: &[&str], (count, part): (u32, u32), send: impl Fn(u32)) {
    let heard_before: Vec<u64> = whom.iter().map(|who| tally(cluster, who)).collect();
    let mut sent = 0;
    while sent < count {
        let part = part.min(count - sent);
        send(part);
        sent += part;
        for (who, before) in whom.iter().zip(&heard_before) {
            eventually(&format!("{who} hears {sent} of {count}"), || {
                (tally(cluster, who) >= before + u64::from(sent)).then_some(())
            });
        }
    }
}

/// How many messages a process has heard, and it has missed none.
fn tally(cluster: &Cluster, who: &str) -> u64 {
    let tally = order(cluster, who, &json!("tally"));
    assert_eq!(tally["missed"], 0, "{who}: {tally}");
    tally["heard"].as_u64().unwrap()
}

fn assert_lost_nothing(status: &Status, index: u32) {
    let mut web = status.workers.iter().filter(|worker| worker.group == "web" && worker.index == index);
    let bus = &web.next().unwrap().process.bus;
    assert_eq!((bus.dropped, bus.missed), (0, 0), "web.{index} keeps up: {bus:?}");
}

/// A cluster that never replaces a worker that stands still, and has the others take up its connections.
fn patient_talkers() -> Cluster {
    talkers(&["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"])
}

#[test]
fn a_stopped_worker_costs_the_master_its_queue_and_the_others_nothing() {
    let cluster = patient_talkers();
    let observe = json!({ "observe": { "key": "lasting" } });
    let _ = ["web.0", "web.1"].map(|who| order(&cluster, who, &observe));
    let without = median_under_flood(&cluster, &["web.0", "web.1"], 30);
    let version = |who| order(&cluster, who, &json!("observed"))["version"].as_u64().unwrap();
    let known = eventually("the key is seen", || Some(version("web.1")).filter(|version| *version > 0));
    let before = cluster.status();
    let stopped = before.workers[1].process.pid.unwrap();
    send_signal(stopped, Signal::STOP);
    let with = median_under_flood(&cluster, &["web.0"], 100);
    // Far below the time after which an asker gives up, and far above what a busy machine needs.
    let most = (5 * without).max(Duration::from_secs(2));
    assert!(with <= most, "half of the questions took {with:?} or more, and {without:?} before");
    let status = cluster.status();
    assert_lost_nothing(&status, 0);
    let grown = status.master.usage.rss_bytes.saturating_sub(before.master.usage.rss_bytes);
    assert!(grown < 16 << 20, "the master grew by {grown} bytes");
    assert!(status.workers[1].process.bus.dropped > 80, "{:?}", status.workers[1].process.bus);
    let _ = cluster.wait_for("no more waits than one queue", |status| status.bus.queued_bytes <= 10 << 20);
    send_signal(stopped, Signal::CONT);
    assert_eq!(send(&cluster, "agent", "web.1", "awake", 1), 1);
    let notes = eventually("it goes on", || {
        Some(heard(&cluster, "web.1")).filter(|notes| texts(notes).last() == Some(&"awake 0"))
    });
    assert!(notes.len() < 30 + 30, "{}", notes.len());
    let newest = version("web.0");
    assert!(newest > known, "{newest}");
    eventually("the newest state arrives", || (version("web.1") >= newest).then_some(()));
}

/// The time that half of the questions take at most while an agent floods everybody with so many MiB, at the pace of these.
fn median_under_flood(cluster: &Cluster, whom: &[&str], count: u32) -> Duration {
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            paced(cluster, whom, (count, 5), |part| {
                let flood =
                    json!({ "send": { "to": "all", "text": "flood", "count": part, "size": 1 << 20 } });
                assert_eq!(order(cluster, "agent", &flood), part);
            });
        });
        let time = json!({ "time": { "whom": "jobs.0", "count": 30 } });
        let median = order(cluster, "web.0", &time);
        let median = median.as_u64().unwrap_or_else(|| panic!("{median}"));
        flooding.join().unwrap();
        Duration::from_micros(median)
    })
}

#[test]
fn small_messages_that_wait_for_a_stopped_worker_take_no_more_than_its_queue() {
    let cluster = patient_talkers();
    let stopped = cluster.status().workers[1].process.pid.unwrap();
    let before = cluster.status().master.usage.rss_bytes;
    send_signal(stopped, Signal::STOP);
    paced(&cluster, &["agent", "jobs.0", "web.0"], (200_000, 10_000), |part| {
        let drops = json!({ "send": { "to": "all", "text": "a drop", "count": part, "size": 60 } });
        assert_eq!(order(&cluster, "agent", &drops), part);
    });
    let status = cluster.status();
    let its_own = &status.workers[1].process.bus;
    let of_others = status.bus.queued_bytes.saturating_sub(its_own.queued_bytes);
    assert!(of_others < 1 << 20, "{of_others} bytes wait for those who have taken all");
    assert_lost_nothing(&status, 0);
    let grown = status.master.usage.rss_bytes.saturating_sub(before);
    assert!(grown < 16 << 20, "the master grew by {grown} bytes");
    assert!(its_own.dropped > 0 && its_own.queued_bytes <= 10 << 20, "{its_own:?}");
}

#[test]
fn a_sender_can_wait_for_room_or_be_refused() {
    let cluster =
        talkers(&["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"]);
    let stopped = cluster.status().workers[1].process.pid.unwrap();
    send_signal(stopped, Signal::STOP);
    let flood = json!({ "try-send": { "to": "web.1", "text": "try", "count": 40, "size": 1 << 20 } });
    let refused = order(&cluster, "agent", &flood).as_u64().unwrap();
    assert!((25..=38).contains(&refused), "{refused} were refused");
    let waiting = json!({ "send": { "to": "web.1", "text": "wait", "count": 20, "size": 1 << 20 } });
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| order(&cluster, "agent", &waiting));
        crate::harness::pass(Duration::from_millis(200));
        assert!(!sending.is_finished(), "there is no room");
        send_signal(stopped, Signal::CONT);
        assert_eq!(sending.join().unwrap(), 20);
    });
    let expected = 40 - usize::try_from(refused).unwrap() + 20;
    assert_eq!(heard_when(&cluster, "web.1", expected).len(), expected);
}

#[test]
fn what_waits_for_a_process_that_is_killed_goes_on_to_others_and_the_rest_is_counted() {
    let cluster =
        talkers(&["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"]);
    let stopped = cluster.status().workers[1].process.pid.unwrap();
    send_signal(stopped, Signal::STOP);
    // What the kernel takes in its socket's buffer is lost with it, and this fills that.
    let flood = |to: &str, text: &str, count: u32| {
        let flood = json!({ "send": { "to": to, "text": text, "count": count, "size": 10_000 } });
        assert_eq!(order(&cluster, "agent", &flood), count);
    };
    flood("web.1", "filling", 40);
    flood("next:web", "by turns", 100);
    flood("web.1", "for the slot", 50);
    flood(&stopped.to_string(), "for the process", 20);
    kill(stopped);
    let of = |notes: &[Value], text: &str| {
        let mut texts = texts(notes);
        texts.retain(|note| note.starts_with(text));
        texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()
    };
    let notes = eventually("what was by turns arrives at the other", || {
        Some(heard(&cluster, "web.0")).filter(|notes| of(notes, "by turns").len() == 100)
    });
    assert!(of(&notes, "for the slot").is_empty(), "{notes:?}");
    let _ = cluster.wait_for("a successor", |status| status.state == ClusterState::Running);
    let notes = eventually("what was for the slot arrives at the next there", || {
        Some(heard(&cluster, "web.1")).filter(|notes| of(notes, "for the slot").len() == 50)
    });
    let expected: Vec<String> = (0..50).map(|number| format!("for the slot {number}")).collect();
    assert_eq!(of(&notes, "for the slot"), expected);
    assert_eq!(topic(&cluster.status(), "words").dropped, 20);
    logged(cluster.site(), "master.log", "20 messages for web.1 were lost with it", 1);
}

#[test]
fn a_worker_for_which_too_much_waits_is_in_nobodys_way_who_wants_any_of_its_group() {
    let cluster =
        talkers(&["--workers", "2", "--set", "cluster.heartbeat_timeout=0s", "--set", "http.policy=shared"]);
    send_signal(cluster.status().workers[1].process.pid.unwrap(), Signal::STOP);
    let fill = json!({ "try-send": { "to": "web.1", "text": "fill", "count": 10, "size": 1 << 20 } });
    assert!(order(&cluster, "agent", &fill).as_u64().is_some_and(|refused| refused > 3));
    for (to, text) in [("next:web", "by turns"), ("any:web", "at random")] {
        let large = json!({ "send": { "to": to, "text": text, "count": 12, "size": 1 << 20 } });
        assert_eq!(order(&cluster, "agent", &large), 12);
        let ask = json!({ "ask": { "whom": to, "within_ms": 20_000 } });
        assert!((0..4).all(|_| order(&cluster, "agent", &ask)["Ok"] == "web.0"));
    }
    let expected: Vec<String> = ["by turns", "at random"]
        .iter()
        .flat_map(|text| (0..12).map(move |at| format!("{text} {at}")))
        .collect();
    assert_eq!(texts(&heard_when(&cluster, "web.0", 24)), expected);
}
