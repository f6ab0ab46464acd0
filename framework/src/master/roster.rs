//! Who can be handed connections: which workers are ready, what each has not taken up yet, and who takes too long for
//! it. Pure; the lobby hands over and looks.

use std::collections::{BTreeSet, VecDeque};
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
    id: ChildId,
    group: String,
    index: u32,
    stage: Stage,
    /// What was handed over and may not have been taken up, the oldest first.
    lying: VecDeque<Lying>,
    /// How long the oldest of it had lain there when that was looked at.
    lain: Duration,
    /// Its connections as it said last, and what it was handed since.
    load: u64,
}

impl Station {
    fn can_take(&self, group: &str) -> bool {
        self.stage == Stage::Ready && self.lying.len() < LIMIT && self.group == group
    }

    /// Whether it takes too long for such clients, and has not come round since.
    fn is_slow(&self, clients: Clients) -> bool {
        !self.lying.is_empty() && self.lain >= clients.patience()
    }

    fn holds(&self, clients: Clients) -> bool {
        self.lying.iter().any(|one| one.what == What::Connection(clients))
    }
}

#[derive(Debug)]
struct Lying {
    since: Instant,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Connection(Clients),
    /// Only to see whether the worker comes round.
    Knock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    Leaving,
}

/// Whether the clients of a listener should come back to the worker that they had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clients {
    Free,
    Bound,
}

impl Clients {
    /// Those for whom `chooser` chooses.
    pub(super) fn of(chooser: &Chooser) -> Self {
        if chooser.binds_clients() { Self::Bound } else { Self::Free }
    }

    fn patience(self) -> Duration {
        match self {
            Self::Free => PATIENCE,
            Self::Bound => STICKY_PATIENCE,
        }
    }
}

/// All workers that connections are handed to, by index; of two in one slot, the younger comes last.
#[derive(Debug, Default)]
pub(super) struct Roster(Vec<Station>);

impl Roster {
    /// A worker was started.
    pub(super) fn join(&mut self, id: ChildId, group: String, index: u32) {
        let (stage, lying, lain) = (Stage::Starting, VecDeque::new(), Duration::ZERO);
        let place = self.0.partition_point(|station| (station.index, station.id) < (index, id));
        self.0.insert(place, Station { id, group, index, stage, lying, lain, load: 0 });
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
        if let Some(station) = self.get_mut(id).filter(|station| station.stage != Stage::Leaving) {
            station.stage = stage;
        }
    }

    pub(super) fn gone(&mut self, id: ChildId) {
        self.0.retain(|station| station.id != id);
    }

    /// It has so many connections.
    pub(super) fn reported(&mut self, id: ChildId, load: u64) {
        if let Some(station) = self.get_mut(id) {
            station.load = load;
        }
    }

    fn get(&self, id: ChildId) -> Option<&Station> {
        self.0.iter().find(|station| station.id == id)
    }

    fn get_mut(&mut self, id: ChildId) -> Option<&mut Station> {
        self.0.iter_mut().find(|station| station.id == id)
    }

    /// Who gets the next connection with this key, if anybody can take it: who takes long only if all do.
    pub(super) fn choose(&self, group: &str, chooser: &mut Chooser, key: &[u8]) -> Option<ChildId> {
        let clients = Clients::of(chooser);
        let mut candidates = self.candidates(group, |station| !station.is_slow(clients));
        if candidates.is_empty() {
            candidates = self.candidates(group, |_| true);
        }
        let face = |station: &&Station| Candidate { index: station.index, load: station.load };
        let faces: Vec<Candidate> = candidates.iter().map(face).collect();
        chooser.choose(&faces, key).map(|place| candidates[place].id)
    }

    /// By index, one in each slot.
    fn candidates(&self, group: &str, fits: impl Fn(&Station) -> bool) -> Vec<&Station> {
        let mut found: Vec<&Station> = Vec::with_capacity(self.0.len());
        for station in self.0.iter().filter(|station| station.can_take(group) && fits(station)) {
            found.pop_if(|elder| elder.index == station.index);
            found.push(station);
        }
        found
    }

    /// Whether somebody else of its group would take up such clients at once.
    pub(super) fn has_better(&self, id: ChildId, clients: Clients) -> bool {
        let Some(station) = self.get(id) else { return false };
        let is_better =
            |other: &Station| other.id != id && other.can_take(&station.group) && !other.is_slow(clients);
        self.0.iter().any(is_better)
    }

