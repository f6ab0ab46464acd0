//! The contributions of workers as the agent sees them.

use serde::{Deserialize, Serialize};

use super::*;
use crate::bus::frame::Kind;
use crate::bus::head::Route;
use crate::role::Slot;

#[derive(Debug, Serialize, Deserialize)]
struct Load(u32);

impl Topic for Load {
    const NAME: &'static str = "load";
}

fn frame(kind: Kind, index: u32, number: u64, payload: &[u8]) -> Frame {
    let slot = Roll::new(["web".to_owned()]).slot(&Slot::worker("web", index)).unwrap();
    let from = Address { pid: 100 + index, ..slot };
    Frame::about(kind, Load::NAME, number, payload).on(Route { from, ..Route::default() })
}

fn contribution(index: u32, number: u64, load: u32) -> Frame {
    frame(Kind::Contribution, index, number, &codec::encode("a load", &load).unwrap())
}

fn contributions() -> Contributions {
    Contributions::new(Roll::new(["web".to_owned()]))
}

fn seen(gathered: &Gathered<Load>) -> Vec<(String, u32, u32)> {
    let one = |one: &Contributed<Load>| (one.origin().to_string(), one.origin().pid(), one.value().0);
    gathered.get().iter().map(one).collect()
}

#[tokio::test]
async fn the_set_has_the_latest_value_of_each_worker_that_lives() {
    let contributions = contributions();
    contributions.take(&contribution(1, 1, 10)).unwrap();
    let mut gathered = contributions.gather::<Load>().unwrap();
    contributions.take(&contribution(0, 2, 20)).unwrap();
    contributions.take(&contribution(1, 3, 30)).unwrap();
    gathered.changed().await;
    assert_eq!(seen(&gathered), [("web.0".to_owned(), 100, 20), ("web.1".to_owned(), 101, 30)]);
    contributions.withdraw(&frame(Kind::Withdrawn, 1, 4, &[]));
    gathered.changed().await;
    assert_eq!(seen(&gathered), [("web.0".to_owned(), 100, 20)]);
}

#[test]
fn what_comes_late_changes_nothing() {
    let contributions = contributions();
    let gathered = contributions.gather::<Load>().unwrap();
    contributions.take(&contribution(0, 9, 90)).unwrap();
    contributions.take(&contribution(0, 5, 50)).unwrap();
    contributions.withdraw(&frame(Kind::Withdrawn, 0, 7, &[]));
    assert_eq!(seen(&gathered), [("web.0".to_owned(), 100, 90)]);
}

#[test]
fn a_value_of_another_type_is_an_error_that_names_its_sender() {
    let contributions = contributions();
    let gathered = contributions.gather::<Load>().unwrap();
    let text = codec::encode("a text", &"x").unwrap();
    let error = contributions.take(&frame(Kind::Contribution, 0, 1, &text)).unwrap_err().to_string();
    assert!(error.contains("the contribution `load` of web.0"), "{error}");
    assert!(gathered.get().is_empty());
}

#[test]
fn what_a_worker_contributes_is_bounded_as_a_whole() {
    let contributions = contributions();
    assert_eq!(contributions.book("a", 60, 100), Ok(()));
    assert_eq!(contributions.book("b", 60, 100), Err(120));
    assert_eq!(contributions.book("a", 40, 100), Ok(()));
    assert_eq!(contributions.book("b", 60, 100), Ok(()));
}
