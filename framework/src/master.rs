//! The master: starts, supervises and connects the processes of a cluster, and runs none of the author's code.
//!
//! `cluster` decides, everything else here does what it decides. `event` is the vocabulary of both.

mod announcement;
mod attendant;
mod autopsy;
mod bind;
mod budget;
mod cluster;
mod control;
mod count;
mod courier;
mod crew;
mod departure;
mod descriptors;
mod desk;
mod dispatcher;
mod door;
mod entrance;
mod event;
mod everywhere;
mod examination;
mod exchange;
mod family;
mod gathering;
mod herald;
mod hold;
mod host;
mod journal;
mod keys;
mod laggards;
mod leftovers;
mod listener;
mod listeners;
mod lobby;
mod occupant;
mod oom;
mod order;
mod outgoing;
mod output;
mod overview;
mod pace;
mod peeking;
mod plan;
mod post;
mod programs;
mod readers;
mod recycling;
mod relay;
mod reload;
mod reopening;
mod reserve;
mod roster;
mod rules;
mod scaling;
mod settings;
mod shortage;
mod slots;
mod snapshot;
mod spawn;
mod start;
mod supervisor;
mod survey;
mod tail;
mod trace;
mod unix;
mod usage;
mod ways;
mod wishes;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use chrono::Utc;
use tokio::sync::mpsc;

use self::attendant::Care;
use self::cluster::Cluster;
use self::entrance::Entrance;
use self::event::{Action, ChildId, Event};
use self::programs::Programs;
use self::spawn::Handle;
use crate::bus::control::Answer;
use crate::bus::link::Sender;
use crate::bus::memory::weigh;
use crate::error::Ending;
use crate::instance::Lock;
use crate::launch::Launch;
use crate::log::Log;
use crate::role::Slot;
use crate::systemd::{Notifier, Scene};

pub use self::count::WorkerCount;
pub(crate) use self::descriptors::begin as make_room_to_begin;
pub(crate) use self::event::Outcome;
#[cfg(feature = "fuzzing")]
pub(crate) use self::exchange::fuzzing::drive as fuzz_exchange;
pub(crate) use self::herald::Herald;
pub(crate) use self::listeners::is_replaced;
pub(crate) use self::plan::{Doors, Plan, doors};
pub(crate) use self::programs::Refresh;
pub use self::settings::{ClusterSettings, GroupSettings};
pub(crate) use self::survey::survey;

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
    programs: Programs,
    entrance: Entrance,
    children: BTreeMap<ChildId, Handle>,
    care: Care,
    inbox: mpsc::Receiver<Event>,
    /// What follows from our own actions; comes before anything from outside.
    queue: VecDeque<Event>,
    /// What is known when nothing more follows: those that wait to be confirmed, and their messages.
    unconfirmed: VecDeque<(ChildId, u64)>,
    dropped: u64,
    /// The links for which much waits, of those that mail went to just now.
    crowded: Vec<Sender>,
    started: Instant,
    /// What was announced when everybody was ready for the first time.
    ready_line: Option<String>,
    log: Log,
    lock: Lock,
    notifier: Notifier,
}

impl Master {
    async fn run(&mut self, herald: &Herald) -> Outcome {
        loop {
            self.notify();
            let event = self.next_event().await;
            self.entrance.heed(&event);
            if let Some(failure) = self.entrance.failure() {
                // Whoever started us can start us anew, and clients hear of it, instead of waiting for ever.
                let outcome = Outcome::failed(Ending::Failed, failure);
                self.log_failure(&outcome);
                return outcome;
            }
            let event = self.take_leave(event);
            let (event, taken) = event.split_off_taken();
            for action in self.cluster.on(event, Instant::now()) {
                if let Action::Finish(outcome) = action {
                    self.log_failure(&outcome);
                    return outcome;
                }
                self.apply(action, herald);
            }
            if let Some(taken) = taken {
                // A sender that is gone does not wait.
                let _ = taken.send(std::mem::take(&mut self.crowded));
            } else {
                // What was passed on or had waited is no fault of whoever sends next.
                self.crowded.clear();
            }
        }
    }

