//! The mail of one process: which subscriptions get a message, which function answers a question, and who waits for
//! which answer. How a type travels is the messenger's affair.

mod answering;
mod audience;
mod awaited;
mod early;
mod finish;
mod letter;
mod losses;
mod made;
mod mailbox;
mod office;
mod tracer;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::bus::codec;
use crate::bus::control::{Receipt, Unanswered};
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::Sender;
use crate::bus::parcel::{Run, Unrolled};
use crate::bus::peer::Address;

use answering::Begin;
pub(crate) use answering::{Answering, Handler, Taken};
use audience::Audience;
use awaited::Awaited;
use early::Early;
pub(crate) use letter::{Arrived, Letter};
use losses::Losses;
use made::Made;
pub(crate) use mailbox::Mailbox;
use office::Office;
pub(crate) use tracer::{Tracer, now};

/// How many questions begin before everything else in this process has its turn.
const TURN: u32 = 32;

/// How a question ended.
type Answered = Result<Bytes, Unanswered>;

/// All that a process sends and receives beside what it has with its master.
pub(crate) struct Mail {
    office: Arc<Office>,
    /// The bytes that may wait for one subscription, or for all that are not there yet.
    limit: usize,
    state: Mutex<State>,
    answers: Awaited<Answered>,
    receipts: Awaited<Receipt>,
    made: Made,
    /// The questions that began since everything else had its turn.
    begun: AtomicU32,
    losses: Arc<Losses>,
    tracer: Tracer,
    /// Rises whenever there is room again somewhere.
    room: watch::Sender<u64>,
}

struct State {
    audiences: HashMap<Box<str>, Audience>,
    /// What came before this process said that it is ready, in its order.
    early: Option<Early>,
    /// Subscriptions for which much waits.
    crowded: Vec<Arc<Mailbox>>,
    /// Whether nothing comes any more.
    ended: bool,
}

impl Mail {
    pub(crate) fn new(address: Address, sender: Sender, limit: usize) -> Self {
        let early = Some(Early::default());
        let state = State { audiences: HashMap::new(), early, crowded: Vec::new(), ended: false };
        Self {
            office: Arc::new(Office { address, sender }),
            limit,
            state: Mutex::new(state),
            answers: Awaited::default(),
            receipts: Awaited::default(),
            made: Made::default(),
            begun: AtomicU32::new(0),
            losses: Arc::default(),
            tracer: Tracer::default(),
            room: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process, as the others see it.
    pub(crate) fn address(&self) -> Address {
        self.office.address
    }

    /// Who tells of what goes by.
    pub(crate) fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// What it knows of the messages and questions that it has made.
    pub(crate) fn made(&self) -> &Made {
        &self.made
    }

    /// What was lost of the mail that came.
    pub(crate) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Takes what arrived. A question may begin in the midst of this: the caller holds nothing that an author's function
    /// could want, and lets others have their turn by [`relieve`](Self::relieve).
    pub(crate) fn take(&self, frame: &Frame) {
        match frame.kind() {
            Kind::Message | Kind::Ask => {
                self.confirm_descriptors(frame);
                self.tracer.received(frame);
                self.open(frame, Begin::AtOnce);
            }
            Kind::Reply => self.answers.came(frame.number(), Ok(frame.shared_payload())),
            Kind::Refusal => {
                let unreadable = |error: crate::bus::CodecError| Unanswered::Codec(error.to_string());
                let problem = codec::decode("a refusal", frame.payload()).unwrap_or_else(unreadable);
                self.answers.came(frame.number(), Err(problem));
            }
            Kind::Cancel => self.give_up_question(frame.route().from, frame.number()),
            Kind::Receipt => {
                if let Ok(receipt) = codec::decode("a receipt", frame.payload()) {
                    self.receipts.came(frame.number(), receipt);
                }
            }
            _ => self.room.send_modify(|count| *count += 1),
        }
    }

    /// Takes messages on one topic.
    pub(crate) fn take_run(&self, run: Run) {
        self.tracer.received_run(&run);
        let mut state = self.state();
        let State { audiences, early, crowded, .. } = &mut *state;
        if audiences.get_mut(run.topic()).is_some_and(|audience| audience.deliver_run(&run, crowded)) {
            return;
        }
        let Some(early) = early else { return self.losses.note_unheard(run.topic(), run.count) };
        let mut unrolled = Unrolled::new(run);
        while let Some(frame) = unrolled.next_frame() {
            if early.keep(&frame, self.limit).is_err() {
                self.losses.note_unheard(frame.topic(), 1);
            }
        }
    }

    /// From here on their number is bounded by this process.
    fn confirm_descriptors(&self, frame: &Frame) {
        let count = frame.announced() as u64;
        if count > 0 {
            // If the master is gone, so are we.
            let _ = self.office.sender.push(&Frame::new(Kind::Unloaded, count, vec![]));
        }
    }

    /// Before this process is ready, what nobody cares for waits for somebody who will.
    fn open(&self, frame: &Frame, begin: Begin) {
        if frame.kind() != Kind::Ask {
            return self.deliver(frame);
        }
        if let Err(problem) = self.begin(frame, begin) {
            let (asker, why) = (frame.route().from, problem.why());
            self.tracer.answered(frame.topic(), frame.number(), asker, Err(&why));
            self.office.refuse(frame, problem);
        }
    }

    fn deliver(&self, frame: &Frame) {
        let mut state = self.state();
        let State { audiences, early, crowded, .. } = &mut *state;
        if audiences.get_mut(frame.topic()).is_some_and(|audience| audience.deliver(frame, crowded)) {
            return;
        }
        let kept = early.as_mut().is_some_and(|early| early.keep(frame, self.limit).is_ok());
        if !kept {
            self.losses.note_unheard(frame.topic(), 1);
        }
    }

    fn begin(&self, frame: &Frame, begin: Begin) -> Result<(), Unanswered> {
        let answering = {
            let mut state = self.state();
            let State { audiences, early, .. } = &mut *state;
            match (audiences.get(frame.topic()).and_then(|audience| audience.answering.as_ref()), early) {
                (Some(answering), _) => Arc::clone(answering),
                (None, Some(early)) => return early.keep(frame, self.limit),
                (None, None) => return Err(Unanswered::Nobody),
            }
        };
        self.begun.fetch_add(1, Ordering::Relaxed);
        answering.take(frame, &self.office, begin, self.limit)
    }

    /// From now on what nobody cares for is given up.
    pub(crate) fn settle(&self) {
        let early = self.state().early.take().unwrap_or_default();
        early.frames.iter().for_each(|frame| self.open(frame, Begin::Apart));
    }

    /// Follows a topic, from what came before this process was ready on.
    pub(crate) fn subscribe(&self, topic: &str) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::new(topic, self.limit, Arc::clone(&self.losses)));
        let mut state = self.state();
        let State { audiences, early, ended, .. } = &mut *state;
        audiences.entry(topic.into()).or_default().subscribe(&mailbox);
        let waiting = early.as_mut().map(|early| early.claim(topic, Kind::Message)).unwrap_or_default();
        for frame in &waiting {
            let _ = mailbox.put(frame);
        }
        ended.then(|| mailbox.end());
        mailbox
    }

