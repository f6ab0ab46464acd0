//! A child process: its link to the master, and what agent and worker have in common. `heeding` is what it does with what
//! the master sends, `parting` how it takes leave, `requests` what it asks the master, `states` what it does with states,
//! `tenure` what ends with a run of a duty.

mod heeding;
mod parting;
mod requests;
mod states;
mod tenure;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::bus::codec;
use crate::bus::control::Pulse;
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::{SendError, Sender};
use crate::bus::peer::{Address, Roll};
use crate::events::ClusterEvent;
use crate::gathered::Contributions;
use crate::http::{self, Drain, Occasion};
use crate::launch::Launch;
use crate::log::Reopener;
use crate::mail::Mail;
use crate::role::Role;
use crate::state::States;
use crate::wanted::Wanted;

use parting::Parting;
use requests::Requests;
pub(crate) use tenure::{Claim, Claims, Tenure, Unclaimed};

/// How many events of the cluster may wait for who follows them.
const EVENTS: usize = 256;

/// A child's connection with its master. Clones are the same connection.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    role: Role,
    launch: Launch,
    sender: Sender,
    states: States,
    mail: Mail,
    roll: Roll,
    wanted: Wanted,
    claims: Claims,
    contributions: Contributions,
    reopener: Reopener,
    /// Whether it should leave, why, and how long that may take.
    drain: Drain,
    parting: Parting,
    /// Fires when a stop is announced.
    announced: CancellationToken,
    /// Fires when there is no time left to finish anything.
    abort: CancellationToken,
    /// Fires when a panic should end this process.
    collapse: CancellationToken,
    /// Fires when this agent is the only one.
    leads: CancellationToken,
    /// Whether this agent comes to replace another.
    replaces: AtomicBool,
    events: broadcast::Sender<ClusterEvent>,
    watches: AtomicBool,
    cluster_ready: watch::Sender<bool>,
    said_ready: AtomicBool,
    requests: Requests,
}

/// The master is gone, and this process is about to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the master is gone")]
pub struct MasterGone;

