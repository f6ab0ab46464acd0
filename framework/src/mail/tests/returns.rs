//! What comes back to who sent or asked: answers, receipts, word of room.

use super::*;

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
