//! When log files are rotated, under which names, and which old ones are removed: decisions alone. Listing,
//! renaming and waiting until every process has reopened its files are left to the duty.
//!
//! A log is rotated when the period of its **first line** is over, so nothing need be remembered over a
//! restart, and a clock that goes backwards rotates nothing twice.

use std::collections::HashSet;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::{NaiveDateTime, Timelike as _};
use serde::{Deserialize, Serialize};

mod rotated;

use rotated::Rotated;

/// Section `[log_rotation]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RotationSettings {
    /// The period that one file holds.
    pub every: Period,
    /// A file of this size is rotated before its period is over; 0 means no limit.
    #[serde(with = "hatchery::size")]
    pub max_size: ByteSize,
    /// How many rotated files are kept of each log, the newest ones; 0 keeps all.
    pub keep: usize,
    /// How often sizes and the clock are looked at.
    #[serde(with = "hatchery::duration::positive")]
    pub check_interval: Duration,
}

impl Default for RotationSettings {
    fn default() -> Self {
        Self {
            every: Period::Daily,
            max_size: ByteSize::mib(100),
            keep: 7,
            check_interval: Duration::from_secs(1),
        }
    }
}

/// What one log file holds, in local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// A day.
    Daily,
    /// An hour; where the clock is put back, both hours of the same name.
    Hourly,
    /// Whatever comes: only the size counts.
    Never,
}

impl Period {
    /// Whether a file that began at `began` is complete. A clock behind that moment says no.
    fn is_over(self, began: NaiveDateTime, now: NaiveDateTime) -> bool {
        let hour = |time: NaiveDateTime| (time.date(), time.hour());
        match self {
            Self::Daily => began.date() < now.date(),
            Self::Hourly => hour(began) < hour(now),
            Self::Never => false,
        }
    }
}

/// A log that is being written. A log without a file yet is one of 0 bytes: its old files are still counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFacts {
    /// The name in the log directory, such as `web.log`.
    pub name: String,
    /// The size; an empty file is never rotated.
    pub bytes: u64,
    /// The local time of the first line, see [`line_time`].
    pub began: NaiveDateTime,
}

/// A change in the log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Renames a log; the processes that write it must reopen it then.
    Rename {
        /// The log's name.
        from: String,
        /// A name that nothing bears yet.
        to: String,
    },
    /// Removes a rotated file, which may be one that this plan renames.
    Remove {
        /// The file's name.
        name: String,
    },
}

/// What is to be done at the local time `now`: every rename, then the removals, oldest file first.
///
/// `existing` holds all names in the log directory. Done as planned, a second call at the same `now` returns
/// nothing.
#[must_use]
pub(crate) fn plan(
    settings: &RotationSettings,
    now: NaiveDateTime,
    files: &[FileFacts],
    existing: &[String],
) -> Vec<Step> {
    let live = files.iter().map(|file| file.name.as_str());
    let mut plan = Plan {
        settings,
        now,
        live: live.clone().collect(),
        taken: existing.iter().map(String::as_str).chain(live).map(str::to_owned).collect(),
        steps: Vec::new(),
    };
    let mut seen = HashSet::new();
    let files: Vec<_> = files.iter().filter(|file| seen.insert(&file.name)).collect();
    files.iter().for_each(|file| plan.rename(file));
    files.iter().for_each(|file| plan.remove_oldest(&file.name));
    plan.steps
}

/// The local time that a log line starts with, as its writer's clock showed it.
#[must_use]
pub(crate) fn line_time(line: &str) -> Option<NaiveDateTime> {
    let time = line.split(' ').next()?;
    Some(chrono::DateTime::parse_from_rfc3339(time).ok()?.naive_local())
}

struct Plan<'a> {
    settings: &'a RotationSettings,
    now: NaiveDateTime,
    live: HashSet<&'a str>,
    /// Every name that a rename must not take.
    taken: HashSet<String>,
    steps: Vec<Step>,
}

impl Plan<'_> {
    fn rename(&mut self, file: &FileFacts) {
        let over = self.settings.every.is_over(file.began, self.now);
        let max_size = self.settings.max_size.as_u64();
        let full = max_size > 0 && file.bytes >= max_size;
        if file.bytes == 0 || !(over || full) {
            return;
        }
        let to = self.free_name(file, over);
        self.taken.insert(to.clone());
        self.steps.push(Step::Rename { from: file.name.clone(), to });
    }

    /// The period's own name where the file holds all of it, else the next number behind those in use.
    fn free_name(&self, file: &FileFacts, whole: bool) -> String {
        let hourly = self.settings.every == Period::Hourly;
        let mut name = Rotated::new(file.began.date(), hourly.then(|| file.began.hour()));
        let siblings = self.rotated(&file.name);
        let last =
            siblings.iter().map(|(sibling, _)| sibling).filter(|sibling| sibling.is_sibling(&name)).max();
        name.number = match last {
            Some(last) => last.number + 1,
            None if whole => 0,
            None => 1,
        };
        while self.taken.contains(&name.of(&file.name)) {
            name.number += 1;
        }
        name.of(&file.name)
    }

    fn remove_oldest(&mut self, log: &str) {
        let mut rotated = self.rotated(log);
        let excess = match self.settings.keep {
            0 => 0,
            keep => rotated.len().saturating_sub(keep),
        };
        rotated.sort();
        for (_, name) in rotated.drain(..excess) {
            self.taken.remove(&name);
            self.steps.push(Step::Remove { name });
        }
    }

    fn rotated(&self, log: &str) -> Vec<(Rotated, String)> {
        let old = self.taken.iter().filter(|name| !self.live.contains(name.as_str()));
        old.filter_map(|name| Some((Rotated::parse(name, log)?, name.clone()))).collect()
    }
}

#[cfg(test)]
mod tests;
