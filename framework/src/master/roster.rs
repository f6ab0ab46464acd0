//! Who can be handed connections: which workers are ready, what each has not taken up yet, and who takes too long for
//! it. Pure; the dispatcher hands over and looks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::event::ChildId;
use crate::balance::{Candidate, Chooser};

/// How long a connection may lie with a worker that does not take it up, while another could.
pub(super) const PATIENCE: Duration = Duration::from_millis(10);

/// The same, where clients should come back to their worker: it is worth waiting for.
const STICKY_PATIENCE: Duration = Duration::from_secs(1);

/// How many connections may lie with one worker.
const LIMIT: usize = 128;

/// A worker as the dispatcher sees it.
#[derive(Debug)]
struct Station {
    group: String,
    index: u32,
    stage: Stage,
    patience: Duration,
    /// When each connection was handed over that may not have been taken up, the oldest first.
    lying: VecDeque<Instant>,
    /// Whether the first of what lies there is only to see whether it comes round.
    knocked: bool,
    /// Whether it took too long, and has not come round since.
    slow: bool,
    /// Its connections as it said last, and what it was handed since.
    load: u64,
}

impl Station {
    fn can_take(&self, group: &str) -> bool {
        self.stage == Stage::Ready && self.lying.len() < LIMIT && self.group == group
    }

    /// Whether more than a knock lies with it.
    fn is_owed(&self) -> bool {
        self.lying.len() > usize::from(self.knocked)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    Leaving,
}

/// Whether clients should come back to the worker that they had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clients {
    Free,
    Bound,
}

/// All workers that connections are handed to.
#[derive(Debug, Default)]
pub(super) struct Roster(BTreeMap<ChildId, Station>);

impl Roster {
    /// A worker was started. Those to whom clients are bound are given more time.
    pub(super) fn join(&mut self, id: ChildId, group: String, index: u32, clients: Clients) {
        let (stage, lying) = (Stage::Starting, VecDeque::new());
        let patience = if clients == Clients::Bound { STICKY_PATIENCE } else { PATIENCE };
        self.0.insert(
            id,
            Station { group, index, stage, patience, lying, knocked: false, slow: false, load: 0 },
        );
    }

    /// It can take connections from now on.
    pub(super) fn ready(&mut self, id: ChildId) {
        self.advance(id, Stage::Ready);
    }

    /// It should get no more connections.
    pub(super) fn leave(&mut self, id: ChildId) {
        self.advance(id, Stage::Leaving);
    }

    fn advance(&mut self, id: ChildId, stage: Stage) {
        if let Some(station) = self.0.get_mut(&id).filter(|station| station.stage != Stage::Leaving) {
            station.stage = stage;
        }
    }

    pub(super) fn gone(&mut self, id: ChildId) {
        self.0.remove(&id);
    }

    /// It has so many connections.
    pub(super) fn reported(&mut self, id: ChildId, load: u64) {
        if let Some(station) = self.0.get_mut(&id) {
            station.load = load;
        }
    }

    /// Who gets the next connection with this key, if anybody can take it: who takes long only if all do.
    pub(super) fn choose(&self, group: &str, chooser: &mut Chooser, key: &[u8]) -> Option<ChildId> {
        let quick = self.candidates(group, |station| !station.slow);
        let candidates = if quick.is_empty() { self.candidates(group, |_| true) } else { quick };
        let (ids, faces): (Vec<ChildId>, Vec<Candidate>) = candidates.into_values().unzip();
        chooser.choose(&faces, key).map(|place| ids[place])
    }

    /// By index; of two processes in one slot, the younger.
    fn candidates(
        &self,
        group: &str,
        fits: impl Fn(&Station) -> bool,
    ) -> BTreeMap<u32, (ChildId, Candidate)> {
        let found = self.0.iter().filter(|(_, station)| station.can_take(group) && fits(station));
        let face = |(id, station): (&ChildId, &Station)| {
            (station.index, (*id, Candidate { index: station.index, load: station.load }))
        };
        found.map(face).collect()
    }

