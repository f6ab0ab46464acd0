//! Attending to a child from its start to its end: what comes on its link, the orders to kill or examine it, its last
//! words, and what it leaves behind.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use rustix::process::{Signal, WaitIdStatus, kill_process, kill_process_group};
use tokio::process::Child;
use tokio::sync::{Notify, mpsc, oneshot};

use super::event::{ChildId, Event};
use super::examination::Examination;
use super::family::{Family, Member, pid_of};
use super::hold::Hold;
use super::leftovers;
use super::oom::OomKills;
use super::output::Output;
use crate::bus::link::{Arrival, LinkError, Receiver, Sender};
use crate::cgroup::Cgroup;
use crate::exit::{Ended, Status};
use crate::log::Console;
use crate::pidfd::Pidfd;
use crate::role::Slot;

/// How long the last frames of a dead child may take, should a process that it left behind hold its link; and
/// how long its last output may take, should one hold that.
const LAST_FRAMES: Duration = Duration::from_millis(200);

const SIGKILL: i32 = 9;

/// How many more times what multiplies is fought.
const PERSISTENCE: u32 = 60;

/// What all children have in common for those who attend to them. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Care {
    events: mpsc::Sender<Event>,
    family: Family,
    console: Console,
    oom_kills: OomKills,
}

impl Care {
    /// Begins to look after children: orphans are taken in from now on, and kills of the kernel's counted.
    /// Must be called inside a runtime.
    pub(crate) fn begin(events: mpsc::Sender<Event>, console: Console, cgroup: Cgroup) -> Self {
        let (family, oom_kills) = (Family::found(), OomKills::of(cgroup));
        tokio::spawn(family.clone().keep_clean());
        tokio::spawn(oom_kills.clone().forget_in_time());
        Self { events, family, console, oom_kills }
    }

    /// This child is ours to wait for.
    pub(super) fn admit(&self, pid: u32) -> Member {
        self.family.admit(pid)
    }

    /// Where a child's output goes.
    pub(super) fn console(&self) -> Console {
        self.console.clone()
    }

    /// Where events go.
    pub(crate) fn events(&self) -> mpsc::Sender<Event> {
        self.events.clone()
    }
}

/// What the master wants done to a child; each is remembered until the attendant gets to it.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) kill: Notify,
    pub(super) abort: Notify,
}

/// A child in the hands of its attendant.
pub(super) struct Charge {
    pub(super) id: ChildId,
    pub(super) slot: Slot,
    pub(super) pid: u32,
    pub(super) child: Child,
    pub(super) membership: Member,
    /// Whether we sent it SIGKILL.
    pub(super) killed: bool,
    /// The most bytes of mail that goes the same way at once; whatever waits for a receiver is no larger.
    pub(super) largest: usize,
    pub(super) care: Care,
}

impl Charge {
    /// Turns all that happens to the child into events, its exit last.
    pub(super) async fn attend(
        mut self,
        mut receiver: Receiver,
        output: Option<Output>,
        orders: Arc<Orders>,
    ) {
        let mut linked = true;
        let mut examination = Examination::Unasked;
        let mut hold = None;
        let end = pid_of(self.pid).and_then(|pid| Pidfd::open(pid).ok());
        loop {
            let arrival = tokio::select! {
                () = ended(end.as_ref(), &mut self.child) => break,
                () = orders.kill.notified() => { self.kill(); continue },
                () = orders.abort.notified(), if examination.is_unasked() => {
                    examination = self.examine();
                    continue
                },
                () = examination.done() => { self.abort(); continue },
                () = over(&mut hold), if hold.is_some() => { hold = None; continue },
                arrival = receiver.next_arrival(), if linked && hold.is_none() => arrival,
            };
            let (event, taken) = self.event_of(arrival);
            linked &= matches!(event, Event::Frame { .. } | Event::Mail { .. });
            if self.care.events.send(event).await.is_err() {
                return;
            }
            if let Some(taken) = taken {
                // The loop never waits, so that this is short; nothing needs to be heard meanwhile.
                hold = taken.await.ok().and_then(Hold::by);
            }
        }
        examination.give_up();
        let clean = end.is_none() || self.clear_leftovers().await;
        self.conclude(receiver, linked, output, end.filter(|_| !clean)).await;
    }

