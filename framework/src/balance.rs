//! Which worker gets the next connection: the policies, as decisions over those who can take it. Pure; who can is for
//! the master to say, and to hand it over.

mod target;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

pub(crate) use target::{MOST, Target, target};

/// How the connections of a listener are spread over the workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Every worker accepts from the same queue: whoever has time takes the next.
    Shared,
    /// The master accepts, and workers get connections by turns.
    #[default]
    RoundRobin,
    /// By turns, too, but the workers' `weights` say how many each gets.
    Weighted,
    /// Connections of one client address go to one worker, for as long as it is there.
    IpHash,
    /// Whoever has the fewest connections gets the next.
    LeastBusy,
    /// Connections whose first request is for one path go to one worker, for as long as it is there.
    UrlHash,
    /// Each slot has a queue of its own, among which the kernel chooses.
    Reuseport,
}

impl Policy {
    /// Whether the master accepts, and hands over.
    #[must_use]
    pub(crate) fn is_dispatched(self) -> bool {
        !matches!(self, Self::Shared | Self::Reuseport)
    }

    /// Whether each slot has a socket of its own.
    #[must_use]
    pub(crate) fn has_slots(self) -> bool {
        self == Self::Reuseport
    }

    /// Its name in the configuration.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted",
            Self::IpHash => "ip-hash",
            Self::LeastBusy => "least-busy",
            Self::UrlHash => "url-hash",
            Self::Reuseport => "reuseport",
        }
    }
}

/// One who can take a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The worker's index in its group; no two candidates have the same.
    pub(crate) index: u32,
    /// The connections that it has.
    pub(crate) load: u64,
}

/// What a worker is chosen by, where it is by anything of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The address of the client.
    Client,
    /// The path of the first request.
    Path,
}

/// Chooses for one listener, and remembers whose turn it is.
#[derive(Debug)]
pub(crate) struct Chooser {
    policy: Policy,
    /// By index; who has none counts as 1.
    weights: Vec<u32>,
    last: Option<u32>,
    /// What each is owed, in shares of the sum of all weights.
    credit: BTreeMap<u32, i64>,
}

impl Chooser {
    pub(crate) fn new(policy: Policy, weights: Vec<u32>) -> Self {
        Self { policy, weights, last: None, credit: BTreeMap::new() }
    }

    /// The place among `candidates` of the one who gets the connection with this key, an address or a path; it may be
    /// empty. `None` only without candidates.
    pub(crate) fn choose(&mut self, candidates: &[Candidate], key: &[u8]) -> Option<usize> {
        let place = match self.policy {
            Policy::IpHash | Policy::UrlHash if !key.is_empty() => by_hash(candidates, key),
            Policy::Weighted => self.by_weight(candidates),
            Policy::LeastBusy => by_key(candidates, |one| (one.load, self.distance(one.index))),
            _ => by_key(candidates, |one| self.distance(one.index)),
        }?;
        self.last = Some(candidates[place].index);
        Some(place)
    }

    /// Whether clients should come back to the worker that they had.
    pub(crate) fn binds_clients(&self) -> bool {
        matches!(self.policy, Policy::IpHash | Policy::UrlHash)
    }

    /// What `choose` wants to know.
    pub(crate) fn chooses_by(&self) -> By {
        if self.policy == Policy::UrlHash { By::Path } else { By::Client }
    }

    /// How many turns it is until the turn of `index`, if all indices were there.
    fn distance(&self, index: u32) -> u32 {
        self.last.map_or(index, |last| index.wrapping_sub(last).wrapping_sub(1))
    }

    fn weight(&self, index: u32) -> i64 {
        let given = usize::try_from(index).ok().and_then(|index| self.weights.get(index));
        given.copied().unwrap_or(1).into()
    }

    /// Everybody's credit grows by the weight, and who is owed most pays for the turn: so turns are mixed well.
    fn by_weight(&mut self, candidates: &[Candidate]) -> Option<usize> {
        self.credit.retain(|index, _| candidates.iter().any(|one| one.index == *index));
        let sum: i64 = candidates.iter().map(|one| self.weight(one.index)).sum();
        if sum == 0 {
            // Who should get nothing still gets it before nobody does.
            return by_key(candidates, |one| self.distance(one.index));
        }
        for one in candidates {
            *self.credit.entry(one.index).or_default() += self.weight(one.index);
        }
        let place = by_key(candidates, |one| (-self.credit[&one.index], one.index))?;
        *self.credit.entry(candidates[place].index).or_default() -= sum;
        Some(place)
    }
}

fn by_key<K: Ord>(candidates: &[Candidate], key: impl Fn(&Candidate) -> K) -> Option<usize> {
    (0..candidates.len()).min_by_key(|place| key(&candidates[*place]))
}