    /// Tells the service manager what has changed.
    fn notify(&mut self) {
        let (cluster, alive) = (&self.cluster, self.children.len());
        let scene = || {
            let (ready, wanted) = cluster.ready_workers();
            let gave_up = cluster.has_given_up();
            let (reloads, bounded) = (cluster.reloads(), cluster.is_bounded());
            Scene { state: cluster.state(), ready, wanted, alive, gave_up, reloads, bounded }
        };
        self.notifier.after(scene, Instant::now());
    }

    async fn next_event(&mut self) -> Event {
        if let Some(event) = self.queue.pop_front() {
            return event;
        }
        if let Some((to, number)) = self.unconfirmed.pop_front() {
            return Event::Confirm { to, number };
        }
        let deadline = self.cluster.deadline().into_iter().chain(self.notifier.deadline()).min();
        let deadline = deadline.map(tokio::time::Instant::from_std);
        tokio::select! {
            Some(event) = self.inbox.recv() => match event {
                Event::Frame { from, frame } => Event::Frame { from, frame: weigh(frame) },
                event => event,
            },
            () = at(deadline) => Event::Timer,
        }
    }

    fn apply(&mut self, action: Action, herald: &Herald) {
        match action {
            Action::Spawn { id, slot, generation } => self.spawn(id, &slot, generation),
            Action::Send { to, frame } => self.send(to, frame),
            Action::Recall { to, topic } => self.recall(to, &topic),
            Action::Deliver { to, parcel } => self.deliver(to, parcel, Sender::push_parcel),
            Action::HandOver { to, parcel } => self.deliver(to, parcel, Sender::hand_over),
            Action::Confirm { to, number } => self.unconfirmed.push_back((to, number)),
            Action::AwaitRoom { id } => self.await_room(id),
            Action::Pack { to } => self.pack(to),
            Action::Welcome { to, slot, generation, replaces } => {
                self.welcome(to, &slot, generation, replaces)
            }
            Action::PrepareGeneration { generation } => {
                let outcome = self.programs.prepare(generation);
                self.queue.push_back(Event::Prepared { generation, outcome });
            }
            Action::SettleGeneration { generation } => self.programs.settle(generation),
            // What does not fit is news that nobody takes; the last place is the answer's.
            Action::Tell { to, answer } if to.0.capacity() > 1 => drop(to.0.try_send(answer)),
            Action::Tell { .. } => {}
            Action::Abort { id } => self.children.get(&id).into_iter().for_each(Handle::abort),
            Action::Kill { id } => self.children.get(&id).into_iter().for_each(Handle::kill),
            Action::AnnounceReady => self.announce(herald),
            Action::WithdrawReady => self.lock.withdraw(),
            Action::CloseListeners => self.entrance.close(),
            Action::ReopenOwnLogs => {
                if let Err(error) = self.log.reopener().reopen() {
                    tracing::error!("{error}");
                }
            }
            Action::Reply { reply, answer } => drop(reply.0.try_send(answer)),
            Action::ReplyStatus { reply } => {
                drop(reply.0.try_send(Answer::Status(Box::new(snapshot::take(self)))))
            }
            Action::Report(report) => journal::write_down(&report),
            Action::Finish(_) => {}
        }
    }

    fn spawn(&mut self, id: ChildId, slot: &Slot, generation: u64) {
        let Some(program) = self.programs.of(generation) else {
            let problem = format!("the program of generation {generation} is not there any more");
            return self.queue.push_back(Event::NotSpawned { id, problem, at: Utc::now() });
        };
        match spawn::spawn(program, id, slot, generation, self.care.clone()) {
            Ok(child) => {
                self.queue.push_back(Event::Spawned { id, pid: child.pid });
                self.children.insert(id, child);
            }
            Err(error) => {
                self.queue.push_back(Event::NotSpawned { id, problem: error.to_string(), at: Utc::now() });
            }
        }
    }
}

/// Waits for a moment that may never come.
async fn at(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
