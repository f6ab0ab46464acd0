//! Two ends of a link in one process: what is sent, what waits, and who dies.

use std::io::{IoSlice, Read, Write};
use std::os::fd::AsFd as _;

use super::super::frame::{Frame, Kind};
use super::super::head::HEAD;
use super::super::socket::transmit;
use super::*;

#[tokio::test]
async fn frames_and_descriptors_cross_a_link_in_order() {
    let (ours, theirs) = pair().unwrap();
    let (_, sender) = open(ours).unwrap();
    let (mut receiver, _) = open(theirs).unwrap();
    let (pipe_out, pipe_in) = std::io::pipe().unwrap();
    let pipe_in: Arc<OwnedFd> = Arc::new(pipe_in.into());

    sender.push(&Frame::about(Kind::State, "big", 1, &vec![7; 3 << 20])).unwrap();
    sender.push(&Frame::new(Kind::Welcome, 2, vec![]).with_descriptors(vec![pipe_in])).unwrap();
    sender.push(&Frame::new(Kind::Ready, 3, vec![])).unwrap();

    assert_eq!(receiver.next().await.unwrap().unwrap().payload().len(), 3 << 20);
    let carrier = receiver.next().await.unwrap().unwrap();
    assert_eq!(receiver.next().await.unwrap().unwrap().number(), 3);
    let inherited = carrier.descriptors()[0].try_clone().unwrap();
    drop(carrier);
    std::fs::File::from(inherited).write_all(b"x").unwrap();
    let mut byte = [0];
    std::fs::File::from(OwnedFd::from(pipe_out)).read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

#[tokio::test]
async fn what_was_queued_is_written_before_the_end_of_file() {
    let (ours, theirs) = pair().unwrap();
    let (receiver_of_ours, sender) = open(ours).unwrap();
    let (mut receiver, _keep) = open(theirs).unwrap();
    sender.push(&Frame::new(Kind::Ready, 1, vec![])).unwrap();
    drop((sender, receiver_of_ours));
    assert_eq!(receiver.next().await.unwrap().unwrap().number(), 1);
    assert!(receiver.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_sender_waits_while_the_receiver_does_not_read() {
    let (ours, theirs) = pair().unwrap();
    let (_, sender) = open(ours).unwrap();
    let message = || Frame::new(Kind::Pulse, 0, vec![0; 1 << 20]);
    while sender.push(&message()).is_ok() {}
    assert!(sender.waiting() <= LIMIT + (1 << 20));
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(message()).await }
    });
    let (mut receiver, _keep) = open(theirs).unwrap();
    while !waiting.is_finished() {
        receiver.next().await.unwrap().unwrap();
    }
    waiting.await.unwrap().unwrap();
}