    /// A connection of such clients was handed to it, and lies there since then.
    pub(super) fn handed(&mut self, id: ChildId, clients: Clients, since: Instant) {
        if let Some(station) = self.get_mut(id) {
            station.lying.push_back(Lying { since, what: What::Connection(clients) });
            station.load += 1;
        }
    }

    /// The last so many could not be handed to it.
    pub(super) fn kept(&mut self, id: ChildId, count: usize) {
        if let Some(station) = self.get_mut(id) {
            station.lying.truncate(station.lying.len().saturating_sub(count));
            station.load = station.load.saturating_sub(count as u64);
        }
    }

    /// So much of it still lies there; what was handed over first was taken up first. Returns whether some of it lies too
    /// long.
    pub(super) fn looked(&mut self, id: ChildId, lying: usize, now: Instant) -> bool {
        let Some(station) = self.get_mut(id) else { return false };
        let taken = station.lying.len().saturating_sub(lying);
        station.lying.drain(..taken);
        let oldest = station.lying.front();
        station.lain = oldest.map_or(Duration::ZERO, |one| now.saturating_duration_since(one.since));
        station.lying.iter().any(|one| match one.what {
            What::Connection(clients) => station.is_slow(clients),
            What::Knock => station.is_slow(Clients::Free),
        })
    }

    /// Whether it takes too long for such clients.
    pub(super) fn is_slow(&self, id: ChildId, clients: Clients) -> bool {
        self.get(id).is_some_and(|station| station.is_slow(clients))
    }

    /// Whether clients lie with it for which it takes too long, and somebody else would take them up at once.
    pub(super) fn is_worth_recalling(&self, id: ChildId) -> bool {
        let Some(station) = self.get(id) else { return false };
        [Clients::Free, Clients::Bound]
            .into_iter()
            .any(|clients| station.is_slow(clients) && station.holds(clients) && self.has_better(id, clients))
    }

    /// All but the last `left` was taken back from it. Returns since when the oldest of it lay there: what is put back counts
    /// as lying there since then.
    pub(super) fn recalled(&mut self, id: ChildId, left: usize, now: Instant) -> Instant {
        let Some(station) = self.get_mut(id) else { return now };
        let oldest = station.lying.front().map_or(now, |one| one.since);
        let back = station.lying.drain(..station.lying.len().saturating_sub(left));
        let connections = back.filter(|one| one.what != What::Knock).count();
        station.load = station.load.saturating_sub(connections as u64);
        oldest
    }

    /// A knock was left with it.
    pub(super) fn knocked(&mut self, id: ChildId, since: Instant) {
        if let Some(station) = self.get_mut(id) {
            station.lying.push_back(Lying { since, what: What::Knock });
        }
    }

    /// It is the end: clients will come back to nobody, so that nobody is given more time for their sake.
    pub(super) fn hurry(&mut self) {
        for one in self.0.iter_mut().flat_map(|station| &mut station.lying) {
            if let What::Connection(clients) = &mut one.what {
                *clients = Clients::Free;
            }
        }
    }

    /// Whether connections may lie with anybody.
    pub(super) fn is_owed(&self) -> bool {
        self.0.iter().flat_map(|station| &station.lying).any(|one| one.what != What::Knock)
    }

    /// The slots in which somebody is ready.
    pub(super) fn manned(&self) -> BTreeSet<(&str, u32)> {
        let ready = self.0.iter().filter(|station| station.stage == Stage::Ready);
        ready.map(|station| (station.group.as_str(), station.index)).collect()
    }

    /// Whether anybody of this group is ready.
    pub(super) fn has_ready(&self, group: &str) -> bool {
        self.0.iter().any(|station| station.group == group && station.stage == Stage::Ready)
    }

    /// Whether anybody of this group can take a connection.
    pub(super) fn can_take(&self, group: &str) -> bool {
        self.0.iter().any(|station| station.can_take(group))
    }

    /// Whether something may lie with anybody.
    pub(super) fn is_unsettled(&self) -> bool {
        self.0.iter().any(|station| !station.lying.is_empty())
    }

