//! The policy `reuseport`: a queue for each slot, and none of them is lost.

use super::absent::assert_others_serve_whom_the_first_leaves_behind;
use super::*;

#[test]
fn each_slot_has_a_queue_of_its_own_and_they_fill_evenly() {
    let cluster = start(&policy("reuseport"), "4");
    assert_eq!(cluster.status().listeners[0].policy, "reuseport");
    let mut kept: Vec<Kept> = (0..400).map(|_| Kept::open(&cluster)).collect();
    let shares = spread(&mut kept, 4);
    // By chance: five standard deviations of a hash without preferences.
    assert!(shares.iter().all(|share| (56..=144).contains(share)), "{shares:?}");
}

#[test]
fn the_queue_of_a_slot_outlives_its_worker_and_is_served_by_others() {
    let cluster = start(&policy("reuseport"), "2");
    assert_others_serve_whom_the_first_leaves_behind(&cluster, 100);
}

#[test]
fn a_slot_that_is_given_up_for_fewer_keeps_its_queue_and_one_that_comes_back_gets_it() {
    let cluster = start(&policy("reuseport"), "1");
    for wish in ["3", "1", "2"] {
        assert!(cluster.site().run(&["scale", wish]).status.success());
        for _ in 0..40 {
            assert_eq!(cluster.get("/").code, 200);
        }
    }
    let mut kept: Vec<Kept> = (0..60).map(|_| Kept::open(&cluster)).collect();
    // The third of what comes that nobody takes care of is spread by turns.
    let shares = spread(&mut kept, 2);
    assert!(shares.iter().all(|share| *share > 10), "{shares:?}");
}