impl Process {
    pub(crate) fn new(role: Role, launch: Launch, sender: Sender, reopener: Reopener) -> Self {
        let roll = Roll::new(launch.roll.iter().cloned());
        let slot = roll.slot(&role.slot).unwrap_or_default();
        let address = Address { pid: std::process::id(), ..slot };
        let contributions = Contributions::new(roll.clone());
        let shared = Shared {
            mail: Mail::new(address, sender.clone(), launch.bus.queue_bytes()),
            roll,
            role,
            launch,
            sender,
            states: States::default(),
            wanted: Wanted::default(),
            claims: Claims::default(),
            contributions,
            reopener,
            drain: Drain::new(),
            parting: Parting::default(),
            announced: CancellationToken::new(),
            abort: CancellationToken::new(),
            collapse: CancellationToken::new(),
            leads: CancellationToken::new(),
            replaces: AtomicBool::new(false),
            events: broadcast::Sender::new(EVENTS),
            watches: AtomicBool::new(false),
            cluster_ready: watch::Sender::new(false),
            said_ready: AtomicBool::new(false),
            requests: Requests::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn role(&self) -> &Role {
        &self.shared.role
    }

    pub(crate) fn launch(&self) -> &Launch {
        &self.shared.launch
    }

    /// Log lines that could not be written.
    pub(crate) fn lost_log_lines(&self) -> u64 {
        self.shared.reopener.lost()
    }

    /// Fires when this process should finish and leave.
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        self.shared.drain.signal()
    }

    /// What tells a server that this process should leave.
    pub(crate) fn drain(&self) -> &Drain {
        &self.shared.drain
    }

    /// Fires when a stop is announced: everything goes on, but nobody should come anew.
    pub(crate) fn announced(&self) -> &CancellationToken {
        &self.shared.announced
    }

    /// Fires when this process should leave without finishing anything.
    pub(crate) fn abort(&self) -> &CancellationToken {
        &self.shared.abort
    }

    /// Fires when a panic should end this process.
    pub(crate) fn collapse(&self) -> &CancellationToken {
        &self.shared.collapse
    }

    /// Begins to leave, unless that has begun; a stop shortens what began for a successor's sake. Without a `grace` the
    /// configured one holds.
    pub(crate) fn leave(&self, occasion: Occasion, grace: Option<Duration>) {
        if let Some(grace) = grace {
            self.shared.parting.allow(grace);
        }
        self.shared.drain.begin(occasion, grace);
    }

    /// Says ready, once.
    pub(crate) async fn ready(&self) -> Result<(), MasterGone> {
        if self.shared.said_ready.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.shared.mail.settle();
        let bundle = http::bundle(&self.launch().http);
        self.send(Frame::new(Kind::Ready, bundle as u64, vec![])).await
    }

    /// What this process has with the others.
    pub(crate) fn mail(&self) -> &Mail {
        &self.shared.mail
    }

    /// The groups of the cluster.
    pub(crate) fn roll(&self) -> &Roll {
        &self.shared.roll
    }

    /// This agent comes to replace another.
    pub(crate) fn note_replacement(&self) {
        self.shared.replaces.store(true, Ordering::Relaxed);
    }

    /// Whether this agent comes to replace another.
    pub(crate) fn replaces(&self) -> bool {
        self.shared.replaces.load(Ordering::Relaxed)
    }

    /// Says that this agent can do no more before it leads, and waits until it does. Cancel safe.
    pub(crate) async fn lead(&self) -> Result<(), MasterGone> {
        self.send(Frame::new(Kind::StandBy, 0, vec![])).await?;
        self.shared.leads.cancelled().await;
        Ok(())
    }

    /// Whether it has said ready.
    pub(crate) fn said_ready(&self) -> bool {
        self.shared.said_ready.load(Ordering::Relaxed)
    }

    /// Asks to be replaced; the master says when to leave.
    pub(crate) async fn retire(&self, why: &str) -> Result<(), MasterGone> {
        self.send(Frame::new(Kind::Retire, 0, why.as_bytes().to_vec())).await
    }

    /// The events of the cluster that come from now on, if they are watched.
    pub(crate) fn events(&self) -> broadcast::Receiver<ClusterEvent> {
        self.shared.events.subscribe()
    }

    /// Asks for the events of the cluster, once.
    pub(crate) async fn watch(&self) -> Result<(), MasterGone> {
        if self.shared.watches.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.send(Frame::new(Kind::Watch, 0, vec![])).await
    }

    /// Waits until every process of the first start is ready, or this one should leave. Cancel safe.
    pub(crate) async fn cluster_ready(&self) {
        let mut ready = self.shared.cluster_ready.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _ = self.shutdown().run_until_cancelled(ready.wait_for(|ready| *ready)).await;
    }

    pub(crate) async fn send(&self, frame: Frame) -> Result<(), MasterGone> {
        self.shared.sender.send(frame).await.map_err(|_| MasterGone)
    }

    /// Sends a frame if there is room for it now; whether there was.
    pub(crate) fn send_at_once(&self, frame: &Frame) -> Result<bool, MasterGone> {
        match self.shared.sender.push(frame) {
            Ok(()) => Ok(true),
            Err(SendError::Full(_)) => Ok(false),
            Err(SendError::Gone) => Err(MasterGone),
        }
    }

    /// Sends a frame if there is room for it.
    pub(crate) fn push(&self, frame: Frame) {
        // If the master is gone, so are we.
        let _ = self.shared.sender.push(&frame);
    }

    /// Sends the figures; when the queue is full they are skipped, the next ones will do.
    pub(crate) fn pulse(&self, pulse: Pulse) {
        let body = codec::encode("the pulse", &pulse).unwrap_or_default();
        let _ = self.shared.sender.push(&Frame::new(Kind::Pulse, 0, body));
    }
}
