//! The mail of one process, over a link whose other end is the test's.

mod early;
mod questions;
mod returns;
mod subscriptions;

use std::time::Duration;

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

fn answering(answer: impl Fn(u64) -> Result<Vec<u8>, Unanswered> + Send + Sync + 'static) -> Answering {
    let answer = Arc::new(answer);
    let handler: Handler = Box::new(move |letter| {
        let answer = Arc::clone(&answer);
        Box::pin(async move { answer(letter.number) })
    });
    Answering::new(handler, 64, 1024)
}
