//! Questions that come: which are answered, which wait, which are refused, and what that costs.

use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;

use super::*;

/// A function that answers each question with `yes` once it may, and the number of those that have begun.
fn patient(may: &Arc<Semaphore>) -> (Handler, Arc<AtomicUsize>) {
    let (may, begun) = (Arc::clone(may), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&begun);
    let handler: Handler = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let may = Arc::clone(&may);
        Box::pin(async move {
            may.acquire().await.unwrap().forget();
            Ok(b"yes".to_vec())
        })
    });
    (handler, begun)
}

#[tokio::test]
async fn a_topic_is_answered_by_one_function() {
    let mut post = Post::settled(1 << 20);
    post.mail.answer("q", answering(|_| Ok(vec![1]))).unwrap();
    assert!(post.mail.answer("q", answering(|_| Ok(vec![2]))).is_err());
    post.ask("q", 1);
    assert_eq!(post.next_answer().await, (1, Ok(vec![1])));
}

#[tokio::test]
async fn a_function_that_is_dismissed_answers_what_it_has_and_the_next_one_what_comes() {
    let (mut post, may) = (Post::settled(1 << 20), Arc::new(Semaphore::new(0)));
    let former = post.mail.answer("q", Answering::new(patient(&may).0, 1, 10)).unwrap();
    [1, 2].into_iter().for_each(|number| post.ask("q", number));
    post.mail.dismiss("q", &former);
    post.ask("q", 3);
    assert_eq!(post.next_answer().await, (3, Err(Unanswered::Nobody)));
    post.mail.answer("q", answering(|_| Ok(vec![2]))).unwrap();
    post.mail.dismiss("q", &former);
    post.ask("q", 4);
    assert_eq!(post.next_answer().await, (4, Ok(vec![2])), "only itself is dismissed");
    post.cancel(2);
    may.add_permits(2);
    assert_eq!(post.next_answer().await, (1, Ok(b"yes".to_vec())));
    post.mail.finish().await;
    assert_eq!(may.available_permits(), 1, "a question whose asker waits no longer is given up here, too");
}

#[tokio::test]
async fn questions_over_the_limit_are_refused_at_once_and_others_wait_their_turn() {
    let (mut post, may) = (Post::settled(1 << 20), Arc::new(Semaphore::new(0)));
    let (handler, begun) = patient(&may);
    post.mail.answer("q", Answering::new(handler, 2, 1)).unwrap();
    (1..=4).for_each(|number| post.ask("q", number));
    post.ask("q", 1);
    let refused = [post.next_answer().await, post.next_answer().await];
    assert_eq!(refused, [(4, Err(Unanswered::Busy)), (1, Err(Unanswered::Busy))]);
    assert_eq!(begun.load(Ordering::Relaxed), 2);
    may.add_permits(3);
    for number in 1..=3 {
        assert_eq!(post.next_answer().await, (number, Ok(b"yes".to_vec())));
    }
    post.ask("q", 5);
    may.add_permits(1);
    assert_eq!(post.next_answer().await, (5, Ok(b"yes".to_vec())));
}

#[tokio::test]
async fn questions_that_wait_are_bounded_in_bytes() {
    let (mut post, may) = (Post::settled(1000), Arc::new(Semaphore::new(0)));
    post.mail.answer("q", Answering::new(patient(&may).0, 1, 1000)).unwrap();
    post.mail.take(&incoming(Kind::Ask, "q", 1, &[0; 5000]));
    post.ask("q", 2);
    assert_eq!(post.next_answer().await, (2, Err(Unanswered::Busy)), "one of any size is taken, and no more");
    may.add_permits(1);
    assert_eq!(post.next_answer().await.0, 1);
    (3..=9).for_each(|number| post.ask("q", number));
    (3..=9).for_each(|number| post.cancel(number));
    (13..=19).for_each(|number| post.ask("q", number));
    may.add_permits(7);
    for number in 13..=19 {
        assert_eq!(post.next_answer().await, (number, Ok(b"yes".to_vec())));
    }
}

#[tokio::test]
async fn a_cancelled_question_is_dropped_wherever_it_is() {
    let (mut post, may) = (Post::new(1 << 20), Arc::new(Semaphore::new(0)));
    post.ask("q", 1);
    post.ask("q", 2);
    post.cancel(1);
    let (handler, begun) = patient(&may);
    post.mail.answer("q", Answering::new(handler, 1, 10)).unwrap();
    post.mail.settle();
    (3..=4).for_each(|number| post.ask("q", number));
    while begun.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    post.cancel(2);
    post.cancel(3);
    post.cancel(77);
    may.add_permits(1);
    assert_eq!(post.next_answer().await, (4, Ok(b"yes".to_vec())));
    assert_eq!(begun.load(Ordering::Relaxed), 2, "number 3 never began");
}