    /// Whether somebody else of its group would take up at once what lies with `id`.
    pub(super) fn has_better(&self, id: ChildId) -> bool {
        let Some(station) = self.0.get(&id) else { return false };
        let better = self.candidates(&station.group, |station| !station.slow);
        better.values().any(|(other, _)| *other != id)
    }

    /// Something was handed to it.
    pub(super) fn handed(&mut self, id: ChildId, now: Instant) {
        if let Some(station) = self.0.get_mut(&id) {
            station.lying.push_back(now);
            station.load += 1;
        }
    }

    /// The last so many could not be handed to it.
    pub(super) fn kept(&mut self, id: ChildId, count: usize) {
        if let Some(station) = self.0.get_mut(&id) {
            station.lying.truncate(station.lying.len().saturating_sub(count));
            station.load = station.load.saturating_sub(count as u64);
        }
    }

    /// So much of it still lies there; what was handed over first was taken up first. Returns whether it lies too
    /// long.
    pub(super) fn looked(&mut self, id: ChildId, lying: usize, now: Instant) -> bool {
        let Some(station) = self.0.get_mut(&id) else { return false };
        let taken = station.lying.len().saturating_sub(lying);
        station.lying.drain(..taken);
        if taken > 0 || station.lying.is_empty() {
            (station.knocked, station.slow) = (false, false);
        }
        let since = station.lying.front();
        station.slow |= since.is_some_and(|since| now.saturating_duration_since(*since) >= station.patience);
        station.slow
    }

    /// Whether more than a knock lies with it, and somebody else would take that up at once.
    pub(super) fn is_worth_recalling(&self, id: ChildId) -> bool {
        self.0.get(&id).is_some_and(Station::is_owed) && self.has_better(id)
    }

    /// Everything was taken back from a slow one, and a knock left there, if that was possible.
    pub(super) fn recalled(&mut self, id: ChildId, knocked: Option<Instant>) {
        if let Some(station) = self.0.get_mut(&id) {
            let connections = station.lying.len() - usize::from(station.knocked);
            station.load = station.load.saturating_sub(connections as u64);
            station.lying = knocked.into_iter().collect();
            station.knocked = knocked.is_some();
        }
    }

    /// It is the end: clients will come back to nobody, so that nobody is given more time for their sake.
    pub(super) fn hurry(&mut self) {
        self.0.values_mut().for_each(|station| station.patience = PATIENCE);
    }

    /// Whether connections may lie with anybody.
    pub(super) fn is_owed(&self) -> bool {
        self.0.values().any(Station::is_owed)
    }

    /// The slots in which somebody is ready.
    pub(super) fn manned(&self) -> BTreeSet<(&str, u32)> {
        let ready = self.0.values().filter(|station| station.stage == Stage::Ready);
        ready.map(|station| (station.group.as_str(), station.index)).collect()
    }

    /// Whether anybody of this group is ready.
    pub(super) fn has_ready(&self, group: &str) -> bool {
        self.0.values().any(|station| station.group == group && station.stage == Stage::Ready)
    }

    /// Whether anybody of this group can take a connection.
    pub(super) fn can_take(&self, group: &str) -> bool {
        self.0.values().any(|station| station.can_take(group))
    }

    /// Whether something may lie with anybody.
    pub(super) fn is_unsettled(&self) -> bool {
        self.0.values().any(|station| !station.lying.is_empty())
    }

