//! Starting children: each is the app's own program, with its link for standard input and an attendant of its own.

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use tokio::process::Command;

use super::attendant::{Care, Charge, Orders};
use super::event::ChildId;
use super::output::Output;
use super::programs::Program;
use crate::bus::link::{self, Sender};
use crate::identity::IDENTITY_VARIABLE;
use crate::role::{APP_DIR_VARIABLE, DAEMON_VARIABLE, ROLE_VARIABLE, Role, Slot};
use crate::systemd;

/// How much longer mail may be than a message: by what the envelopes take, and by what came in the same read.
const BESIDE: usize = 1 << 20;

/// How the master reaches a running child.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) pid: u32,
    pub(crate) sender: Sender,
    orders: Arc<Orders>,
}

impl Handle {
    /// SIGKILL for the child and its process group; nothing if it has ended.
    pub(crate) fn kill(&self) {
        self.orders.kill.notify_one();
    }

    /// Examines the child, writes into the log what it hangs in, which takes some seconds at most, and sends
    /// it SIGABRT; nothing if it has ended. A kill is obeyed meanwhile.
    pub(crate) fn abort(&self) {
        self.orders.abort.notify_one();
    }
}

/// Starts a child and a task that turns all that happens to it into events, its exit last.
pub(crate) fn spawn(
    program: &Program,
    id: ChildId,
    slot: &Slot,
    generation: u64,
    care: Care,
) -> io::Result<Handle> {
    let Program { image, launch, .. } = program;
    let (ours, theirs) = link::pair()?;
    let role = Role { slot: slot.clone(), generation };
    // The link is the child's stdin, which posix_spawn can arrange: a fork would stall a large master.
    let mut command = Command::new(image.path());
    command.env_remove(DAEMON_VARIABLE).env_remove(IDENTITY_VARIABLE);
    for variable in systemd::VARIABLES {
        command.env_remove(variable);
    }
    // It takes the identity on by itself: `Command::uid` would fork, and knows no further groups.
    command.envs(launch.identity.iter().map(|identity| (IDENTITY_VARIABLE, identity.to_string())));
    // Another program is not told by a welcome before it begins where it belongs.
    command.envs(launch.is_command(slot).then_some((APP_DIR_VARIABLE, &launch.app_dir)));
    let mut child = command
        .arg0(format!("{}: {slot}", launch.app))
        .env(ROLE_VARIABLE, role.to_string())
        .stdin(Stdio::from(theirs))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().ok_or_else(|| io::Error::other("the child ended before it began"))?;
    let membership = care.admit(pid);
    let (receiver, sender) = link::open_queueing(ours, launch.bus.queue_bytes())?;
    let largest = launch.bus.message_bytes().saturating_add(BESIDE);
    let orders = Arc::<Orders>::default();
    let output = child.stderr.take().map(|stderr| Output::of(stderr, care.console()));
    let charge = Charge { id, slot: slot.clone(), pid, child, membership, killed: false, largest, care };
    tokio::spawn(charge.attend(receiver, output, Arc::clone(&orders)));
    Ok(Handle { pid, sender, orders })
}
