//! Subscriptions: who gets what, how long a slow one is waited for, and what one leaves.

use super::*;

#[tokio::test]
async fn every_subscription_hears_of_the_end_also_one_that_comes_after_it() {
    let post = Post::settled(1 << 20);
    let before = post.mail.subscribe("m");
    post.mail.take(&Frame::about(Kind::Message, "m", 1, b"words"));
    post.mail.end();
    let after = post.mail.subscribe("m");
    assert!(matches!(before.next().await, Arrived::Letter(Letter { number: 1, .. })));
    assert!(matches!(before.next().await, Arrived::End));
    assert!(matches!(after.next().await, Arrived::End));
    post.mail.finish().await;
}

#[tokio::test]
async fn each_subscription_gets_every_message_and_a_dropped_one_costs_nothing() {
    let post = Post::settled(1 << 20);
    let (first, second) = (post.mail.subscribe("a"), post.mail.subscribe("a"));
    post.message("a", 1);
    drop(second);
    post.message("a", 2);
    assert_eq!(waiting(&first), [Ok(1), Ok(2)]);
    drop(first);
    post.message("a", 3);
    assert_eq!(post.unheard(), 1);
    for _ in 0..1000 {
        drop(post.mail.subscribe("silent"));
    }
    let subscriptions = post.mail.state().audiences["silent"].subscriptions.len();
    assert_eq!(subscriptions, 1, "those on which nothing comes are forgotten, too");
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscription_is_waited_for_and_one_that_takes_nothing_only_once() {
    let post = Post::settled(4000);
    let mailbox = post.mail.subscribe("a");
    let fill = |from: u64| (from..from + 12).for_each(|number| post.message("a", number));
    let relieved_after = async || {
        let began = tokio::time::Instant::now();
        post.mail.relieve().await;
        began.elapsed()
    };
    fill(0);
    assert_eq!(relieved_after().await.as_millis(), 250, "for a moment, and not once for each message");
    fill(20);
    assert_eq!(relieved_after().await, Duration::ZERO, "it is known to take nothing");
    while waiting(&mailbox).is_empty() {}
    fill(40);
    let (waited, _) = tokio::join!(relieved_after(), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        waiting(&mailbox)
    });
    assert_eq!(waited.as_millis(), 10, "it goes on");
}

#[tokio::test]
async fn a_subscription_that_is_never_read_has_bounded_memory() {
    let post = Post::settled(64 << 10);
    let mailbox = post.mail.subscribe("a");
    for number in 0..100_000 {
        post.mail.take(&incoming(Kind::Message, "a", number, &[0xc0]));
    }
    let left = waiting(&mailbox);
    assert!(left.len() < 1000, "{} letters of one byte wait in 64 KiB", left.len());
    let missed: u64 = left.iter().filter_map(|letter| letter.err()).sum();
    assert_eq!(left.len() as u64 - 1 + missed, 100_000, "each is there or counted");
}

#[tokio::test]
async fn what_a_subscription_misses_is_counted_when_it_happens_and_told_at_the_end() {
    let post = Post::settled(1000);
    let (kept, dropped) = (post.mail.subscribe("a"), post.mail.subscribe("a"));
    (0..10).for_each(|number| post.message("a", number));
    let missed = || post.mail.losses().count(Pulse::default()).missed;
    let each = kept.rest().missed;
    assert!(each > 0);
    assert_eq!(missed(), 2 * each, "nobody has come for anything");
    post.mail.give_up("a", &dropped, true);
    drop(dropped);
    let left = 10 - each;
    let told =
        format!("{left} messages on `a` that its subscription did not take, and {each} that it missed");
    let untaken: Vec<String> = post.mail.untaken().iter().map(ToString::to_string).collect();
    assert_eq!(untaken, [told.clone(), told]);
    assert!(!waiting(&kept).is_empty());
    assert_eq!((missed(), post.unheard()), (2 * each, left), "what is told is not counted again");
}

#[tokio::test]
async fn what_waits_in_a_subscription_that_is_given_up_is_counted_and_told_if_the_process_leaves() {
    let post = Post::settled(1 << 20);
    for (leaving, told) in
        [(false, vec![]), (true, vec!["1 message on `a` that its subscription did not take"])]
    {
        let subscription = post.mail.subscribe("a");
        post.message("a", 1);
        post.mail.give_up("a", &subscription, leaving);
        drop(subscription);
        let untaken: Vec<String> = post.mail.untaken().iter().map(ToString::to_string).collect();
        assert_eq!(untaken, told);
    }
    assert_eq!(post.unheard(), 2);
}
