//! The mail of one process, over a link whose other end is the test's.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;
use crate::bus::control::Pulse;
use crate::bus::head::Route;
use crate::bus::link::{self, Receiver};
use crate::bus::peer::Form;

const OWN: Address = Address { pid: 7, ..Address::AGENT };

/// The mail of the agent, and what it sends.
struct Post {
    mail: Arc<Mail>,
    sent: Receiver,
    /// The half that nobody uses keeps the other open.
    _halves: (Receiver, Sender),
}

impl Post {
    fn new(limit: usize) -> Self {
        let (ours, theirs) = link::pair().unwrap();
        let (receiver, sender) = link::open(ours).unwrap();
        let (sent, keep) = link::open(theirs).unwrap();
        Self { mail: Arc::new(Mail::new(OWN, sender, limit)), sent, _halves: (receiver, keep) }
    }

    fn settled(limit: usize) -> Self {
        let post = Self::new(limit);
        post.mail.settle();
        post
    }

    /// The next frame that it sends.
    async fn next(&mut self) -> Frame {
        tokio::time::timeout(Duration::from_secs(10), self.sent.next()).await.unwrap().unwrap().unwrap()
    }

    /// The next answer: its number, and the answer or the problem.
    async fn next_answer(&mut self) -> (u64, Result<Vec<u8>, Unanswered>) {
        let frame = self.next().await;
        assert_eq!((frame.route().from, frame.route().to.form), (OWN, Form::Worker), "{frame:?}");
        let outcome = match frame.kind() {
            Kind::Reply => Ok(frame.payload().to_vec()),
            kind => {
                assert_eq!(kind, Kind::Refusal);
                Err(codec::decode("a refusal", frame.payload()).unwrap())
            }
        };
        (frame.number(), outcome)
    }

    /// The messages that nobody cared for.
    fn unheard(&self) -> u64 {
        self.mail.losses().count(Pulse::default()).unheard
    }

    fn message(&self, topic: &str, number: u64) {
        self.mail.take(&incoming(Kind::Message, topic, number, &[0; 100]));
    }

    fn ask(&self, topic: &str, number: u64) {
        self.mail.take(&incoming(Kind::Ask, topic, number, &[0; 100]));
    }

    fn cancel(&self, number: u64) {
        self.mail.take(&incoming(Kind::Cancel, "", number, &[]));
    }
}

fn incoming(kind: Kind, topic: &str, number: u64, payload: &[u8]) -> Frame {
    let from = Address { pid: 9, ..Address::to(Form::Worker) };
    Frame::about(kind, topic, number, payload).on(Route { to: OWN, from, time: 0 })
}

/// All that waits in a mailbox: numbers, and how many were missed.
fn waiting(mailbox: &Mailbox) -> Vec<Result<u64, u64>> {
    use futures_util::FutureExt as _;
    let next = || mailbox.next().now_or_never();
    std::iter::from_fn(next)
        .map(|arrived| match arrived {
            Arrived::Letter(letter) => Ok(letter.number),
            Arrived::Run(run) => panic!("{run:?}"),
            Arrived::Missed(count) => Err(count),
            Arrived::End => panic!("nobody said so"),
        })
        .collect()
}

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

fn answering(answer: impl Fn(u64) -> Result<Vec<u8>, Unanswered> + Send + Sync + 'static) -> Answering {
    let answer = Arc::new(answer);
    let handler: Handler = Box::new(move |letter| {
        let answer = Arc::clone(&answer);
        Box::pin(async move { answer(letter.number) })
    });
    Answering::new(handler, 64, 1024)
}

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

#[tokio::test]
async fn a_topic_is_answered_by_one_function() {
    let mut post = Post::settled(1 << 20);
    post.mail.answer("q", answering(|_| Ok(vec![1]))).unwrap();
    assert!(post.mail.answer("q", answering(|_| Ok(vec![2]))).is_err());
    post.ask("q", 1);
    assert_eq!(post.next_answer().await, (1, Ok(vec![1])));
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
async fn answers_and_receipts_reach_who_waits_and_nobody_else() {
    let post = Post::settled(1 << 20);
    let numbers = [post.mail.made().next_number(), post.mail.made().next_number()];
    assert_ne!(numbers[0], numbers[1]);
    let (first, second) = (post.mail.await_answer(1), post.mail.await_answer(2));
    post.mail.take(&incoming(Kind::Reply, "", 77, b"?"));
    post.mail.take(&incoming(Kind::Reply, "", 2, b"two"));
    let body = codec::encode("a refusal", &Unanswered::Gone).unwrap();
    post.mail.take(&Frame::new(Kind::Refusal, 1, body));
    post.mail.take(&incoming(Kind::Reply, "", 1, b"too late"));
    assert_eq!(second.await.unwrap(), Ok(Bytes::from_static(b"two")));
    assert_eq!(first.await.unwrap(), Err(Unanswered::Gone));
    assert!(!post.mail.forget_answer(1));
    let third = post.mail.await_answer(3);
    post.mail.take(&Frame::new(Kind::Refusal, 3, b"garbage".to_vec()));
    assert!(matches!(third.await.unwrap(), Err(Unanswered::Codec(_))));
    drop(post.mail.await_answer(4));
    assert!(post.mail.forget_answer(4));

    let receipt = post.mail.await_receipt(5);
    let body = codec::encode("a receipt", &Receipt { queued: 3, ..Receipt::default() }).unwrap();
    post.mail.take(&Frame::new(Kind::Receipt, 5, body));
    assert_eq!(receipt.await.unwrap().queued, 3);
    drop(post.mail.await_receipt(6));
    post.mail.forget_receipt(6);
    assert!(post.mail.answers.is_empty() && post.mail.receipts.is_empty());
}

#[tokio::test]
async fn room_is_told_to_all_who_wait_from_now_on() {
    let post = Post::settled(1 << 20);
    let mut room = post.mail.room();
    assert!(!room.has_changed().unwrap());
    post.mail.take(&Frame::new(Kind::Room, 0, vec![]));
    room.changed().await.unwrap();
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
