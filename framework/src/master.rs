//! The master: starts, supervises and connects the processes of a cluster, and runs none of the author's code.
//!
//! `cluster` decides, everything else here does what it decides. `event` is the vocabulary of both.

mod cluster;
mod control;
mod event;
mod herald;
mod journal;
mod listeners;
mod post;
mod relay;
mod reopening;
mod rules;
mod snapshot;
mod spawn;
mod supervisor;
mod usage;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chrono::Utc;
use tokio::sync::mpsc;

use self::cluster::Cluster;
use self::event::{Action, ChildId, Event};
use self::listeners::Listener;
use self::spawn::Handle;
use crate::bus::codec;
use crate::bus::control::Answer;
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::SendError;
use crate::error::{BoxError, Ending};
use crate::image::Image;
use crate::instance::{Lock, RunDir, RunDirError};
use crate::launch::Launch;
use crate::log::{self, Log, LogFolder};
use crate::role::Slot;
use crate::signals::{Signals, Wish};

pub(crate) use self::event::Outcome;
pub(crate) use self::herald::Herald;
pub use self::rules::{ClusterSettings, WorkerCount};

/// How many events may wait; what brings more waits, too.
const EVENTS: usize = 1024;

/// All that a master needs to know.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) launch: Launch,
    pub(crate) cluster: ClusterSettings,
    pub(crate) run_dir: RunDir,
}

/// Runs a cluster until it has stopped or failed.
pub(crate) async fn run(plan: Plan, herald: &Herald) -> Outcome {
    match Master::start(plan) {
        Ok(mut running) => running.run(herald).await,
        Err(outcome) => outcome,
    }
}

/// The effects' side: what exists, for `cluster` to decide about.
struct Master {
    cluster: Cluster,
    launch: Launch,
    welcome: Bytes,
    image: Image,
    listeners: Vec<Listener>,
    children: HashMap<ChildId, Handle>,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    /// What follows from our own actions; comes before anything from outside.
    queue: VecDeque<Event>,
    dropped: u64,
    started: Instant,
    /// What was announced when everybody was ready for the first time.
    ready_line: Option<String>,
    log: Log,
    lock: Lock,
}

fn failed(ending: Ending, error: impl Into<BoxError>) -> Outcome {
    let error = error.into();
    Outcome { ending, reason: crate::error::chain(&*error), detail: String::new() }
}

impl Master {
    fn start(plan: Plan) -> Result<Self, Outcome> {
        let Plan { launch, cluster: settings, run_dir } = plan;
        let lock = run_dir.acquire().map_err(|error| match error {
            RunDirError::TooLong { .. } => failed(Ending::Config, error),
            _ => failed(Ending::Failed, error),
        })?;
        let start_failed = |error: io::Error| failed(Ending::StartFailed, error);
        let folder = LogFolder::of(&launch.log_dir, launch.identity.as_ref());
        folder.hand_over().map_err(start_failed)?;
        let log = log::start(folder, "master", "master", &launch.log).map_err(start_failed)?;
        let listeners =
            listeners::bind_all(&launch.http.listen).map_err(|error| failed(Ending::Config, error))?;
        let image = Image::of_self().map_err(start_failed)?;
        let welcome =
            codec::encode("the welcome", &launch).map_err(|error| failed(Ending::StartFailed, error))?;
        let (events, inbox) = mpsc::channel(EVENTS);
        let socket = control::listen(&run_dir.control_socket()).map_err(start_failed)?;
        tokio::spawn(control::serve(socket, events.clone()));
        tokio::spawn(forward_signals(Signals::new().map_err(start_failed)?, events.clone()));

        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = settings.workers.resolve(processors);
        tracing::info!(
            "starting {} in {}: {workers} workers, {processors} processors",
            launch.app,
            launch.app_dir.display()
        );
        let build = image.build().map_err(start_failed)?;
        let started = Instant::now();
        let cluster = Cluster::new((&settings).into(), (0..workers).map(Slot::web), build, started);
        Ok(Self {
            cluster,
            launch,
            welcome: welcome.into(),
            image,
            listeners,
            children: HashMap::new(),
            events,
            inbox,
            queue: VecDeque::from([Event::Started]),
            dropped: 0,
            started,
            ready_line: None,
            log,
            lock,
        })
    }

