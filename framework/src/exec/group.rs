//! The process group of a helper: signalled as one, killed when it is dropped.
//!
//! A group's number may be somebody else's once its leader is reaped and the group is empty. So the end of the leader
//! is watched by a pidfd, which does not reap, and only `end` reaps, after the group was killed.

use std::io;
use std::os::fd::AsFd as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::error::Fault;

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
    pub(super) fn watch(&self) -> Result<End, Fault> {
        let pid = self.id().ok_or_else(|| io::Error::other("it has been reaped by somebody else"))?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(io::Error::from)?;
        // Only its readiness is asked for, which is that of any descriptor. `AsyncFd` is made for this, but unsafe to make.
        Ok(End(pipe::Receiver::from_owned_fd_unchecked(pidfd)?))
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

/// The end of a leader: its pidfd, which is readable from then on.
#[derive(Debug)]
pub(super) struct End(pipe::Receiver);

impl End {
    /// Waits until the leader has ended. It is not reaped. Cancel safe.
    pub(super) async fn reached(&self) -> Result<(), Fault> {
        loop {
            self.0.readable().await?;
            // Readiness may be told in vain.
            match self.0.try_io(|| self.look()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                looked => return Ok(looked?),
            }
        }
    }

    fn look(&self) -> io::Result<()> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.0.as_fd()), options)? {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
