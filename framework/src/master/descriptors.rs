//! Whether there are enough descriptors for all that a cluster opens, before any of it is opened.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::bind;
use super::count::crew;
use super::plan::Plan;
use crate::http::{UDP, UNIX};
use crate::systemd::PREFIX;

/// What the master opens for itself, and a little more.
const OWN: u64 = 32;

/// What it opens for each process: its link, its output, its end twice, and the two ends of the way to it.
const OF_EACH: u64 = 6;

/// What any process needs to begin, without a single connection.
const CHILD: u64 = 24;

/// What an operator can do.
pub(super) const MORE_FILES: &str = "raise it by `ulimit -n`, or LimitNOFILE= in the unit";

/// The sockets by which clients come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sockets {
    /// Of the master, which keeps those of each slot.
    kept: u64,
    /// Of the worker that has the most.
    of_each: u64,
}

/// Makes sure that a master can begin at all; how much it needs in the end is known later.
///
/// # Errors
/// In words, when it cannot.
pub(crate) fn begin() -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current.filter(|soft| *soft < CHILD) else { return Ok(()) };
    let problem =
        format!("the limit of open files is {soft}, and a master needs {CHILD} to begin: {MORE_FILES}");
    if limit.maximum.is_some_and(|hard| hard < CHILD) {
        return Err(problem);
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(CHILD), ..limit }).map_err(|_| problem)
}

/// Makes sure that the limit of open files lets all workers on so many `processors` start and be replaced; raises it if
/// it does not, as far as one may. Returns what the operator should know.
///
/// # Errors
/// In words, when it does not and may not be raised.
pub(super) fn ensure(plan: &Plan, processors: usize) -> Result<Option<String>, String> {
    let (workers, sockets) = (plan.workers(processors), sockets(plan, processors));
    let surge = plan.groups.len() as u64 * u64::from(plan.cluster.reload_surge);
    let needed = needed(sockets, u64::from(workers), surge);
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current.filter(|soft| *soft < needed) else { return Ok(None) };
    if limit.maximum.is_some_and(|hard| hard < needed) {
        return Err(format!(
            "the limit of open files is {soft}, and {} and {} need {needed} at least: {MORE_FILES}",
            crew(workers),
            places(sockets.kept)
        ));
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).map_err(|error| {
        format!("the limit of open files, {soft}, cannot be raised: {error}; {MORE_FILES}")
    })?;
    let hard = limit.maximum.map_or_else(|| "no limit".to_owned(), |hard| hard.to_string());
    Ok(Some(format!(
        "the limit of open files was {soft}, and {needed} are needed at least: it is {hard} now"
    )))
}

fn places(sockets: u64) -> String {
    format!("{sockets} {} to listen", if sockets == 1 { "socket" } else { "sockets" })
}

/// Each replacement runs beside its predecessor for a while, and the next agent as well.
fn needed(sockets: Sockets, workers: u64, surge: u64) -> u64 {
    let master = OWN + sockets.kept + OF_EACH * (workers + surge + 2);
    master.max(CHILD + sockets.of_each)
}

fn sockets(plan: &Plan, processors: usize) -> Sockets {
    let mut all = Sockets::default();
    for (group, doors) in plan.groups.iter().zip(plan.doors()) {
        let slots = u64::from(plan.count(group, processors)).max(1);
        let mut own = 0;
        for place in doors.places {
            let count = addresses(&place.address);
            let has_slots = place.policy.unwrap_or(doors.policy).has_slots();
            all.kept += if has_slots { count * slots } else { count };
            own += count;
        }
        all.of_each = all.of_each.max(own);
    }
    all
}

/// How many sockets a place means. What cannot be resolved is explained by those who bind.
fn addresses(place: &str) -> u64 {
    if [UNIX, PREFIX].iter().any(|prefix| place.starts_with(prefix)) {
        return 1;
    }
    let text = place.strip_prefix(UDP).unwrap_or(place);
    bind::resolve(text).map_or(1, |addresses| addresses.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_and_each_place_needs_descriptors() {
        let sockets = |kept, of_each| Sockets { kept, of_each };
        assert_eq!(needed(sockets(1, 1), 2, 1), 63);
        assert_eq!(needed(sockets(1, 1), 64, 1), 435);
        assert_eq!(needed(sockets(64, 1), 64, 1), 498, "each slot has its own");
        assert_eq!(needed(sockets(251, 251), 1, 0), 301);
    }

    #[test]
    fn a_place_needs_a_socket_for_each_address() {
        for (place, count) in [("127.0.0.1:80", 1), ("unix:a", 1), ("systemd:", 1), ("udp:[::1]:80", 1)] {
            assert_eq!(addresses(place), count, "{place}");
        }
        assert_eq!(addresses("localhost:0"), bind::resolve("localhost:0").unwrap().len() as u64);
    }
}
