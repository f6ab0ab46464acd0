//! What a process uses, as the kernel counts it.

use procfs::process::Process;

use crate::status::Usage;

/// The usage of a process; zeros if it is gone.
pub(crate) fn of(pid: u32) -> Usage {
    read(pid).unwrap_or_default()
}

fn read(pid: u32) -> Option<Usage> {
    let stat = Process::new(i32::try_from(pid).ok()?).and_then(|process| process.stat()).ok()?;
    let ticks_per_second = procfs::ticks_per_second().max(1);
    Some(Usage {
        rss_bytes: stat.rss * procfs::page_size(),
        cpu_ms: (stat.utime + stat.stime) * 1000 / ticks_per_second,
    })
}
