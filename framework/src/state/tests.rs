//! Observers, with and without keys, and the versions that arrive for them.

use serde::{Deserialize, Serialize};

use super::*;

fn payload(number: u32) -> Payload {
    Payload::encode("a number", &number).unwrap()
}

#[tokio::test]
async fn observers_see_the_latest_version_and_hear_of_changes() {
    let states = Arc::new(States::default());
    let waiting = tokio::spawn({
        let states = Arc::clone(&states);
        async move { states.observe::<u32>("n").await.unwrap() }
    });
    tokio::task::yield_now().await;
    states.store("n", 1, payload(10)).unwrap();
    let mut observed = waiting.await.unwrap();
    assert_eq!((*observed.get(), observed.get().version()), (10, 1));
    let held = observed.get();
    states.store("n", 2, payload(20)).unwrap();
    states.store("n", 3, payload(30)).unwrap();
    assert_eq!((*observed.changed().await, *held), (30, 10));
}

#[tokio::test]
async fn a_stream_begins_with_what_is_and_goes_on_with_what_changes() {
    use futures_util::{FutureExt as _, StreamExt as _};
    let states = States::default();
    states.store("n", 1, payload(10)).unwrap();
    let mut stream = Box::pin(states.observe::<u32>("n").await.unwrap().into_stream());
    assert_eq!(*stream.next().await.unwrap(), 10);
    assert!(stream.next().now_or_never().is_none());
    states.store("n", 2, payload(20)).unwrap();
    states.store("n", 3, payload(30)).unwrap();
    assert_eq!(*stream.next().await.unwrap(), 30);
}

#[tokio::test]
async fn an_older_version_changes_nothing() {
    let states = States::default();
    states.store("n", 5, payload(50)).unwrap();
    states.store("n", 4, payload(40)).unwrap();
    assert_eq!(*states.observe::<u32>("n").await.unwrap().get(), 50);
    assert_eq!(states.latest("n").unwrap().0, 5);
    assert!(states.latest("other").is_none());
}

#[tokio::test]
async fn a_payload_of_another_type_leaves_the_last_good_value() {
    let states = States::default();
    states.store("n", 1, payload(1)).unwrap();
    let observed = states.observe::<u32>("n").await.unwrap();
    let text = Payload::encode("a text", &"x").unwrap();
    assert!(states.store("n", 2, text).unwrap_err().to_string().contains("the state `n`"));
    assert_eq!((*observed.get(), observed.get().version()), (1, 1));
    assert!(observed.misfit().unwrap().to_string().contains("the state `n`"));
    assert!(matches!(states.observe::<String>("n").await, Err(ObserveError::OtherType(_))));
}

#[derive(Debug, Serialize, Deserialize)]
struct Price(u32);

impl Topic for Price {
    const NAME: &'static str = "price";
}

const EU: &str = "price\0eu";

async fn interest(states: &States) -> Option<(String, bool)> {
    let soon = std::time::Duration::from_millis(20);
    tokio::time::timeout(soon, states.next_interest()).await.ok()
}