#[tokio::test]
async fn a_panic_of_who_answers_is_told_whenever_it_comes() {
    let mut post = Post::settled(1 << 20);
    post.mail.answer("later", answering(|_| panic!("in the future"))).unwrap();
    let at_once: Handler = Box::new(|_| panic!("before there is a future"));
    post.mail.answer("at once", Answering::new(at_once, 1, 1)).unwrap();
    for topic in ["later", "at once", "at once"] {
        post.ask(topic, 1);
        let (_, answer) = post.next_answer().await;
        assert_eq!(answer, Err(Unanswered::Panicked));
    }
}

#[tokio::test]
async fn a_refusal_without_end_is_cut() {
    let mut post = Post::settled(1 << 20);
    let refuse = |_| Err(Unanswered::Refused("no ".repeat(1 << 20)));
    post.mail.answer("q", answering(refuse)).unwrap();
    post.ask("q", 1);
    assert_eq!(
        post.next_answer().await,
        (1, Err(Unanswered::Refused("no ".repeat(2000)[..4000].to_owned())))
    );
}

#[tokio::test]
async fn who_answers_can_use_the_mail_from_its_first_line_on() {
    let mut post = Post::settled(1 << 20);
    let mail = Arc::clone(&post.mail);
    let handler: Handler = Box::new(move |_| {
        let (mailbox, mail) = (mail.subscribe("a"), Arc::clone(&mail));
        Box::pin(async move {
            mail.take(&incoming(Kind::Message, "a", 5, b""));
            Ok(vec![u8::try_from(waiting(&mailbox).len()).unwrap()])
        })
    });
    post.mail.answer("q", Answering::new(handler, 1, 1)).unwrap();
    post.ask("q", 1);
    assert_eq!(post.next_answer().await, (1, Ok(vec![1])));
}

#[tokio::test]
async fn an_answer_that_waits_for_the_link_keeps_its_place() {
    let (ours, theirs) = link::pair().unwrap();
    let (_receiver, sender) = link::open_queueing(ours, 1000).unwrap();
    let (sent, keep) = link::open(theirs).unwrap();
    let mail = Arc::new(Mail::new(OWN, sender, 1 << 20));
    let mut post = Post { mail, sent, _halves: (_receiver, keep) };
    post.mail.settle();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let long: Handler = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(vec![0; 4 << 20]) })
    });
    post.mail.answer("t", Answering::new(long, 1, 100)).unwrap();
    (0..9).for_each(|number| post.ask("t", number));
    // All that can go on without a reader does.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    // One is being written, one waits.
    assert_eq!(begun.load(Ordering::Relaxed), 2);
    for number in 0..9 {
        assert_eq!(post.next_answer().await.0, number);
    }
}

#[tokio::test]
async fn what_can_be_answered_at_once_needs_no_task() {
    let (mut post, may) = (Post::settled(1 << 20), Arc::new(Semaphore::new(0)));
    post.mail.answer("prompt", answering(|_| Ok(vec![1]))).unwrap();
    post.mail.answer("slow", Answering::new(patient(&may).0, 64, 0)).unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    (1..=20).for_each(|number| post.ask("prompt", number));
    assert_eq!(tasks(), before);
    post.ask("slow", 21);
    assert_eq!(tasks(), before + 1);
    for number in 1..=20 {
        assert_eq!(post.next_answer().await, (number, Ok(vec![1])));
    }
    may.add_permits(1);
    assert_eq!(post.next_answer().await, (21, Ok(b"yes".to_vec())));
}

#[tokio::test]
async fn a_flood_of_questions_lets_others_have_their_turn() {
    let post = Post::settled(1 << 20);
    post.mail.answer("q", answering(|_| Ok(vec![1]))).unwrap();
    let other = tokio::spawn(async {});
    for number in 1..u64::from(TURN) {
        post.ask("q", number);
        post.mail.relieve().await;
    }
    assert!(!other.is_finished(), "a few questions are answered together");
    post.ask("q", u64::from(TURN));
    post.mail.relieve().await;
    assert!(other.is_finished());
}
