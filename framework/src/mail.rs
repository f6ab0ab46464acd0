//! The mail of one process: which subscriptions get a message, which function answers a question, and who waits for
//! which answer. How a type travels is the messenger's affair.

mod answering;
mod early;
mod finish;
mod mailbox;
mod tracer;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::bus::codec;
use crate::bus::control::{Receipt, Unanswered};
use crate::bus::decoder::{Run, Unrolled};
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::Sender;
use crate::bus::peer::Address;

pub(crate) use answering::{Answering, Handler};
use early::Early;
pub(crate) use mailbox::{Arrived, Letter, Mailbox};
pub(crate) use tracer::{Tracer, now};

/// How a question ended.
type Answered = Result<Bytes, Unanswered>;

/// All that a process sends and receives beside what it has with its master.
pub(crate) struct Mail {
    /// This process, as the others see it.
    address: Address,
    sender: Sender,
    /// The bytes that may wait for one subscription, or for all that are not there yet.
    limit: usize,
    state: Mutex<State>,
    last_number: AtomicU64,
    tracer: Tracer,
    /// Rises whenever there is room again somewhere.
    room: watch::Sender<u64>,
}

struct State {
    desks: HashMap<Box<str>, Desk>,
    /// What came before this process said that it is ready, in its order.
    early: Option<Early>,
    calls: HashMap<u64, oneshot::Sender<Answered>>,
    receipts: HashMap<u64, oneshot::Sender<Receipt>>,
    /// Messages on topics that nobody here follows.
    unheard: u64,
    /// Subscriptions for which much waits.
    crowded: Vec<Arc<Mailbox>>,
}

/// Who cares for a topic.
#[derive(Default)]
struct Desk {
    subscriptions: Vec<Weak<Mailbox>>,
    answering: Option<Arc<Answering>>,
}

/// The topic has an answering function already.
#[derive(Debug)]
pub(crate) struct Taken;

impl Mail {
    pub(crate) fn new(address: Address, sender: Sender, limit: usize) -> Self {
        let state = State {
            desks: HashMap::new(),
            early: Some(Early::default()),
            calls: HashMap::new(),
            receipts: HashMap::new(),
            unheard: 0,
            crowded: Vec::new(),
        };
        Self {
            address,
            sender,
            limit,
            state: Mutex::new(state),
            last_number: AtomicU64::new(0),
            tracer: Tracer::default(),
            room: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process, as the others see it.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Who tells of what goes by.
    pub(crate) fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// A number that no other message or question of this process has.
    pub(crate) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Messages on topics that nobody here follows.
    pub(crate) fn unheard(&self) -> u64 {
        self.state().unheard
    }

    /// Takes what arrived.
    pub(crate) fn take(&self, frame: &Frame) {
        match frame.kind() {
            Kind::Message | Kind::Ask => {
                self.confirm_descriptors(frame);
                self.tracer.received(frame);
                self.open(frame);
            }
            Kind::Reply => self.answered(frame.number(), Ok(frame.shared_payload())),
            Kind::Refusal => {
                let unreadable = |error: crate::bus::CodecError| Unanswered::Codec(error.to_string());
                let problem = codec::decode("a refusal", frame.payload()).unwrap_or_else(unreadable);
                self.answered(frame.number(), Err(problem));
            }
            Kind::Cancel => {
                let asker = frame.route().from.pid;
                let mut state = self.state();
                if let Some(early) = &mut state.early {
                    early.forget(asker, frame.number());
                }
                let answering = state.desks.values().filter_map(|desk| desk.answering.as_ref());
                answering.for_each(|answering| answering.cancel(asker, frame.number()));
            }
            Kind::Receipt => {
                let waiting = self.state().receipts.remove(&frame.number());
                if let (Some(waiting), Ok(receipt)) = (waiting, codec::decode("a receipt", frame.payload())) {
                    let _ = waiting.send(receipt);
                }
            }
            _ => self.room.send_modify(|count| *count += 1),
        }
    }

    /// Takes messages on one topic.
    pub(crate) fn take_run(&self, run: Run) {
        self.tracer.received_run(&run);
        let mut state = self.state();
        let State { desks, early, unheard, crowded, .. } = &mut *state;
        let count = run.count;
        if desks.get_mut(run.topic()).is_some_and(|desk| desk.deliver_run(&run, crowded)) {
            return;
        }
        let Some(early) = early else {
            *unheard += count;
            return;
        };
        let mut unrolled = Unrolled::new(run);
        while let Some(frame) = unrolled.next_frame() {
            *unheard += u64::from(early.keep(&frame, self.limit).is_err());
        }
    }

    /// From here on their number is bounded by this process.
    fn confirm_descriptors(&self, frame: &Frame) {
        let count = frame.announced() as u64;
        if count > 0 {
            // If the master is gone, so are we.
            let _ = self.sender.push(Frame::new(Kind::Unloaded, count, vec![]));
        }
    }

    fn answered(&self, number: u64, answer: Answered) {
        if let Some(waiting) = self.state().calls.remove(&number) {
            let _ = waiting.send(answer);
        }
    }

    /// A message or a question. Before this process is ready, what nobody cares for waits for somebody who will.
    fn open(&self, frame: &Frame) {
        let mut state = self.state();
        let limit = self.limit;
        let State { desks, early, unheard, crowded, .. } = &mut *state;
        let is_question = frame.kind() == Kind::Ask;
        let taken = desks.get_mut(frame.topic()).and_then(|desk| match &desk.answering {
            Some(answering) if is_question => Some(answering.take(frame, &self.sender, self.address, limit)),
            _ => (!is_question && desk.deliver(frame, crowded)).then_some(Ok(())),
        });
        let problem = match (taken, early) {
            (Some(taken), _) => taken.err(),
            (None, Some(early)) => early.keep(frame, limit).err(),
            (None, None) => Some(Unanswered::Nobody),
        };
        if !is_question {
            *unheard += u64::from(problem.is_some());
        } else if let Some(problem) = problem {
            drop(state);
            answering::refuse(frame, &problem, &self.sender, self.address);
        }
    }

    /// From now on what nobody cares for is given up.
    pub(crate) fn settle(&self) {
        let early = self.state().early.take().unwrap_or_default();
        early.frames.iter().for_each(|frame| self.open(frame));
    }

    /// Follows a topic, from what came before this process was ready on.
    pub(crate) fn subscribe(&self, topic: &str) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::new(self.limit));
        let mut state = self.state();
        let State { desks, early, .. } = &mut *state;
        let desk = desks.entry(topic.into()).or_default();
        // On a topic of which nothing comes, nothing else would remove those that were dropped.
        desk.subscriptions.retain(|subscription| subscription.strong_count() > 0);
        desk.subscriptions.push(Arc::downgrade(&mailbox));
        let waiting = early.as_mut().map(|early| early.claim(topic, Kind::Message)).unwrap_or_default();
        for frame in &waiting {
            let _ = mailbox.put(frame);
        }
        mailbox
    }

