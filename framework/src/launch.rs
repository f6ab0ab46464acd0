//! What a child is told when it is welcomed: the names of things, the places of things, and how to serve.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bus::BusSettings;
use crate::config::Layers;
use crate::cpu::CpuSettings;
use crate::http::HttpSettings;
use crate::identity::Identity;
use crate::log::LogSettings;
use crate::role::Slot;
use crate::tls::CertificateFiles;

/// The body of a welcome; the same for every child of a generation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// The app's name.
    pub(crate) app: String,
    /// The app's version.
    pub(crate) version: String,
    /// The environment's name.
    pub(crate) env: String,
    /// Where `config/` is.
    pub(crate) app_dir: PathBuf,
    /// Where the log files are.
    pub(crate) log_dir: PathBuf,
    /// Where the configuration comes from.
    pub(crate) layers: Layers,
    /// How to serve.
    pub(crate) http: HttpSettings,
    /// Whom the agent and the workers run as, if not as the master.
    pub(crate) identity: Option<Identity>,
    /// What to log.
    pub(crate) log: LogSettings,
    /// What a worker's pool for heavy work is like.
    pub(crate) cpu: CpuSettings,
    /// How many workers share the processors.
    pub(crate) workers: u32,
    /// How often a sign of life is wanted.
    pub(crate) heartbeat: Duration,
    /// The groups of workers.
    pub(crate) groups: Vec<Group>,
    /// The groups' names in the master's order, by which messages are addressed.
    pub(crate) roll: Vec<String>,
    /// What limits messages.
    pub(crate) bus: BusSettings,
    /// Where connections come from, which UDP sockets are not. The master that began with them tells them to every generation.
    #[serde(default)]
    pub(crate) listeners: Vec<Place>,
}

impl Launch {
    /// The listeners of a group that speak TLS.
    pub(crate) fn secure<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Place> {
        self.listeners.iter().filter(move |place| place.group == group && !place.certificates.is_empty())
    }
}

/// What all processes know of a listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) name: String,
    /// The group of workers that it is for.
    pub(crate) group: String,
    /// By which number its connections are told apart, if the master accepts any.
    pub(crate) door: Option<u8>,
    /// Whether its workers have a socket of it, and accept themselves.
    pub(crate) inherited: bool,
    /// With which certificates it speaks TLS, if it does.
    pub(crate) certificates: Vec<CertificateFiles>,
}

/// What all processes know of a group of workers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) on_panic: OnPanic,
    /// The names of its UDP sockets, in the order in which they come with the welcome.
    #[serde(default)]
    pub(crate) udp: Vec<String>,
    /// What its processes run.
    #[serde(default)]
    pub(crate) body: Body,
}

/// What the processes of a group run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Body {
    /// A function of the app's.
    #[default]
    Function,
    /// Another program.
    Command,
}

impl Launch {
    /// Whether a slot is filled by another program.
    pub(crate) fn is_command(&self, slot: &Slot) -> bool {
        self.groups.iter().any(|group| group.name == slot.group() && group.body == Body::Command)
    }
}

/// What follows a panic in a worker, be it in a handler or in a task. That a handler's panic is answered with 500 is
/// certain only without `abort`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnPanic {
    /// The worker is replaced, once its successor is ready: what the panic left behind may be broken.
    #[default]
    Retire,
    /// Nothing.
    Ignore,
    /// The worker ends at once, and its requests in flight with it.
    Abort,
}