/// The highest of hashes that belong to key and worker alone: when a worker leaves, only its own clients move.
fn by_hash(candidates: &[Candidate], key: &[u8]) -> Option<usize> {
    let score = |one: &Candidate| {
        let mut hasher = DefaultHasher::new();
        (key, one.index).hash(&mut hasher);
        hasher.finish()
    };
    (0..candidates.len()).max_by_key(|place| score(&candidates[*place]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn workers(count: u32) -> Vec<Candidate> {
        (0..count).map(|index| Candidate { index, load: 0 }).collect()
    }

    fn indices(chooser: &mut Chooser, candidates: &[Candidate], count: usize) -> Vec<u32> {
        (0..count).map(|_| candidates[chooser.choose(candidates, b"").unwrap()].index).collect()
    }

    #[test]
    fn turns_are_taken_in_order() {
        let mut chooser = Chooser::new(Policy::RoundRobin, vec![]);
        assert_eq!(indices(&mut chooser, &workers(3), 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn who_is_away_is_passed_over_and_loses_nothing_but_its_turn() {
        let mut chooser = Chooser::new(Policy::RoundRobin, vec![]);
        let (all, [first, _, third]) = (workers(3), [0, 1, 2].map(|index| Candidate { index, load: 0 }));
        assert_eq!(indices(&mut chooser, &all, 1), [0]);
        assert_eq!(indices(&mut chooser, &[first, third], 2), [2, 0]);
        assert_eq!(indices(&mut chooser, &all, 3), [1, 2, 0]);
    }

    #[test]
    fn weights_say_how_many_and_turns_are_mixed() {
        let mut chooser = Chooser::new(Policy::Weighted, vec![3, 1]);
        assert_eq!(indices(&mut chooser, &workers(2), 8), [0, 0, 1, 0, 0, 0, 1, 0]);
        let mut chooser = Chooser::new(Policy::Weighted, vec![0, 0]);
        assert_eq!(indices(&mut chooser, &workers(2), 3), [0, 1, 0]);
    }

    #[test]
    fn whoever_has_the_fewest_connections_gets_the_next() {
        let mut chooser = Chooser::new(Policy::LeastBusy, vec![]);
        let loads = [3, 1, 1].into_iter().zip(0..).map(|(load, index)| Candidate { index, load });
        assert_eq!(indices(&mut chooser, &loads.collect::<Vec<_>>(), 3), [1, 2, 1]);
    }

    #[test]
    fn nobody_is_chosen_where_nobody_is() {
        for policy in [
            Policy::RoundRobin,
            Policy::Weighted,
            Policy::IpHash,
            Policy::UrlHash,
            Policy::LeastBusy,
            Policy::Shared,
        ] {
            assert_eq!(Chooser::new(policy, vec![]).choose(&[], b"client"), None);
        }
    }

    #[test]
    fn few_clients_move_when_a_worker_leaves() {
        let mut chooser = Chooser::new(Policy::IpHash, vec![]);
        let (all, gone) = (workers(8), 5);
        let rest: Vec<Candidate> = all.iter().copied().filter(|one| one.index != gone).collect();
        let mut moved = 0;
        for client in 0..4000_u32 {
            let client = client.to_be_bytes();
            let before = all[chooser.choose(&all, &client).unwrap()].index;
            let after = rest[chooser.choose(&rest, &client).unwrap()].index;
            assert!(before == gone || before == after, "a client of {before} moved to {after}");
            moved += u32::from(before != after);
        }
        assert!(f64::from(moved) <= 4000.0 * 1.5 / 8.0, "{moved}");
    }

    #[test]
    fn requests_for_one_path_go_to_one_worker_and_those_without_take_turns() {
        let (mut chooser, all) = (Chooser::new(Policy::UrlHash, vec![]), workers(8));
        let mut of = |path: &[u8]| chooser.choose(&all, path).unwrap();
        let first: Vec<usize> = (0..100_u8).map(|path| of(&[b'/', path])).collect();
        assert_eq!(first, (0..100_u8).map(|path| of(&[b'/', path])).collect::<Vec<_>>());
        assert!((0..8).all(|place| first.contains(&place)), "{first:?}");
        let turns = indices(&mut chooser, &all, 8);
        assert!((0..8).all(|index| turns.contains(&index)), "{turns:?}");
    }

    proptest! {
        #[test]
        fn turns_are_even_whoever_is_there(count in 1_u32..20, rounds in 1_usize..10) {
            let (mut chooser, candidates) = (Chooser::new(Policy::RoundRobin, vec![]), workers(count));
            let mut got = indices(&mut chooser, &candidates, rounds * candidates.len());
            got.sort_unstable();
            let even = (0..count).flat_map(|index| std::iter::repeat_n(index, rounds)).collect::<Vec<_>>();
            prop_assert_eq!(got, even);
        }

        #[test]
        fn each_gets_what_its_weight_says(weights in prop::collection::vec(1_u32..9, 1..8)) {
            let candidates = workers(u32::try_from(weights.len()).unwrap());
            let mut chooser = Chooser::new(Policy::Weighted, weights.clone());
            let sum: u32 = weights.iter().sum();
            let got = indices(&mut chooser, &candidates, sum as usize);
            for (index, weight) in (0..).zip(weights) {
                prop_assert_eq!(got.iter().filter(|one| **one == index).count(), weight as usize);
            }
        }
    }
}
