//! Becoming somebody else, for good, and making sure of it.

use std::io;

use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::process::DumpableBehavior;

use super::Identity;

/// Makes this process `identity`, with no way back. To be called before there is a second thread.
///
/// A process that changes its user counts as not dumpable: its own `/proc/self` would be closed to it, and it
/// would leave no core. It holds nothing of the master's, so this is undone.
///
/// # Errors
/// When a step fails, or when the old rights could be regained; the process must not go on then.
pub(crate) fn take(identity: &Identity) -> io::Result<()> {
    let failed = |step: &str, error: io::Error| {
        io::Error::new(error.kind(), format!("cannot become {identity}: {step}: {error}"))
    };
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    // The user last: after that there is no right to change the others.
    setgroups(&groups).map_err(|error| failed("the groups", error.into()))?;
    setresgid(gid, gid, gid).map_err(|error| failed("the group", error.into()))?;
    setresuid(uid, uid, uid).map_err(|error| failed("the user", error.into()))?;
    rustix::thread::set_no_new_privs(true).map_err(|error| failed("no new rights", error.into()))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .map_err(|error| failed("its own /proc/self", error.into()))?;
    verify(identity).map_err(|error| failed("making sure", error))
}

fn verify(identity: &Identity) -> io::Result<()> {
    let (users, groups) = (getresuid()?, getresgid()?);
    let all_users = [users.real, users.effective, users.saved].map(Uid::as_raw);
    let all_groups = [groups.real, groups.effective, groups.saved].map(Gid::as_raw);
    if all_users != [identity.uid; 3] || all_groups != [identity.gid; 3] {
        return Err(io::Error::other(format!("the users are {all_users:?}, the groups {all_groups:?}")));
    }
    let sorted = |mut groups: Vec<u32>| {
        groups.sort_unstable();
        groups.dedup();
        groups
    };
    let further =
        sorted(rustix::process::getgroups()?.into_iter().map(rustix::process::Gid::as_raw).collect());
    if further != sorted(identity.groups.clone()) {
        return Err(io::Error::other(format!("the further groups are {further:?}")));
    }
    let root = Uid::from_raw(0);
    if setresuid(root, root, root).is_ok() {
        return Err(io::Error::other("it could become root again"));
    }
    Ok(())
}