#[tokio::test(start_paused = true)]
async fn the_master_is_told_of_the_first_observer_of_a_key_and_of_the_last() {
    let states = Arc::new(States::default());
    let waiting = tokio::spawn({
        let states = Arc::clone(&states);
        async move { states.observe_key::<Price>("eu").await.unwrap() }
    });
    assert_eq!(interest(&states).await, Some((EU.to_owned(), true)));
    assert_eq!(states.store(EU, 7, payload(70)).unwrap(), Stored::Runs);
    let first = waiting.await.unwrap();
    let second = states.observe_key::<Price>("eu").await.unwrap();
    assert_eq!(interest(&states).await, None);
    drop(first);
    assert_eq!(interest(&states).await, None);
    assert_eq!(second.get().0, 70);
    drop(second);
    assert_eq!(interest(&states).await, Some((EU.to_owned(), false)));
    assert!(states.entries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_observed_anew_takes_any_version() {
    let states = Arc::new(States::default());
    assert_eq!(states.store(EU, 9, payload(90)).unwrap(), Stored::Unobserved);
    let hold = states.hold(EU);
    states.store(EU, 9, payload(90)).unwrap();
    drop(hold);
    assert_eq!(states.store(EU, 10, payload(90)).unwrap(), Stored::Unobserved);
    let observing = states.observe_key::<Price>("eu");
    tokio::pin!(observing);
    assert!(futures_util::poll!(&mut observing).is_pending(), "what was held before is forgotten");
    states.store(EU, 3, payload(30)).unwrap();
    assert_eq!(observing.await.unwrap().get().version(), 3);
    assert_eq!(interest(&states).await, Some((EU.to_owned(), false)), "and it is dropped by now");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_for_a_key_observes_it_no_more() {
    let states = States::default();
    let soon = std::time::Duration::from_millis(1);
    tokio::time::timeout(soon, states.observe_key::<Price>("eu")).await.unwrap_err();
    assert_eq!(interest(&states).await, Some((EU.to_owned(), false)));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_who_waits_and_the_next_one_asks_again() {
    let states = Arc::new(States::default());
    let waiting = tokio::spawn({
        let states = Arc::clone(&states);
        async move { states.observe_key::<Price>("eu").await }
    });
    assert_eq!(interest(&states).await, Some((EU.to_owned(), true)));
    states.refuse(EU, "65536 keys are the most");
    let error = waiting.await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "the state `price[eu]` cannot be observed: 65536 keys are the most");
    assert_eq!(interest(&states).await, Some((EU.to_owned(), false)));
    let _hold = states.hold(EU);
    assert_eq!(interest(&states).await, Some((EU.to_owned(), true)));
}

#[tokio::test(start_paused = true)]
async fn who_publishes_a_key_can_refuse_it_and_take_that_back() {
    let states = Arc::new(States::default());
    let _hold = states.hold(EU);
    states.store(EU, 1, Payload::refusing("no such key")).unwrap();
    let error = states.observe_key::<Price>("eu").await.unwrap_err().to_string();
    assert_eq!(error, "the state `price[eu]` cannot be observed: no such key");
    states.store(EU, 2, payload(20)).unwrap();
    let mut observed = states.observe_key::<Price>("eu").await.unwrap();
    assert_eq!((observed.get().0, observed.refusal()), (20, None));
    states.store(EU, 3, Payload::refusing("delisted")).unwrap();
    assert_eq!(observed.changed().await.0, 20, "the last value stays");
    assert_eq!(observed.refusal().as_deref(), Some("delisted"));
    assert!(states.observe_key::<Price>("eu").await.is_err());
    states.store(EU, 4, payload(40)).unwrap();
    assert_eq!((observed.changed().await.0, observed.refusal()), (40, None));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_does_not_fit_ends_a_refusal_and_every_observer_hears_what_is_wrong() {
    let states = Arc::new(States::default());
    let _hold = states.hold(EU);
    let text = || Payload::encode("a text", &"x").unwrap();
    states.store(EU, 1, Payload::refusing("no such key")).unwrap();
    states.store(EU, 2, text()).unwrap();
    let early = states.observe_key::<Price>("eu").await.unwrap_err();
    assert!(matches!(early, ObserveError::Codec(_)), "before anybody has a value: {early}");
    states.store(EU, 3, payload(30)).unwrap();
    let mut observed = states.observe_key::<Price>("eu").await.unwrap();
    states.store(EU, 4, Payload::refusing("delisted")).unwrap();
    assert_eq!((observed.changed().await.0, observed.refusal().as_deref()), (30, Some("delisted")));
    let told = states.store(EU, 5, text()).unwrap_err().to_string();
    assert_eq!((observed.changed().await.0, observed.refusal()), (30, None));
    assert_eq!(observed.misfit().unwrap().to_string(), told);
    let late = states.observe_key::<Price>("eu").await.unwrap_err();
    assert!(matches!(&late, ObserveError::Codec(_)) && late.to_string() == told, "{late}");
    states.store(EU, 6, payload(60)).unwrap();
    assert_eq!((observed.changed().await.0, observed.misfit().is_none()), (60, true));
    assert_eq!(states.observe_key::<Price>("eu").await.unwrap().get().0, 60);
}

#[test]
fn the_words_of_a_refusal_are_cut_between_two_characters() {
    let refusal = Payload::refusing(&"ä".repeat(5000)).refusal().unwrap();
    assert_eq!(refusal, "ä".repeat(2000));
    assert_eq!(payload(1).refusal(), None);
}

#[tokio::test]
async fn a_large_state_is_decoded_from_its_memory_by_each_observer() {
    let states = States::default();
    let text = "x".repeat(2 << 20);
    states.store("n", 1, Payload::encode("a text", &text).unwrap()).unwrap();
    assert_eq!(states.observe::<String>("n").await.unwrap().get().len(), 2 << 20);
    assert!(matches!(states.latest("n"), Some((1, Payload::Sealed(_)))));
}