/// Lets all other tasks have their turn.
async fn turns() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_sends_too_much_for_the_room_there_is_hears_of_more_when_there_is_more() {
    let (ours, theirs) = pair().unwrap();
    let (_, sender) = open(ours).unwrap();
    let message = |length: usize| Frame::new(Kind::Pulse, 0, vec![0; length]);
    // Until the socket takes no more, and the link's task has found that out.
    while sender.waiting() == 0 {
        sender.push(&message(100 << 10)).unwrap();
        turns().await;
    }
    assert!(sender.waiting() < LIMIT / 2 && sender.push(&message(LIMIT)).is_err());
    let room = tokio::spawn({
        let sender = sender.clone();
        async move { sender.roomy().await }
    });
    turns().await;
    assert!(!room.is_finished(), "nothing was taken");
    let (mut receiver, _keep) = open(theirs).unwrap();
    while !room.is_finished() {
        receiver.next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn frames_of_every_size_cross_in_order_and_descriptors_with_theirs() {
    let (ours, theirs) = pair().unwrap();
    let (_, sender) = open_queueing(ours, usize::MAX >> 1).unwrap();
    let (mut receiver, _keep) = open(theirs).unwrap();
    let null: Arc<OwnedFd> = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
    let carried = |number: usize| if number % 7 == 3 { number % 5 } else { 0 };
    let size = |number: usize| [10, 5000, 70_000, 1, 300_000][number % 5];
    for number in 0..600 {
        let kind = if carried(number) > 0 { Kind::Welcome } else { Kind::Publish };
        let frame = Frame::new(kind, number as u64, vec![1; size(number)]);
        sender.push(&frame.with_descriptors(vec![Arc::clone(&null); carried(number)])).unwrap();
    }
    for number in 0..600 {
        let frame = receiver.next().await.unwrap().unwrap();
        let seen = (frame.number(), frame.payload().len(), frame.descriptors().len());
        assert_eq!(seen, (number as u64, size(number), carried(number)));
    }
}

#[tokio::test]
async fn the_largest_frame_crosses_and_a_larger_one_is_refused() {
    let (ours, theirs) = pair().unwrap();
    let (_, sender) = open(ours).unwrap();
    let (mut receiver, _keep) = open(theirs).unwrap();
    sender.push(&Frame::new(Kind::Pulse, 1, vec![7; MAX_LENGTH])).unwrap();
    assert_eq!(receiver.next().await.unwrap().unwrap().payload().len(), MAX_LENGTH);
    sender.push(&Frame::new(Kind::Pulse, 2, vec![7; MAX_LENGTH + 1])).unwrap();
    let error = receiver.next().await.unwrap_err().to_string();
    assert!(error.contains("67108865 bytes is over the limit of 67108864"), "{error}");
}

#[tokio::test]
async fn a_sender_that_dies_within_a_frame_is_no_quiet_end() {
    let (ours, theirs) = pair().unwrap();
    let (mut receiver, _keep) = open(theirs).unwrap();
    let mut ours = std::os::unix::net::UnixStream::from(ours);
    let frame = Frame::about(Kind::State, "big", 1, &[7; 1000]);
    ours.write_all(&[&frame.head()[..], frame.content()].concat()).unwrap();
    ours.write_all(&frame.head()[..20]).unwrap();
    assert_eq!(receiver.next().await.unwrap().unwrap().number(), 1);
    drop(ours);
    assert!(matches!(receiver.next().await, Err(LinkError::CutShort)));
}

#[tokio::test]
async fn descriptors_that_no_frame_announces_are_an_error_and_closed() {
    let (ours, theirs) = pair().unwrap();
    let (mut receiver, keep) = open(theirs).unwrap();
    let (mut pipe_out, pipe_in) = std::io::pipe().unwrap();
    let frame = Frame::new(Kind::Pulse, 1, vec![]);
    let sent = transmit(ours.as_fd(), &[IoSlice::new(&frame.head())], &[pipe_in.as_fd()]).unwrap();
    assert_eq!(sent, HEAD);
    drop(pipe_in);
    assert_eq!(receiver.next().await.unwrap().unwrap().number(), 1);
    let error = receiver.next().await.unwrap_err();
    assert!(matches!(error, LinkError::Frame(FrameError::StrayDescriptors(1))), "{error}");
    drop((receiver, keep));
    // The other end of the pipe is closed, now that nobody holds it.
    assert_eq!(pipe_out.read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn a_dead_receiver_fails_the_sender() {
    let (ours, theirs) = pair().unwrap();
    let (_, sender) = open(ours).unwrap();
    drop(theirs);
    for number in 0..2 {
        assert!(matches!(sender.push(&Frame::new(Kind::Ready, number, vec![])), Err(SendError::Gone)));
        sender.flush().await;
    }
}

#[tokio::test]
async fn what_is_written_at_once_in_part_comes_first_and_whole_whoever_pushes_meanwhile() {
    const COUNT: u64 = 200;
    let (ours, theirs) = pair().unwrap();
    let (_, sender) = open_queueing(ours, usize::MAX >> 1).unwrap();
    let null: Arc<OwnedFd> = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
    let carried = |number: u64| if number.is_multiple_of(7) { 3 } else { 0 };
    let size = move |number: u64| if number == 0 { 3 << 20 } else { 100 * number as usize };
    let frame = move |number: u64| {
        let frame = Frame::new(Kind::Welcome, number, vec![number as u8; size(number)]);
        frame.with_descriptors(vec![Arc::clone(&null); carried(number)])
    };
    sender.push(&frame(0)).unwrap();
    // Nobody but this push has written, for no other task had its turn.
    let begun = rustix::io::ioctl_fionread(&theirs).unwrap();
    assert!(0 < begun && begun < 3 << 20, "{begun} bytes were written at once");
    let pushing =
        std::thread::spawn(move || (1..COUNT).for_each(|number| sender.push(&frame(number)).unwrap()));
    let (mut receiver, _keep) = open(theirs).unwrap();
    for number in 0..COUNT {
        let frame = receiver.next().await.unwrap().unwrap();
        assert_eq!((frame.number(), frame.descriptors().len()), (number, carried(number)));
        assert!(frame.payload() == vec![number as u8; size(number)], "frame {number} is another");
    }
    pushing.join().unwrap();
}
