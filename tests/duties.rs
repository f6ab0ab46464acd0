//! Duties that fail, and what they have registered by then.

use std::fs;

use hatchery::testing::{Cluster, eventually};

use crate::harness::FAST;
use crate::messages::talkers_site;

#[test]
fn a_duty_that_has_failed_registers_all_anew_and_its_name_is_taken_meanwhile() {
    let site = talkers_site();
    fs::write(site.dir().join("clumsy"), "").unwrap();
    let cluster = Cluster::start_at(site, &[FAST, &["--workers", "1"]].concat());
    let said = eventually("three runs", || {
        let said = fs::read_to_string(cluster.site().dir().join("clumsy-said")).unwrap_or_default();
        (said.lines().count() >= 9).then_some(said)
    });
    let lines = |word: &str| {
        said.lines().filter(|line| line.starts_with(word)).map(str::to_owned).collect::<Vec<_>>()
    };
    let over = "the run of the duty that publishes `clumsy.run` has failed: the next run publishes it anew";
    assert_eq!(
        lines("run"),
        [
            "run 1: answered by 1, changed true, stale fine".to_owned(),
            format!("run 2: answered by 2, changed true, stale {over}"),
            format!("run 3: answered by 3, changed true, stale {over}")
        ]
    );
    let twice = "twice the state `clumsy.run` is published in this process already: publish it once, and share \
                 what `publish` returned";
    assert_eq!(lines("twice"), [twice; 3]);
    let never = lines("never");
    let beginning = "never the state `clumsy.run` has no version 1000000: its newest is ";
    assert!(never.iter().all(|line| line.starts_with(beginning)), "{never:?}");
}