    /// The workers with whom something may lie.
    pub(super) fn unsettled(&self) -> Vec<ChildId> {
        self.0.iter().filter(|station| !station.lying.is_empty()).map(|station| station.id).collect()
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
            roster.join(id, "web".to_owned(), index);
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
        roster.join(C, "web".to_owned(), 2);
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
        roster.join(C, "web".to_owned(), 0);
        roster.ready(C);
        assert_eq!(turns(&roster, 2), [C, B]);
    }

    #[test]
    fn who_takes_too_long_gets_nothing_until_it_has_come_round() {
        let (mut roster, now) = (roster(), Instant::now());
        roster.handed(A, Clients::Free, now);
        assert!(!roster.looked(A, 1, now + PATIENCE / 2));
        assert!(roster.looked(A, 1, now + PATIENCE));
        assert_eq!(turns(&roster, 2), [B, B]);
        assert!(roster.is_worth_recalling(A) && !roster.is_worth_recalling(B));
        let since = roster.recalled(A, 0, now + PATIENCE);
        assert_eq!(since, now);
        roster.knocked(A, since);
        assert!(roster.looked(A, 1, now + PATIENCE) && !roster.is_worth_recalling(A));
        assert!(!roster.looked(A, 0, now + PATIENCE * 2));
        assert_eq!(turns(&roster, 2), [A, B]);
    }

    #[test]
    fn clients_that_are_bound_to_a_worker_wait_for_it_longer_than_others() {
        let (mut roster, now) = (roster(), Instant::now());
        let bound = || Chooser::new(Policy::IpHash, vec![]);
        roster.handed(A, Clients::Bound, now);
        roster.handed(A, Clients::Free, now);
        assert!(roster.looked(A, 2, now + PATIENCE) && roster.is_worth_recalling(A));
        assert!(roster.is_slow(A, Clients::Free) && !roster.is_slow(A, Clients::Bound));
        let since = roster.recalled(A, 0, now + PATIENCE);
        roster.knocked(A, since);
        roster.handed(A, Clients::Bound, since);
        assert_eq!(turns(&roster, 2), [B, B]);
        assert_eq!(roster.choose("web", &mut bound(), b""), Some(A), "a bound client waits on");
        assert!(roster.looked(A, 2, now + PATIENCE * 2) && !roster.is_worth_recalling(A));
        assert!(roster.looked(A, 2, now + STICKY_PATIENCE) && roster.is_worth_recalling(A));
        assert_eq!(roster.choose("web", &mut bound(), b""), Some(B));
        assert!(!roster.looked(A, 0, now + STICKY_PATIENCE));
        assert_eq!(turns(&roster, 2), [A, B]);
    }

    #[test]
    fn at_the_end_nobody_is_given_more_time() {
        let (mut roster, now) = (roster(), Instant::now());
        assert!(!roster.is_owed());
        roster.handed(A, Clients::Bound, now);
        roster.hurry();
        assert!(roster.is_owed() && roster.looked(A, 1, now + PATIENCE) && roster.is_worth_recalling(A));
        let since = roster.recalled(A, 0, now + PATIENCE);
        roster.knocked(A, since);
        assert!(roster.is_unsettled() && !roster.is_owed(), "a knock is nobody's connection");
    }

    #[test]
    fn who_works_off_what_it_is_handed_is_not_slow() {
        let (mut roster, now) = (roster(), Instant::now());
        roster.handed(A, Clients::Free, now);
        roster.handed(A, Clients::Free, now + PATIENCE);
        assert!(!roster.looked(A, 1, now + PATIENCE));
        assert_eq!(roster.unsettled(), [A]);
        assert!(!roster.looked(A, 0, now + PATIENCE));
        assert_eq!(roster.unsettled(), []);
    }

    #[test]
    fn what_could_not_be_handed_over_does_not_lie_with_anybody() {
        let (mut roster, now) = (roster(), Instant::now());
        (0..3).for_each(|_| roster.handed(A, Clients::Free, now));
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
            (0..LIMIT - 1).for_each(|_| roster.handed(id, Clients::Free, now));
            assert!(roster.looked(id, LIMIT - 1, now + PATIENCE));
        }
        assert_eq!(turns(&roster, 2), [A, B]);
        roster.handed(A, Clients::Free, now);
        roster.handed(B, Clients::Free, now);
        assert_eq!(turns(&roster, 2), []);
    }
}