    /// The workers with whom something may lie.
    pub(super) fn unsettled(&self) -> Vec<ChildId> {
        self.0.iter().filter(|(_, station)| !station.lying.is_empty()).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Policy;

    const A: ChildId = ChildId(1);
    const B: ChildId = ChildId(2);
    const C: ChildId = ChildId(3);

    fn roster() -> Roster {
        let mut roster = Roster::default();
        for (id, index) in [(A, 0), (B, 1)] {
            roster.join(id, "web".to_owned(), index, Clients::Free);
            roster.ready(id);
        }
        roster
    }

    fn chooser() -> Chooser {
        Chooser::new(Policy::RoundRobin, vec![])
    }

    fn turns(roster: &Roster, count: usize) -> Vec<ChildId> {
        let mut chooser = chooser();
        (0..count).filter_map(|_| roster.choose("web", &mut chooser, b"")).collect()
    }

    #[test]
    fn only_who_is_ready_and_of_the_group_gets_connections() {
        let mut roster = roster();
        roster.join(C, "web".to_owned(), 2, Clients::Free);
        assert_eq!(turns(&roster, 3), [A, B, A]);
        roster.ready(C);
        roster.leave(A);
        roster.ready(A);
        assert_eq!(turns(&roster, 3), [B, C, B]);
        assert_eq!(roster.choose("jobs", &mut chooser(), b""), None);
        roster.gone(B);
        roster.gone(C);
        assert_eq!(turns(&roster, 1), []);
    }

    #[test]
    fn a_successor_that_is_ready_comes_before_its_predecessor() {
        let mut roster = roster();
        roster.join(C, "web".to_owned(), 0, Clients::Free);
        roster.ready(C);
        assert_eq!(turns(&roster, 2), [C, B]);
    }

    #[test]
    fn who_takes_too_long_gets_nothing_until_it_has_come_round() {
        let (mut roster, now) = (roster(), Instant::now());
        roster.handed(A, now);
        assert!(!roster.looked(A, 1, now + PATIENCE / 2));
        assert!(roster.looked(A, 1, now + PATIENCE));
        assert_eq!(turns(&roster, 2), [B, B]);
        assert!(roster.is_worth_recalling(A) && !roster.is_worth_recalling(B));
        roster.recalled(A, Some(now + PATIENCE));
        assert!(roster.looked(A, 1, now + PATIENCE) && !roster.is_worth_recalling(A));
        assert!(!roster.looked(A, 0, now + PATIENCE * 2));
        assert_eq!(turns(&roster, 2), [A, B]);
    }

    #[test]
    fn a_worker_to_whom_clients_are_bound_is_given_more_time() {
        let (mut roster, now) = (roster(), Instant::now());
        roster.join(C, "web".to_owned(), 2, Clients::Bound);
        roster.ready(C);
        roster.handed(C, now);
        assert!(!roster.looked(C, 1, now + PATIENCE * 2));
        assert!(roster.looked(C, 1, now + STICKY_PATIENCE));
    }

    #[test]
    fn at_the_end_nobody_is_given_more_time() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        roster.join(C, "web".to_owned(), 2, Clients::Bound);
        roster.ready(C);
        assert!(!roster.is_owed());
        roster.handed(C, now);
        roster.hurry();
        assert!(roster.is_owed() && roster.looked(C, 1, now + PATIENCE));
        roster.recalled(C, Some(now + PATIENCE));
        assert!(roster.is_unsettled() && !roster.is_owed(), "a knock is nobody's connection");
    }

    #[test]
    fn who_works_off_what_it_is_handed_is_not_slow() {
        let (mut roster, now) = (roster(), Instant::now());
        roster.handed(A, now);
        roster.handed(A, now + PATIENCE);
        assert!(!roster.looked(A, 1, now + PATIENCE));
        assert_eq!(roster.unsettled(), [A]);
        assert!(!roster.looked(A, 0, now + PATIENCE));
        assert_eq!(roster.unsettled(), []);
    }

    #[test]
    fn what_could_not_be_handed_over_does_not_lie_with_anybody() {
        let (mut roster, now) = (roster(), Instant::now());
        (0..3).for_each(|_| roster.handed(A, now));
        roster.kept(A, 2);
        assert_eq!(roster.unsettled(), [A]);
        roster.kept(A, 1);
        assert_eq!(roster.unsettled(), []);
        assert!(!roster.looked(A, 0, now + PATIENCE));
    }

    #[test]
    fn when_all_are_slow_they_get_connections_up_to_the_limit() {
        let (mut roster, now) = (roster(), Instant::now());
        for id in [A, B] {
            (0..LIMIT - 1).for_each(|_| roster.handed(id, now));
            assert!(roster.looked(id, LIMIT - 1, now + PATIENCE));
        }
        assert_eq!(turns(&roster, 2), [A, B]);
        roster.handed(A, now);
        roster.handed(B, now);
        assert_eq!(turns(&roster, 2), []);
    }
}
