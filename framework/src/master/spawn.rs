//! Starting children and attending to them until they end.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use chrono::Utc;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::event::{ChildId, Event};
use crate::bus::link::{self, Receiver, Sender};
use crate::exit::Status;
use crate::identity::IDENTITY_VARIABLE;
use crate::image::Image;
use crate::launch::Launch;
use crate::role::{DAEMON_VARIABLE, ROLE_VARIABLE, Role, Slot};

/// How long the last frames of a dead child may take, should a process that it left behind hold its link.
const LAST_FRAMES: Duration = Duration::from_millis(200);

/// How the master reaches a running child.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) pid: u32,
    pub(crate) sender: Sender,
    kill: mpsc::Sender<()>,
}

impl Handle {
    /// SIGKILL for the child and its process group; nothing if it has ended.
    pub(crate) fn kill(&self) {
        // One request is enough: the queue's one place may be taken by an earlier one.
        let _ = self.kill.try_send(());
    }
}

/// Starts a child and a task that turns all that happens to it into events, its exit last.
pub(crate) fn spawn(
    image: &Image,
    launch: &Launch,
    id: ChildId,
    slot: &Slot,
    generation: u64,
    events: mpsc::Sender<Event>,
) -> io::Result<Handle> {
    let (ours, theirs) = link::pair()?;
    let role = Role { slot: slot.clone(), generation };
    // The link is the child's stdin, which posix_spawn can arrange: a fork would stall a large master.
    let mut command = Command::new(image.path());
    command.env_remove(DAEMON_VARIABLE).env_remove(IDENTITY_VARIABLE);
    // It takes the identity on by itself: `Command::uid` would fork, and knows no further groups.
    command.envs(launch.identity.iter().map(|identity| (IDENTITY_VARIABLE, identity.to_string())));
    let child = command
        .arg0(format!("{}: {slot}", launch.app))
        .env(ROLE_VARIABLE, role.to_string())
        .stdin(Stdio::from(theirs))
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().ok_or_else(|| io::Error::other("the child ended before it began"))?;
    let (receiver, sender) = link::open(ours)?;
    let (kill, kills) = mpsc::channel(1);
    tokio::spawn(attend(id, child, receiver, kills, events));
    Ok(Handle { pid, sender, kill })
}

async fn attend(
    id: ChildId,
    mut child: Child,
    mut receiver: Receiver,
    mut kills: mpsc::Receiver<()>,
    events: mpsc::Sender<Event>,
) {
    let mut linked = true;
    let status = loop {
        let event = tokio::select! {
            status = child.wait() => break status,
            Some(()) = kills.recv() => { kill_group(&child); continue },
            frame = receiver.next(), if linked => match frame {
                Ok(Some(frame)) => Event::Frame { from: id, frame },
                Ok(None) => Event::LinkLost { id, problem: None },
                Err(error) => Event::LinkLost { id, problem: Some(error.to_string()) },
            },
        };
        linked &= matches!(event, Event::Frame { .. });
        if events.send(event).await.is_err() {
            return;
        }
    };
    while linked && let Ok(Ok(Some(frame))) = tokio::time::timeout(LAST_FRAMES, receiver.next()).await {
        let _ = events.send(Event::Frame { from: id, frame }).await;
    }
    let status = status.map_or(Status::Code(-1), classify);
    let _ = events.send(Event::Exited { id, status, at: Utc::now() }).await;
}

/// Kills the child and what it started, if it has got as far as making itself the leader of a group. Its id
/// is its own as long as nobody has waited for it, and only `attend` waits.
fn kill_group(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn classify(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Code(code),
        (None, Some(signal)) => Status::Signal(signal),
        (None, None) => Status::Code(-1),
    }
}
