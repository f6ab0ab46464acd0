//! The end of a process, to be waited for without reaping it: until somebody reaps it, its number is nobody else's.

use std::io;
use std::os::fd::AsFd as _;

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};
use tokio::net::unix::pipe;

/// A child of this process, pinned down.
#[derive(Debug)]
pub(crate) struct Pidfd(pipe::Receiver);

impl Pidfd {
    /// Must be called inside a runtime, for a child that nobody has reaped.
    ///
    /// # Errors
    /// On kernels without pidfds, or without descriptors left.
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        let descriptor = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        // Only its readiness is asked for, which is that of any descriptor. `AsyncFd` is made for this, but unsafe to make.
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(descriptor)?))
    }

    /// Waits until the child has ended, and says how. It is not reaped. Cancel safe.
    pub(crate) async fn ended(&self) -> io::Result<WaitIdStatus> {
        loop {
            self.0.readable().await?;
            // Readiness may be told in vain.
            match self.0.try_io(|| self.look()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                looked => return looked,
            }
        }
    }

    fn look(&self) -> io::Result<WaitIdStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        waitid(WaitId::PidFd(self.0.as_fd()), options)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}
