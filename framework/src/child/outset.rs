//! What a child does to itself before anything else: its name, its signals, its identity, its session, its place
//! among the victims when memory runs out, and the descriptors that are none of its business.

use std::fs;
use std::os::fd::OwnedFd;

use procfs::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Signal, set_parent_process_death_signal, setsid};

use crate::error::Result;
use crate::identity::{self, IDENTITY_VARIABLE};
use crate::image::Image;
use crate::role::Role;
use crate::signals;

/// Makes this process a proper child. Must be called before there are threads, and after the link has been
/// taken from stdin. Returns the build that it runs. An identity that cannot be taken on is an error, on which nothing
/// but that may be said; what else the kernel refuses is not worth an end.
pub(super) fn prepare(role: &Role) -> Result<String> {
    name_process();
    close_strangers_descriptors();
    // A parent with blocked signals, and what the master blocks for itself, are nobody's business here.
    let _ = signals::prepare_child();
    volunteer(role);
    let build = take_identity();
    // A session of its own: Ctrl-C in a terminal is the master's to hear, `stty tostop` does not stop what is
    // written from here, and a forced kill reaches what this process has started.
    let _ = setsid();
    // The end of file on the link is the guard; this one also reaches a process that is stopped or stuck. A
    // change of the user would clear it.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    build
}

/// Becomes whom the master wants, before there is a thread or anything of the author's; the build is told
/// before, as the executable may lie where only the master can read.
fn take_identity() -> Result<String> {
    let build = Image::of_self()?.build()?;
    if let Some(text) = std::env::var_os(IDENTITY_VARIABLE) {
        identity::take(&text.to_string_lossy().parse()?)?;
    }
    Ok(build)
}

/// Whether the master was gone before its death could have been heard of: a process closes its files before it
/// sends the signal of its death.
pub(super) fn is_orphan(link: &OwnedFd) -> bool {
    let mut ends = [PollFd::new(link, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut ends, Some(&now)).is_ok() && ends[0].revents().contains(PollFlags::HUP)
}

/// Gives the process the program's name again, which it lost by being executed through an open file; its
/// first argument reads `shop: web.0`.
fn name_process() {
    let title = std::env::args().next().unwrap_or_default();
    let program = title.split(':').next().unwrap_or_default();
    if let Ok(name) = std::ffi::CString::new(program) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// Closes what the master's own parent left open for everybody, such as a deploy script's lock. The master
/// hands nothing down but stdin, stdout and stderr, and all that Rust opens is closed at an `exec`: so a
/// descriptor that an `exec` would hand on belongs to no one here.
fn close_strangers_descriptors() {
    let entries = fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
    let numbers: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        if is_handed_on(&info) == Some(true) {
            let _ = nix::unistd::close(number);
        }
    }
}

/// Whether a descriptor, by the text of its `fdinfo`, would survive an `exec`.
fn is_handed_on(info: &str) -> Option<bool> {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    Some(!OFlags::from_bits_retain(flags).contains(OFlags::CLOEXEC))
}

/// When memory runs out, a worker is missed least, and the master most.
fn volunteer(role: &Role) {
    const WORST: i16 = 1000;
    let surcharge = if role.slot.is_agent() { 100 } else { 200 };
    // Raising it is always allowed; where it is not to be had, the kernel chooses by size alone.
    let _ = Process::myself()
        .and_then(|own| own.set_oom_score_adj(own.oom_score_adj()?.saturating_add(surcharge).min(WORST)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::link;

    #[test]
    fn a_descriptor_is_handed_on_unless_it_says_otherwise() {
        assert_eq!(is_handed_on("pos:\t0\nflags:\t0100002\nmnt_id:\t9\n"), Some(true));
        assert_eq!(is_handed_on("pos:\t0\nflags:\t02100002\nmnt_id:\t9\n"), Some(false));
        assert_eq!(is_handed_on("pos:\t0\n"), None);
    }

    #[test]
    fn who_has_lost_its_link_is_an_orphan() {
        let (master, child) = link::pair().unwrap();
        assert!(!is_orphan(&child));
        drop(master);
        assert!(is_orphan(&child));
    }
}
