//! What the service manager should hear of the cluster, and when. Pure: lines go out; sending them, and telling the time
//! where it wants to know it, are left to `notifier`.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::status::ClusterState;

/// How much time is asked for at once, while a start, a stop or a reload makes progress. It is asked for again at half
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
    /// How many reloads were asked for so far, those among them that were refused.
    pub(crate) reloads: u64,
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
    /// When a reload was announced of which the end must be, too.
    reload_said: Option<Instant>,
    ping_at: Option<Instant>,
    extend_at: Option<Instant>,
}

impl Bulletin {
    /// Nothing has been said yet. `watchdog` is the interval in which a sign of life is wanted.
    pub(crate) fn new(pid: u32, watchdog: Option<Duration>) -> Self {
        let period = watchdog.map(|interval| (interval / 2).max(Duration::from_millis(1)));
        Self { pid, period, said: None, was_ready: false, reload_said: None, ping_at: None, extend_at: None }
    }

    /// The lines to be sent now, and the bulletin as it is once they have been.
    pub(crate) fn next(mut self, scene: Scene, now: Instant) -> (Vec<String>, Self) {
        let before = self.said.replace(scene);
        let mut news = Vec::new();
        if before.is_none() {
            news.push(NotifyState::MainPid(self.pid).to_string());
        }
        news.extend(self.reload(before, scene, now).map(|word| word.to_string()));
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

    /// The begin of a reload and its end, which are two messages: of one alone, only the last word counts. One that is
    /// asked for during another is announced, too: who has asked for it waits for an announcement after that.
    fn reload(&mut self, before: Option<Scene>, scene: Scene, now: Instant) -> Option<NotifyState<'static>> {
        if scene.state == ClusterState::Stopping {
            self.reload_said = None;
        } else if self.was_ready && before.is_some_and(|before| before.reloads != scene.reloads) {
            self.reload_said = Some(now);
            return Some(NotifyState::Reloading);
        } else if self.reload_said.is_some() && scene.state != ClusterState::Reloading {
            self.reload_said = None;
            return Some(NotifyState::Ready);
        }
        None
    }

    /// More time, where a start, a stop or a reload goes on and the supervisor sees to it that it ends: every process is
    /// killed after `cluster.ready_timeout` or `cluster.stop_timeout`.
    fn extension(&mut self, scene: Scene, now: Instant) -> Option<String> {
        let calm = matches!(scene.state, ClusterState::Running | ClusterState::Degraded);
        if calm || !scene.bounded {
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
        let is_over = self.said.is_some_and(|scene| scene.state != ClusterState::Reloading);
        let over_at = self.reload_said.filter(|_| is_over);
        self.ping_at.into_iter().chain(self.extend_at).chain(over_at).min()
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
mod tests;
