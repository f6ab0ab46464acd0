//! What the service manager should hear of the cluster, and when. Pure: lines go out, sending them is left to
//! `notifier`.
//!
//! A reload will add one more thing to say: RELOADING with its time, and READY again at its end.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::status::ClusterState;

/// How much time is asked for at once, while a start or a stop makes progress. It is asked for again at half
/// of it, so that a master that is stuck is found out soon.
const EXTENSION: Duration = Duration::from_secs(10);

/// The cluster at one moment, as far as the service manager cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scene {
    pub(crate) state: ClusterState,
    /// Workers that are ready, and workers that should be.
    pub(crate) ready: u32,
    pub(crate) wanted: u32,
    /// Children that have not ended.
    pub(crate) alive: usize,
    /// Whether a budget of restarts is spent.
    pub(crate) gave_up: bool,
    /// Whether the supervisor will act by itself if nothing happens: then it bounds how long this can last.
    pub(crate) bounded: bool,
}

/// What has been said, and when something must be said again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bulletin {
    pid: u32,
    /// The time between two signs of life.
    period: Option<Duration>,
    said: Option<Scene>,
    was_ready: bool,
    ping_at: Option<Instant>,
    extend_at: Option<Instant>,
}

impl Bulletin {
    /// Nothing has been said yet. `watchdog` is the interval in which a sign of life is wanted.
    pub(crate) fn new(pid: u32, watchdog: Option<Duration>) -> Self {
        let period = watchdog.map(|interval| (interval / 2).max(Duration::from_millis(1)));
        Self { pid, period, said: None, was_ready: false, ping_at: None, extend_at: None }
    }

    /// The lines to be sent now, and the bulletin as it is once they have been.
    pub(crate) fn next(mut self, scene: Scene, now: Instant) -> (Vec<String>, Self) {
        let before = self.said.replace(scene);
        let mut news = Vec::new();
        if before.is_none() {
            news.push(NotifyState::MainPid(self.pid).to_string());
        }
        if !self.was_ready && matches!(scene.state, ClusterState::Running | ClusterState::Degraded) {
            self.was_ready = true;
            news.push(NotifyState::Ready.to_string());
        }
        let new_state = before.is_none_or(|before| before.state != scene.state);
        if new_state && scene.state == ClusterState::Stopping {
            news.push(NotifyState::Stopping.to_string());
        }
        if before != Some(scene) {
            let text = scene.text();
            if before.is_none_or(|before| before.text() != text) {
                news.push(status(&text));
            }
        }
        if new_state {
            self.extend_at = None;
        }
        news.extend(self.extension(scene, now));
        news.extend(self.sign_of_life(now));
        (news, self)
    }

    /// More time, where a start or a stop goes on and the supervisor sees to it that it ends: every process is
    /// killed after `cluster.ready_timeout` or `cluster.stop_timeout`.
    fn extension(&mut self, scene: Scene, now: Instant) -> Option<String> {
        let waiting = matches!(scene.state, ClusterState::Starting | ClusterState::Stopping);
        if !waiting || !scene.bounded {
            self.extend_at = None;
            return None;
        }
        if self.extend_at.is_some_and(|at| now < at) {
            return None;
        }
        self.extend_at = Some(now + EXTENSION / 2);
        let microseconds = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
        Some(NotifyState::ExtendTimeoutUsec(microseconds).to_string())
    }

    fn sign_of_life(&mut self, now: Instant) -> Option<String> {
        let period = self.period?;
        if self.ping_at.is_some_and(|at| now < at) {
            return None;
        }
        self.ping_at = Some(now + period);
        Some(NotifyState::Watchdog.to_string())
    }

    /// When something must be said again although nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ping_at.into_iter().chain(self.extend_at).min()
    }
}

impl Scene {
    fn text(&self) -> String {
        let Self { ready, wanted, .. } = self;
        let noun = if *wanted == 1 { "worker" } else { "workers" };
        match self.state {
            ClusterState::Starting => format!("starting: {ready} of {wanted} {noun} ready"),
            ClusterState::Reloading => format!("reloading: {ready} of {wanted} {noun} ready"),
            ClusterState::Running => format!("running: {ready} of {wanted} {noun} ready"),
            ClusterState::Degraded => {
                // All workers are: then it is the agent that is missing.
                let agent = if ready == wanted { ", the agent is not" } else { "" };
                let given_up = if self.gave_up { "; gave up, and tries again slowly" } else { "" };
                format!("degraded: {ready} of {wanted} {noun} ready{agent}{given_up}")
            }
            ClusterState::Stopping if self.alive == 1 => "stopping: 1 process left".to_owned(),
            ClusterState::Stopping => format!("stopping: {} processes left", self.alive),
        }
    }
}

/// The longest text; systemd takes 4 KiB in one message.
const LONGEST: usize = 1000;

/// A text as a line: a control character in it would end the line, and what follows could say anything.
pub(super) fn status(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    NotifyState::Status(&line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTING: Scene =
        Scene { state: ClusterState::Starting, ready: 0, wanted: 2, alive: 1, gave_up: false, bounded: true };
    const RUNNING: Scene =
        Scene { state: ClusterState::Running, ready: 2, wanted: 2, alive: 3, gave_up: false, bounded: false };
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
}