    fn crowded(&self) -> Vec<Arc<Mailbox>> {
        std::mem::take(&mut self.state().crowded)
    }

    /// Waits a moment for those for whom much waits. Cancel safe.
    pub(crate) async fn relieve(&self) {
        for mailbox in self.crowded() {
            mailbox.relieve().await;
        }
    }

    /// Lets `answering` answer the questions on a topic, from those that came before this process was ready on.
    pub(crate) fn answer(&self, topic: &str, answering: Answering) -> Result<(), Taken> {
        let mut state = self.state();
        let State { desks, early, .. } = &mut *state;
        let desk = desks.entry(topic.into()).or_default();
        if desk.answering.is_some() {
            return Err(Taken);
        }
        desk.answering = Some(Arc::new(answering));
        let waiting = early.as_mut().map(|early| early.claim(topic, Kind::Ask)).unwrap_or_default();
        drop(state);
        waiting.iter().for_each(|frame| self.open(frame));
        Ok(())
    }

    /// Where the answer to question `number` will arrive; it has to be dropped when nobody waits any more.
    pub(crate) fn await_answer(&self, number: u64) -> oneshot::Receiver<Answered> {
        let (answer, answered) = oneshot::channel();
        self.state().calls.insert(number, answer);
        answered
    }

    /// Nobody waits for the answer to question `number` any more; whether it was still to come.
    pub(crate) fn forget_answer(&self, number: u64) -> bool {
        self.state().calls.remove(&number).is_some()
    }

    /// Where the receipt for message `number` will arrive.
    pub(crate) fn await_receipt(&self, number: u64) -> oneshot::Receiver<Receipt> {
        let (receipt, received) = oneshot::channel();
        self.state().receipts.insert(number, receipt);
        received
    }

    /// Nobody waits for the receipt for message `number` any more.
    pub(crate) fn forget_receipt(&self, number: u64) {
        self.state().receipts.remove(&number);
    }

    /// Tells when there is room again somewhere, from now on.
    pub(crate) fn room(&self) -> watch::Receiver<u64> {
        self.room.subscribe()
    }
}

impl Desk {
    /// Whether anybody follows the topic.
    fn deliver(&mut self, frame: &Frame, crowded: &mut Vec<Arc<Mailbox>>) -> bool {
        self.put(crowded, |mailbox| mailbox.put(frame))
    }

    fn deliver_run(&mut self, run: &Run, crowded: &mut Vec<Arc<Mailbox>>) -> bool {
        self.put(crowded, |mailbox| mailbox.put_run(run.clone()))
    }

    fn put(&mut self, crowded: &mut Vec<Arc<Mailbox>>, put: impl Fn(&Mailbox) -> bool) -> bool {
        self.subscriptions.retain(|subscription| subscription.strong_count() > 0);
        let mut heard = false;
        for mailbox in self.subscriptions.iter().filter_map(Weak::upgrade) {
            heard = true;
            if put(&mailbox) {
                crowded.push(mailbox);
            }
        }
        heard
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let topics: Vec<&str> = state.desks.keys().map(|topic| &**topic).collect();
        f.debug_struct("Mail")
            .field("address", &self.address)
            .field("topics", &topics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