    /// Mail is passed on before more of it is taken: it is told then for whom much waits.
    fn event_of(
        &self,
        arrival: Result<Option<Arrival>, LinkError>,
    ) -> (Event, Option<oneshot::Receiver<Vec<Sender>>>) {
        let event = match arrival {
            Ok(Some(Arrival::Frame(frame))) => Event::Frame { from: self.id, frame },
            Ok(Some(Arrival::Mail(parcels))) => {
                if let Some(large) = parcels.iter().find(|parcel| parcel.wire_length() > self.largest) {
                    let length = large.wire_length();
                    let problem = format!("it sent mail of {length} bytes, far over bus.message_limit");
                    return (Event::LinkLost { id: self.id, problem: Some(problem) }, None);
                }
                let (tell, taken) = oneshot::channel();
                return (Event::Mail { from: self.id, parcels, taken: Some(tell) }, Some(taken));
            }
            Ok(None) => Event::LinkLost { id: self.id, problem: None },
            Err(error) => Event::LinkLost { id: self.id, problem: Some(error.to_string()) },
        };
        (event, None)
    }

    async fn clear_leftovers(&self) -> bool {
        let (found, clean) = leftovers::clear(self.pid, &self.care.family).await;
        if !clean {
            tracing::error!("{} left processes behind that multiply as fast as they are killed", self.slot);
        } else if found > 0 {
            tracing::warn!("{} left processes behind, which were killed: {found}", self.slot);
        }
        clean
    }

    /// Goes on with killing after the slot was given to another, for as long as the dead child keeps its number.
    async fn persist(&self) {
        for _ in 0..PERSISTENCE {
            if leftovers::clear(self.pid, &self.care.family).await.1 {
                return;
            }
        }
        tracing::error!("what {} left behind is given up: it still multiplies", self.slot);
    }

    /// Takes leave of a dead child, hears its last words, and tells of its end. `crowded` is its end if processes that
    /// it has left are still there: then it is reaped last.
    async fn conclude(
        mut self,
        mut receiver: Receiver,
        linked: bool,
        output: Option<Output>,
        crowded: Option<Pidfd>,
    ) {
        let status = match &crowded {
            Some(end) => end.ended().await.map_or(Status::Code(-1), |status| glimpse(&status)),
            None => self.child.wait().await.map_or(Status::Code(-1), classify),
        };
        while linked
            && let Ok(Ok(Some(last))) = tokio::time::timeout(LAST_FRAMES, receiver.next_arrival()).await
        {
            let _ = self.care.events.send(self.event_of(Ok(Some(last))).0).await;
        }
        let output = match output {
            Some(output) => output.last_lines(LAST_FRAMES).await,
            None => None,
        };
        let out_of_memory =
            status == Status::Signal(SIGKILL) && !self.killed && self.care.oom_kills.explain_one();
        let ended = Ended { status, out_of_memory, output };
        let _ = self.care.events.send(Event::Exited { id: self.id, ended, at: Utc::now() }).await;
        if crowded.is_some() {
            self.persist().await;
            let _ = self.child.wait().await;
        }
        drop(self.membership);
    }

    /// Kills the child and what it started, if it has got as far as making itself the leader of a group. Its
    /// id is its own as long as nobody has waited for it, and who does is done with killing.
    fn kill(&mut self) {
        self.killed = true;
        if let Some(pid) = pid_of(self.pid) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn examine(&self) -> Examination {
        Examination::begin(self.slot.clone(), self.pid, self.care.family.clone())
    }

    /// A stopped process cannot die of SIGABRT before it goes on; it does not get as far as its own code.
    fn abort(&self) {
        if let Some(pid) = pid_of(self.pid) {
            let _ = kill_process(pid, Signal::ABORT);
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}

/// Returns when there is nothing to wait for. Cancel safe.
async fn over(hold: &mut Option<Hold>) {
    if let Some(hold) = hold {
        hold.over().await;
    }
}

/// Returns when the child has ended. On kernels without pidfds that takes leave of it, too.
async fn ended(end: Option<&Pidfd>, child: &mut Child) {
    match end {
        Some(end) => drop(end.ended().await),
        None => drop(child.wait().await),
    }
}

fn glimpse(status: &WaitIdStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Code(code),
        (None, Some(signal)) => Status::Signal(signal),
        (None, None) => Status::Code(-1),
    }
}

fn classify(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Code(code),
        (None, Some(signal)) => Status::Signal(signal),
        (None, None) => Status::Code(-1),
    }
}
