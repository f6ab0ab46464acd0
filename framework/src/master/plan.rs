//! What a master is to run: the places, the settings, the groups; and what follows from them. Pure.

use std::path::Path;
use std::time::{Duration, Instant};

use super::crew::Crew;
use super::programs::Refresh;
use super::rules::{CrewRules, Rules};
use super::settings::{ClusterSettings, GroupSettings};
use super::supervisor::Supervisor;
use crate::balance::Policy;
use crate::http::{HttpSettings, Listen};
use crate::instance::RunDir;
use crate::launch::Launch;
use crate::role::WEB;
use crate::systemd::{ChosenBy, Inherited};

/// All that a master needs to know.
pub(crate) struct Plan {
    pub(crate) launch: Launch,
    pub(crate) cluster: ClusterSettings,
    /// The groups of workers in the order in which the app names them.
    pub(crate) groups: Vec<(String, GroupSettings)>,
    pub(crate) run_dir: RunDir,
    /// Who chose the addresses of `http.listen`, and the sockets that may take their place.
    pub(crate) chosen_by: ChosenBy,
    pub(crate) inherited: Vec<Inherited>,
    /// How to read the settings anew.
    pub(crate) refresh: Refresh,
}

/// Places to listen, for one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doors<'a> {
    pub(crate) group: &'a str,
    /// The name of the first; the others are numbered.
    pub(crate) name: &'a str,
    pub(crate) places: &'a [Listen],
    /// Where relative paths begin.
    pub(crate) app_dir: &'a Path,
    /// How connections are spread where a place says nothing else.
    pub(crate) policy: Policy,
    /// How long the path of a request is waited for, where that chooses.
    pub(crate) peek_timeout: Duration,
}

impl Doors<'_> {
    /// The key that lists the places in the configuration, such as `http.listen`.
    pub(crate) fn key(&self) -> String {
        if self.group == WEB { "http.listen".to_owned() } else { format!("groups.{}.listen", self.group) }
    }

    /// Every place behind the key that names it, such as `http.listen[1]`.
    pub(crate) fn keyed(&self) -> impl Iterator<Item = (String, &Listen)> {
        let list = self.key();
        self.places.iter().enumerate().map(move |(index, place)| (format!("{list}[{index}]"), place))
    }
}

/// Where each group listens.
pub(crate) fn doors<'a>(
    groups: &'a [(String, GroupSettings)],
    http: &'a HttpSettings,
    app_dir: &'a Path,
) -> impl Iterator<Item = Doors<'a>> {
    groups.iter().map(move |(group, settings)| {
        let (name, places) = match group.as_str() {
            WEB => ("http", &http.listen),
            _ => (group.as_str(), &settings.listen),
        };
        Doors { group, name, places, app_dir, policy: http.policy, peek_timeout: http.peek_timeout }
    })
}

impl Plan {
    /// Where each group listens.
    pub(crate) fn doors(&self) -> impl Iterator<Item = Doors<'_>> {
        doors(&self.groups, &self.launch.http, &self.launch.app_dir)
    }

    /// How many workers there are to be, on so many processors.
    pub(crate) fn workers(&self, processors: usize) -> u32 {
        self.groups.iter().map(|group| self.count(group, processors)).sum()
    }

    /// How many workers a group is to have.
    pub(super) fn count(&self, (name, settings): &(String, GroupSettings), processors: usize) -> u32 {
        let count = settings.count(name, &self.cluster).resolve(processors);
        if name == WEB { count.max(1) } else { count }
    }

    /// The supervisor of all this, on so many processors.
    pub(crate) fn supervisor(&self, processors: usize, now: Instant) -> Supervisor {
        let drain_timeout = self.launch.http.drain_timeout;
        let agent = Crew::agent(CrewRules::of_agent(&self.cluster), now);
        let crews = self.groups.iter().map(|group| {
            let (name, settings) = group;
            let drain_timeout = settings.drain_timeout.unwrap_or(drain_timeout);
            let rules = CrewRules::new(&settings.over(&self.cluster), drain_timeout);
            Crew::workers(name, self.count(group, processors), rules, now)
        });
        let rules = Rules { stop_delay: self.launch.http.stop_delay, ..Rules::from(&self.cluster) };
        Supervisor::new(rules, agent, crews)
    }
}
