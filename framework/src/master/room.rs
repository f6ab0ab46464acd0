//! Whether there are enough descriptors for all that a cluster opens, before any of it is opened.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::count::crew;
use super::plan::Plan;

/// What the master opens for itself, and a little more.
const OWN: u64 = 32;

/// What it opens for each process: its link, its output, its end twice, and the two ends of the way to it.
const OF_EACH: u64 = 6;

/// What any process needs to begin, without a single connection.
const CHILD: u64 = 24;

/// What an operator can do.
pub(super) const MORE_FILES: &str = "raise it by `ulimit -n`, or LimitNOFILE= in the unit";

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

/// Makes sure that the limit of open files lets this many `workers` start and be replaced; raises it if it does not, as
/// far as one may. Returns what the operator should know.
///
/// # Errors
/// In words, when it does not and may not be raised.
pub(super) fn make(plan: &Plan, workers: u32) -> Result<Option<String>, String> {
    let sockets = plan.doors().map(|doors| doors.places.len() as u64).sum::<u64>();
    let surge = plan.groups.len() as u64 * u64::from(plan.cluster.reload_surge);
    let needed = needed(sockets, u64::from(workers), surge);
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current.filter(|soft| *soft < needed) else { return Ok(None) };
    if limit.maximum.is_some_and(|hard| hard < needed) {
        return Err(format!(
            "the limit of open files is {soft}, and {} and {} need {needed} at least: {MORE_FILES}",
            crew(workers),
            places(sockets)
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
    format!("{sockets} {} to listen", if sockets == 1 { "place" } else { "places" })
}

/// Each replacement runs beside its predecessor for a while, and the next agent as well.
fn needed(sockets: u64, workers: u64, surge: u64) -> u64 {
    let master = OWN + sockets + OF_EACH * (workers + surge + 2);
    master.max(CHILD + sockets)
}

#[cfg(test)]
mod tests {
    use super::needed;

    #[test]
    fn each_worker_and_each_place_needs_descriptors() {
        assert_eq!(needed(1, 2, 1), 63);
        assert_eq!(needed(1, 64, 1), 435);
        assert_eq!(needed(251, 1, 0), 301);
    }
}