    /// Waits a moment for those for whom much waits, and lets others have their turn when many questions began. Cancel safe.
    pub(crate) async fn relieve(&self) {
        if self.begun.load(Ordering::Relaxed) >= TURN {
            self.begun.store(0, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
        let crowded = std::mem::take(&mut self.state().crowded);
        for mailbox in crowded {
            mailbox.relieve().await;
        }
    }

    /// Lets `answering` answer the questions on a topic, from those that came before this process was ready on.
    pub(crate) fn answer(&self, topic: &str, answering: Answering) -> Result<Arc<Answering>, Taken> {
        let mut state = self.state();
        let State { audiences, early, .. } = &mut *state;
        let audience = audiences.entry(topic.into()).or_default();
        if audience.answering.is_some() {
            return Err(Taken);
        }
        let answering = Arc::new(answering);
        audience.answering = Some(Arc::clone(&answering));
        let waiting = early.as_mut().map(|early| early.claim(topic, Kind::Ask)).unwrap_or_default();
        drop(state);
        waiting.iter().for_each(|frame| self.open(frame, Begin::Apart));
        Ok(answering)
    }

    /// Where the answer to question `number` will arrive; it has to be forgotten when nobody waits any more.
    pub(crate) fn await_answer(&self, number: u64) -> oneshot::Receiver<Answered> {
        self.answers.expect(number)
    }

    /// Nobody waits for the answer to question `number` any more; whether it was still to come.
    pub(crate) fn forget_answer(&self, number: u64) -> bool {
        self.answers.forget(number)
    }

    /// Where the receipt for message `number` will arrive.
    pub(crate) fn await_receipt(&self, number: u64) -> oneshot::Receiver<Receipt> {
        self.receipts.expect(number)
    }

    /// Nobody waits for the receipt for message `number` any more.
    pub(crate) fn forget_receipt(&self, number: u64) {
        self.receipts.forget(number);
    }

    /// Tells when there is room again somewhere, from now on.
    pub(crate) fn room(&self) -> watch::Receiver<u64> {
        self.room.subscribe()
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let topics: Vec<&str> = state.audiences.keys().map(|topic| &**topic).collect();
        f.debug_struct("Mail")
            .field("address", &self.office.address)
            .field("topics", &topics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
