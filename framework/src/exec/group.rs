//! The process group of a helper: signalled as one, killed when it is dropped.
//!
//! A group's number may be somebody else's once its leader is reaped and the group is empty. So the end of the leader
//! is watched by a pidfd, which does not reap, and only `end` reaps, after the group was killed.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::error::Fault;
use crate::pidfd::Pidfd;

/// How long a killed leader may take to be gone. It takes longer only where the kernel itself is stuck.
const BURIAL: Duration = Duration::from_secs(1);

/// A group whose leader was started as such.
#[derive(Debug)]
pub(super) struct Group {
    leader: Option<Child>,
}

impl Group {
    pub(super) fn led_by(leader: Child) -> Self {
        Self { leader: Some(leader) }
    }

    /// The end of the leader, to be waited for without reaping it.
    pub(super) fn watch(&self) -> Result<Pidfd, Fault> {
        let pid = self.id().ok_or_else(|| io::Error::other("it has been reaped by somebody else"))?;
        Ok(Pidfd::open(pid)?)
    }

    /// `None` once the leader has been reaped.
    fn id(&self) -> Option<Pid> {
        let id = self.leader.as_ref()?.id()?;
        i32::try_from(id).ok().and_then(Pid::from_raw)
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = self.id() {
            // It fails only where everybody has ended.
            let _ = kill_process_group(id, signal);
        }
    }

    /// Kills what is left of the group and reaps its leader.
    pub(super) async fn end(mut self) -> Result<ExitStatus, Fault> {
        self.signal(Signal::KILL);
        let leader = self.leader.as_mut().ok_or_else(|| io::Error::other("it has no leader"))?;
        match timeout(BURIAL, leader.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // Tokio reaps what is dropped outside of a runtime when the next child of this process ends.
        if let Some(mut leader) = self.leader.take()
            && leader.id().is_some()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { leader.wait().await });
        }
    }
}
