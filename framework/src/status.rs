//! The status of a cluster, as `status --json` prints it. Field names are stable.

mod bus;
mod tls;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;

pub use self::bus::{BusStatus, PeerTraffic, TopicTraffic};
pub use self::tls::{CertificateStatus, TlsStatus};

/// The status of a running cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The app's name.
    pub app: String,
    /// The app's version.
    pub version: String,
    /// The environment's name, which chose `config/{env}.toml`.
    pub env: String,
    /// What the cluster is doing.
    pub state: ClusterState,
    /// The generation that reloads raise.
    pub generation: u64,
    /// The slots, such as `web.0`, that are still of the generation of a reload that failed; they go back as soon as that is
    /// possible.
    #[serde(default)]
    pub stranded: Vec<String>,
    /// Milliseconds since the master started.
    pub uptime_ms: u64,
    /// The folder of the log files.
    #[serde(default)]
    pub log_dir: PathBuf,
    /// The master.
    pub master: MasterStatus,
    /// The agent.
    pub agent: AgentStatus,
    /// The groups of workers.
    pub groups: Vec<GroupStatus>,
    /// The workers, by group and index. A slot has two while one of them is replaced by the other.
    pub workers: Vec<WorkerStatus>,
    /// The sockets that accept connections.
    pub listeners: Vec<ListenerStatus>,
    /// The states that the master keeps.
    pub states: Vec<StateStatus>,
    /// The configuration.
    pub config: ConfigStatus,
    /// The certificates.
    #[serde(default)]
    pub tls: TlsStatus,
    /// The traffic between the processes.
    pub bus: BusStatus,
}

/// What a cluster is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterState {
    /// Not everybody has been ready yet.
    Starting,
    /// All that should be ready is.
    Running,
    /// Fewer processes are ready than should be, or some are of a generation whose reload failed.
    Degraded,
    /// A new generation takes the place of the old one.
    Reloading,
    /// On the way out.
    Stopping,
}

/// What one process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// Started and not ready yet.
    Starting,
    /// Doing its work.
    Ready,
    /// Finishing its work.
    Draining,
    /// Gone; the next one waits for its time.
    BackingOff,
    /// Gone too often; the next one is tried slowly.
    GaveUp,
    /// Gone.
    Exited,
}

/// The master's part of the status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MasterStatus {
    /// Its process id.
    pub pid: u32,
    /// What it uses.
    #[serde(flatten)]
    pub usage: Usage,
}

/// Memory and processor time of one process.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Resident memory in bytes; 0 when unknown.
    pub rss_bytes: u64,
    /// Processor time since its start, in milliseconds; 0 when unknown.
    pub cpu_ms: u64,
}

/// What agent and workers have in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its process id, if there is a process.
    pub pid: Option<u32>,
    /// What it is doing.
    pub state: ProcessState,
    /// The generation that spawned it.
    pub generation: u64,
    /// How often this slot's process was replaced after it died.
    pub restarts: u64,
    /// Milliseconds since it was spawned.
    pub uptime_ms: u64,
    /// What it uses.
    #[serde(flatten)]
    pub usage: Usage,
    /// The mail that went to it.
    #[serde(default)]
    pub bus: PeerTraffic,
    /// How its predecessor in this slot ended.
    pub last_exit: Option<Exit>,
}

/// The agent's part of the status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentStatus {
    /// What it has in common with workers.
    #[serde(flatten)]
    pub process: ProcessStatus,
    /// How late its loop came to something that was due, at its worst in the last seconds, in milliseconds.
    #[serde(default)]
    pub lag_ms: u64,
    /// Its duties.
    pub duties: Vec<DutyStatus>,
}

/// One duty of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyStatus {
    /// The duty's name.
    pub name: String,
    /// What it is doing.
    pub state: DutyState,
    /// Why it failed last, if it ever did.
    pub last_error: Option<String>,
    /// Milliseconds until it runs next, where it runs by a schedule.
    pub next_run_ms: Option<u64>,
}

/// What a duty is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DutyState {
    /// Doing its work.
    Running,
    /// Failed; it is started again soon.
    BackingOff,
    /// Returned without an error: there is nothing more to do.
    Finished,
}

/// One group's part of the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// How many workers it should have.
    pub wanted: u32,
    /// How many of its slots have a worker that is ready.
    pub ready: u32,
    /// Whether its budget of restarts is spent, and a slot is empty for it.
    pub gave_up: bool,
}

/// One worker's part of the status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its group.
    pub group: String,
    /// Its index in the group.
    pub index: u32,
    /// What it has in common with the agent.
    #[serde(flatten)]
    pub process: ProcessStatus,
    /// Its open connections, as it said last.
    pub connections: u64,
    /// The requests that it has answered, as it said last.
    pub requests: u64,
    /// The connections that it has accepted.
    pub accepted: u64,
    /// The requests that it has refused with 413.
    pub refused: u64,
    /// The connections that it has closed at once, because their clients held as many as they may.
    #[serde(default)]
    pub turned_away: u64,
    /// The connections that a time-out has ended.
    pub timed_out: u64,
    /// The handlers that have panicked.
    pub panics: u64,
    /// Log lines that it could not write.
    pub lost_log_lines: u64,
    /// How late its loop came to something that was due, at its worst in the last seconds, in milliseconds.
    pub lag_ms: u64,
    /// Its pool for heavy work.
    pub jobs: JobFigures,
    /// The version of each state that it runs.
    pub states: BTreeMap<String, u64>,
}

/// A worker's pool for heavy work, as it said last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobFigures {
    /// Jobs that run now.
    pub running: u64,
    /// Jobs that wait now.
    pub waiting: u64,
    /// Jobs that are done.
    pub done: u64,
    /// Jobs that found the queue full or waited too long.
    pub refused: u64,
    /// Jobs that nobody waited for any more.
    pub cancelled: u64,
    /// Jobs that panicked.
    pub panicked: u64,
}

/// One socket that accepts connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Its address: `host:port` or `unix:PATH`.
    pub address: String,
    /// How connections are spread over the workers.
    pub policy: String,
    /// The connections that were spread by turns, because the path that `url-hash` chooses by was not known in time.
    #[serde(default)]
    pub by_turns: u64,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub tls: bool,
}

/// One state that the master keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StateStatus {
    /// The topic's name.
    pub name: String,
    /// Its latest version; of a keyed state the highest among its keys.
    pub version: u64,
    /// The size of its payload; of a keyed state the sum over its keys.
    pub bytes: u64,
    /// Whether every ready worker runs the latest version; of a keyed state, every observer that of its key.
    pub converged: bool,
    /// How many keys are observed, if it is a keyed state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
}

/// The configuration's part of the status.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The version that is in force.
    pub version: u64,
    /// Why what lies on disk now was refused, if it was.
    pub refused: Option<String>,
}
