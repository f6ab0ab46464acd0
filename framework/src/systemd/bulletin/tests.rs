//! What the service manager hears of a life, scene by scene.

use super::*;

const STARTING: Scene = Scene {
    state: ClusterState::Starting,
    ready: 0,
    wanted: 2,
    alive: 1,
    gave_up: false,
    reloads: 0,
    bounded: true,
};
const RUNNING: Scene = Scene {
    state: ClusterState::Running,
    ready: 2,
    wanted: 2,
    alive: 3,
    gave_up: false,
    reloads: 0,
    bounded: false,
};
const DEGRADED: Scene = Scene { state: ClusterState::Degraded, ready: 1, ..RUNNING };
const STOPPING: Scene = Scene { state: ClusterState::Stopping, ready: 0, bounded: true, ..RUNNING };

/// Shows scenes, each at its milliseconds after the start, and returns what was said of each.
fn told(watchdog: Option<Duration>, scenes: &[(u64, Scene)]) -> Vec<String> {
    let start = Instant::now();
    let mut bulletin = Bulletin::new(7, watchdog);
    let mut told = Vec::new();
    for (at, scene) in scenes {
        let (lines, after) = bulletin.next(*scene, start + Duration::from_millis(*at));
        bulletin = after;
        told.push(lines.join(" "));
    }
    told
}

#[test]
fn a_life_is_told_once() {
    let life = [
        (0, STARTING),
        (1, STARTING),
        (2, Scene { ready: 1, ..STARTING }),
        (3, RUNNING),
        (4, Scene { alive: 4, ..RUNNING }),
        (5, DEGRADED),
        (6, Scene { ready: 2, ..DEGRADED }),
        (7, Scene { gave_up: true, ..DEGRADED }),
        (7, Scene { gave_up: true, ready: 2, ..DEGRADED }),
        (7, RUNNING),
        (8, STOPPING),
        (9, Scene { alive: 1, ..STOPPING }),
    ];
    let told = told(None, &life);
    let expected = [
        "MAINPID=7 STATUS=starting: 0 of 2 workers ready EXTEND_TIMEOUT_USEC=10000000",
        "",
        "STATUS=starting: 1 of 2 workers ready",
        "READY=1 STATUS=running: 2 of 2 workers ready",
        "",
        "STATUS=degraded: 1 of 2 workers ready",
        "STATUS=degraded: 2 of 2 workers ready, the agent is not",
        "STATUS=degraded: 1 of 2 workers ready; gave up, and tries again slowly",
        "STATUS=degraded: 2 of 2 workers ready, the agent is not; gave up, and tries again slowly",
        "STATUS=running: 2 of 2 workers ready",
        "STOPPING=1 STATUS=stopping: 3 processes left EXTEND_TIMEOUT_USEC=10000000",
        "STATUS=stopping: 1 process left",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_reload_is_told_with_its_end_and_once_more_for_whoever_asks_meanwhile() {
    let reloading = |reloads| Scene { state: ClusterState::Reloading, reloads, bounded: true, ..RUNNING };
    let scenes = [
        (0, Scene { reloads: 1, ..STARTING }),
        (1, Scene { reloads: 1, ..RUNNING }),
        (2, reloading(2)),
        (3, reloading(2)),
        (4, reloading(3)),
        (5, Scene { reloads: 3, ..RUNNING }),
        (6, reloading(4)),
        (7, Scene { reloads: 4, ..STOPPING }),
        (8, Scene { reloads: 5, alive: 1, ..STOPPING }),
    ];
    let told = told(None, &scenes);
    let text = "STATUS=reloading: 2 of 2 workers ready EXTEND_TIMEOUT_USEC=10000000";
    assert_eq!(told[1], "READY=1 STATUS=running: 2 of 2 workers ready", "one that was refused");
    assert_eq!(told[2], format!("RELOADING=1 {text}"));
    assert_eq!(told[3..6], ["", "RELOADING=1", "READY=1 STATUS=running: 2 of 2 workers ready"]);
    assert_eq!(told[6], format!("RELOADING=1 {text}"));
    assert!(told[7].starts_with("STOPPING=1 ") && told[8] == "STATUS=stopping: 1 process left");
}

#[test]
fn a_reload_that_was_over_before_it_could_be_told_is_told_in_two_messages() {
    let now = Instant::now();
    let (_, bulletin) = Bulletin::new(7, None).next(RUNNING, now);
    let over = Scene { reloads: 1, ..RUNNING };
    let (first, bulletin) = bulletin.next(over, now);
    assert_eq!((first, bulletin.deadline()), (vec!["RELOADING=1".to_owned()], Some(now)));
    let (second, bulletin) = bulletin.next(over, now);
    assert_eq!((second, bulletin.deadline()), (vec!["READY=1".to_owned()], None));
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let told = told(None, &[(0, STARTING), (1, STOPPING)]);
    assert!(!told.join(" ").contains("READY=1"), "{told:?}");
}

#[test]
fn a_cluster_that_is_degraded_at_once_was_ready() {
    assert!(told(None, &[(0, STARTING), (1, DEGRADED)])[1].starts_with("READY=1 "));
}

#[test]
fn more_time_is_asked_for_every_five_seconds_while_the_supervisor_bounds_the_wait() {
    let unbounded = Scene { bounded: false, ..STARTING };
    let scenes = [
        (0, STARTING),
        (4_999, STARTING),
        (5_000, STARTING),
        (10_000, unbounded),
        (20_000, STARTING),
        (20_001, RUNNING),
        (60_000, RUNNING),
        (60_001, STOPPING),
        (65_001, STOPPING),
    ];
    let asked: Vec<bool> =
        told(None, &scenes).iter().map(|lines| lines.contains("EXTEND_TIMEOUT_USEC=10000000")).collect();
    assert_eq!(asked, [true, false, true, false, true, false, false, true, true]);
}

#[test]
fn signs_of_life_come_at_half_the_interval_whatever_the_state() {
    let interval = Some(Duration::from_millis(200));
    let scenes =
        [(0, STARTING), (99, STARTING), (100, RUNNING), (150, DEGRADED), (350, RUNNING), (449, STOPPING)];
    let pinged: Vec<bool> =
        told(interval, &scenes).iter().map(|lines| lines.contains("WATCHDOG=1")).collect();
    assert_eq!(pinged, [true, false, true, false, true, false]);
}

#[test]
fn the_deadline_is_the_next_time_that_something_is_due() {
    let start = Instant::now();
    let after = |watchdog, scene| Bulletin::new(7, watchdog).next(scene, start).1.deadline();
    assert_eq!(after(None, RUNNING), None);
    assert_eq!(after(None, STARTING), Some(start + Duration::from_secs(5)));
    let ping = Some(start + Duration::from_secs(1));
    assert_eq!(after(Some(Duration::from_secs(2)), RUNNING), ping);
    assert_eq!(after(Some(Duration::from_secs(2)), STARTING), ping);
}

#[test]
fn what_could_not_be_sent_is_said_again() {
    let now = Instant::now();
    let bulletin = Bulletin::new(7, None);
    let (first, _lost) = bulletin.next(RUNNING, now);
    assert_eq!(bulletin.next(RUNNING, now).0, first);
}

#[test]
fn a_text_cannot_smuggle_in_a_line() {
    assert_eq!(status("gave up:\nREADY=1"), "STATUS=gave up: READY=1");
    assert_eq!(status(&"é".repeat(5000)).chars().count(), "STATUS=".len() + LONGEST);
}
