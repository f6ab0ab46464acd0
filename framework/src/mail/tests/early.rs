//! What comes before a process is ready waits, for so long and up to a limit.

use super::*;

#[tokio::test]
async fn what_comes_early_waits_for_who_cares() {
    let mut post = Post::new(1 << 20);
    post.message("a", 1);
    post.ask("q", 2);
    post.message("b", 3);
    post.message("a", 4);
    let a = post.mail.subscribe("a");
    post.message("a", 5);
    assert_eq!(waiting(&a), [Ok(1), Ok(4), Ok(5)]);
    post.mail.answer("q", answering(|number| Ok(vec![u8::try_from(number).unwrap()]))).unwrap();
    assert_eq!(post.next_answer().await, (2, Ok(vec![2])));
    assert_eq!(post.unheard(), 0);
    post.ask("riddle", 6);
    post.mail.settle();
    assert_eq!(post.next_answer().await, (6, Err(Unanswered::Nobody)));
    assert_eq!(post.unheard(), 1, "the message on b");
    assert!(waiting(&post.mail.subscribe("b")).is_empty());
}

#[tokio::test]
async fn after_it_is_ready_nothing_waits_for_anybody() {
    let mut post = Post::settled(1 << 20);
    post.message("a", 1);
    post.ask("q", 2);
    assert_eq!(post.next_answer().await, (2, Err(Unanswered::Nobody)));
    assert_eq!(post.unheard(), 1);
}

#[tokio::test]
async fn what_comes_early_is_bounded_in_bytes() {
    let mut post = Post::new(10 * Letter::cost_of(&incoming(Kind::Message, "a", 0, &[0; 100])));
    for number in 0..20 {
        post.message("a", number);
    }
    post.ask("q", 99);
    assert_eq!(post.next_answer().await, (99, Err(Unanswered::Busy)));
    assert_eq!(waiting(&post.mail.subscribe("a")).len(), 10);
    assert_eq!(post.unheard(), 10);
    for number in 0..10 {
        post.ask("q", number);
    }
    (0..10).for_each(|number| post.cancel(number));
    for number in 10..20 {
        post.ask("q", number);
    }
    post.mail.settle();
    let mut left = Vec::new();
    for _ in 0..10 {
        left.push(post.next_answer().await);
    }
    left.sort_by_key(|(number, _)| *number);
    let expected: Vec<_> = (10..20).map(|number| (number, Err(Unanswered::Nobody))).collect();
    assert_eq!(left, expected, "those that were cancelled need no room");
}
