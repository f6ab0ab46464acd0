//! What a dead child leaves running: all of its session is killed. A process that has made a session of its
//! own, as daemons do, is left alone.
//!
//! The child must have ended and must not have been waited for: until then the kernel gives its number to no
//! other process, group or session, so that nobody else can be meant by it.

use std::time::Duration;

use procfs::process::{Process, all_processes};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use super::family::{Family, pid_of};

/// How long a crowd that goes on multiplying is fought.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the killed have to be gone before the next look.
const PAUSE: Duration = Duration::from_millis(2);

/// Kills what is left of the session of `leader`, again and again until there is nobody, or patience ends.
/// Returns how many there were at first, and whether none is left.
pub(super) async fn clear(leader: u32, family: &Family) -> (usize, bool) {
    // Whoever is left has an orphan of the dead child among its ancestors or is one, and orphans are ours. So
    // a look at everybody, which costs, is seldom needed.
    if !family.bury_strangers() {
        return (0, true);
    }
    let found = members_of(leader).len();
    // The group at once: not even a fork bomb can outrun this.
    let _ = pid_of(leader).map(|group| kill_process_group(group, Signal::KILL));
    let deadline = Instant::now() + PATIENCE;
    while family.bury_strangers() {
        let members = members_of(leader);
        if members.is_empty() {
            break;
        }
        members.iter().for_each(|member| kill_member(*member, leader));
        if Instant::now() >= deadline {
            return (found, false);
        }
        sleep(PAUSE).await;
    }
    (found, true)
}

/// The members of the kernel session that `leader` leads, without itself.
fn members_of(leader: u32) -> Vec<Pid> {
    let processes = all_processes().into_iter().flatten().flatten();
    processes.filter(|process| is_member(process, leader)).filter_map(|it| Pid::from_raw(it.pid())).collect()
}

fn is_member(process: &Process, leader: u32) -> bool {
    process.stat().is_ok_and(|stat| {
        u32::try_from(stat.session) == Ok(leader)
            && u32::try_from(stat.pid) != Ok(leader)
            && !matches!(stat.state, 'Z' | 'X')
    })
}

/// The descriptor pins the process down, and the second look proves that it is the one that was meant.
fn kill_member(pid: Pid, leader: u32) {
    let Ok(pinned) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if Process::new(pid.as_raw_nonzero().get()).is_ok_and(|process| is_member(&process, leader)) {
        let _ = pidfd_send_signal(pinned, Signal::KILL);
    }
}
