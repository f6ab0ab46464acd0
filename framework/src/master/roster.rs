//! Who can be handed connections: which workers are ready, who gets the next connection, and who takes so long that
//! others are better. What one of them has is its station's. Pure; the lobby hands over and looks.

mod station;

use std::collections::BTreeSet;
use std::time::Instant;

use self::station::{Stage, Station};
use super::event::ChildId;
use crate::balance::{Candidate, Chooser};

pub(super) use self::station::{Clients, PATIENCE};

/// All workers that connections are handed to, by index; of two in one slot, the younger comes last.
#[derive(Debug, Default)]
pub(super) struct Roster(Vec<Station>);

impl Roster {
    /// A worker was started.
    pub(super) fn join(&mut self, id: ChildId, group: String, index: u32) {
        let place = self.0.partition_point(|station| (station.index, station.id) < (index, id));
        self.0.insert(place, Station::new(id, group, index));
    }

    /// It can take connections from now on.
    pub(super) fn ready(&mut self, id: ChildId) {
        self.with(id, |station| station.advance(Stage::Ready));
    }

    /// It should get no more connections.
    pub(super) fn leave(&mut self, id: ChildId) {
        self.with(id, |station| station.advance(Stage::Leaving));
    }

    pub(super) fn gone(&mut self, id: ChildId) {
        self.0.retain(|station| station.id != id);
    }

    /// It has so many connections.
    pub(super) fn reported(&mut self, id: ChildId, load: u64) {
        self.with(id, |station| station.load = load);
    }

    fn get(&self, id: ChildId) -> Option<&Station> {
        self.0.iter().find(|station| station.id == id)
    }

    /// What `act` says of this worker, if it is there.
    fn with<T>(&mut self, id: ChildId, act: impl FnOnce(&mut Station) -> T) -> Option<T> {
        self.0.iter_mut().find(|station| station.id == id).map(act)
    }

    /// Who gets the next connection with this key, if anybody can take it: who takes long only if all do.
    pub(super) fn choose(&self, group: &str, chooser: &mut Chooser, key: &[u8]) -> Option<ChildId> {
        let clients = Clients::of(chooser);
        let mut candidates = self.candidates(group, |station| !station.is_slow(clients));
        if candidates.is_empty() {
            candidates = self.candidates(group, |_| true);
        }
        let faces: Vec<Candidate> = candidates.iter().map(|station| station.face()).collect();
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
        self.with(id, |station| station.handed(clients, since));
    }

    /// The last so many could not be handed to it.
    pub(super) fn kept(&mut self, id: ChildId, count: usize) {
        self.with(id, |station| station.kept(count));
    }

    /// So much of it still lies there; what was handed over first was taken up first. Returns whether some of it lies too
    /// long.
    pub(super) fn looked(&mut self, id: ChildId, lying: usize, now: Instant) -> bool {
        self.with(id, |station| station.looked(lying, now)).unwrap_or_default()
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
            .any(|clients| station.keeps_waiting(clients) && self.has_better(id, clients))
    }

    /// All but the last `left` was taken back from it. Returns since when the oldest of it lay there: what is put back counts
    /// as lying there since then.
    pub(super) fn recalled(&mut self, id: ChildId, left: usize, now: Instant) -> Instant {
        self.with(id, |station| station.recalled(left, now)).unwrap_or(now)
    }

    /// A knock was left with it.
    pub(super) fn knocked(&mut self, id: ChildId, since: Instant) {
        self.with(id, |station| station.knocked(since));
    }

    /// It is the end: clients will come back to nobody, so that nobody is given more time for their sake.
    pub(super) fn hurry(&mut self) {
        self.0.iter_mut().for_each(Station::hurry);
    }

    /// Whether connections may lie with anybody.
    pub(super) fn is_owed(&self) -> bool {
        self.0.iter().any(Station::is_owed)
    }

    /// The slots in which somebody is ready.
    pub(super) fn manned(&self) -> BTreeSet<(&str, u32)> {
        let ready = self.0.iter().filter(|station| station.is_ready());
        ready.map(|station| (station.group.as_str(), station.index)).collect()
    }

    /// Whether anybody of this group is ready.
    pub(super) fn has_ready(&self, group: &str) -> bool {
        self.0.iter().any(|station| station.group == group && station.is_ready())
    }

    /// Whether anybody of this group can take a connection.
    pub(super) fn can_take(&self, group: &str) -> bool {
        self.0.iter().any(|station| station.can_take(group))
    }

    /// Whether something may lie with anybody.
    pub(super) fn is_unsettled(&self) -> bool {
        self.0.iter().any(Station::is_unsettled)
    }

    /// The workers with whom something may lie.
    pub(super) fn unsettled(&self) -> Vec<ChildId> {
        self.0.iter().filter(|station| station.is_unsettled()).map(|station| station.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::station::{LIMIT, STICKY_PATIENCE};
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