    async fn run(&mut self, herald: &Herald) -> Outcome {
        loop {
            let event = self.next_event().await;
            if let Event::Exited { id, .. } = event {
                self.children.remove(&id);
            }
            for action in self.cluster.on(event, Instant::now()) {
                if let Action::Finish(outcome) = action {
                    self.log_failure(&outcome);
                    return outcome;
                }
                self.apply(action, herald);
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        if let Some(event) = self.queue.pop_front() {
            return event;
        }
        let deadline = self.cluster.deadline().map(tokio::time::Instant::from_std);
        tokio::select! {
            Some(event) = self.inbox.recv() => event,
            () = at(deadline) => Event::Timer,
        }
    }

    fn apply(&mut self, action: Action, herald: &Herald) {
        match action {
            Action::Spawn { id, slot, generation } => self.spawn(id, &slot, generation),
            Action::Send { to, frame } => self.send(to, frame),
            Action::Welcome { to, slot } => self.welcome(to, &slot),
            Action::Kill { id } => {
                if let Some(child) = self.children.get(&id) {
                    child.kill();
                }
            }
            Action::AnnounceReady => self.announce(herald),
            Action::WithdrawReady => self.lock.withdraw(),
            Action::CloseListeners => self.listeners.clear(),
            Action::ReopenOwnLogs => {
                if let Err(error) = self.log.reopener().reopen() {
                    tracing::error!("{error}");
                }
            }
            Action::Reply { reply, answer } => drop(reply.send(answer)),
            Action::ReplyStatus { reply } => drop(reply.send(Answer::Status(Box::new(snapshot::take(self))))),
            Action::Report(report) => journal::write_down(report),
            Action::Finish(_) => {}
        }
    }

    fn spawn(&mut self, id: ChildId, slot: &Slot, generation: u64) {
        match spawn::spawn(&self.image, &self.launch, id, slot, generation, self.events.clone()) {
            Ok(child) => {
                tracing::info!("{slot} runs with pid {}", child.pid);
                self.queue.push_back(Event::Spawned { id, pid: child.pid });
                self.children.insert(id, child);
            }
            Err(error) => {
                self.queue.push_back(Event::NotSpawned { id, problem: error.to_string(), at: Utc::now() });
            }
        }
    }

    fn send(&mut self, to: ChildId, frame: Frame) {
        let Some(child) = self.children.get(&to) else {
            return;
        };
        match child.sender.push(frame) {
            Ok(()) => {}
            // Its exit is on the way to us.
            Err(SendError::Gone) => self.dropped += 1,
            Err(SendError::Full(full)) => {
                self.dropped += 1;
                self.queue.push_back(Event::LinkLost { id: to, problem: Some(full.to_string()) });
            }
        }
    }

    fn welcome(&mut self, to: ChildId, slot: &Slot) {
        let sockets = if slot.is_agent() { &[][..] } else { &self.listeners[..] };
        let descriptors = sockets.iter().map(|listener| Arc::clone(&listener.socket)).collect();
        self.send(to, Frame::new(Kind::Welcome, 0, self.welcome.clone()).with_descriptors(descriptors));
    }

    /// The first time it is also said aloud.
    fn announce(&mut self, herald: &Herald) {
        let first = self.ready_line.is_none();
        let line = self.ready_line.get_or_insert_with(|| {
            let crew = crew(self.cluster.worker_statuses(Instant::now()).len());
            let took = self.started.elapsed().as_millis();
            format!("{} is ready: {} ({crew}, {took} ms)", self.launch.app, urls(&self.listeners))
        });
        tracing::info!("{line}");
        if let Err(error) = self.lock.announce(line) {
            tracing::error!("cannot write the ready file: {error}");
        }
        if first {
            herald.ready(line);
        }
    }

    /// Into the files; on the terminal the command says it, in its own form.
    fn log_failure(&self, outcome: &Outcome) {
        if !outcome.reason.is_empty() {
            self.log.silence_console();
            tracing::error!("{}", outcome.reason);
        }
    }
}

fn urls(listeners: &[Listener]) -> String {
    let url = |listener: &Listener| match listener.status.address.as_str() {
        address if address.starts_with("unix:") => address.to_owned(),
        address => format!("http://{address}"),
    };
    listeners.iter().map(url).collect::<Vec<_>>().join(", ")
}

fn crew(workers: usize) -> String {
    format!("{workers} {}", if workers == 1 { "worker" } else { "workers" })
}

/// Waits for a moment that may never come.
async fn at(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn forward_signals(mut signals: Signals, events: mpsc::Sender<Event>) {
    loop {
        let event = match signals.next().await {
            Wish::Stop => Event::StopSignal { fast: false },
            Wish::StopFast => Event::StopSignal { fast: true },
            Wish::ReopenLogs => Event::ReopenLogs,
            Wish::Reserved(name) => {
                tracing::warn!("{name} is reserved and changes nothing yet");
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}
