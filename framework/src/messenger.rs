//! What agent and worker have in common: talking to the other processes in messages, and in questions with answers, as
//! the types that authors give them; and hearing of the cluster (`observing`).

mod answers;
mod asked;
mod asking;
mod attachments;
mod observing;
mod outcome;
mod sending;
mod subscription;

use crate::bus::control::Receipt;
use crate::bus::frame::{Frame, Kind, MAX_ATTACHMENTS};
use crate::bus::head::Route;
use crate::bus::peer::{Address, Form, Peer, UnknownGroup};
use crate::bus::{Topic, codec, topic};
use crate::mail::{Mail, now};
use crate::process::{MasterGone, Process, Tenure};

pub use answers::{AnswerError, AnswerLimits};
pub use asked::Asked;
pub use asking::{AskError, Request};
pub use attachments::{Attach, Attachment, TakeError};
pub use observing::MembersError;
pub use outcome::{Delivery, Errand, SendError};
pub use sending::{MessageId, Sending};
pub use subscription::{ReceiveError, Received, Subscription, Unreadable};

/// A process's way to all others, and its ear for the cluster. [`Agent`](crate::Agent) and [`Worker`](crate::Worker) are
/// one, too: what can be called here can be called on them. Clones are the same.
#[derive(Debug, Clone)]
pub struct Messenger {
    process: Process,
    tenure: Tenure,
}

impl Messenger {
    pub(crate) fn new(process: Process) -> Self {
        Self { process, tenure: Tenure::default() }
    }

    /// The same, for a run of a duty.
    pub(crate) fn under(&self, tenure: Tenure) -> Self {
        Self { process: self.process.clone(), tenure }
    }

    /// With what ends that which is registered here.
    pub(crate) fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// Sends a message to every process of the cluster but the master, this one included. Returns when it is on its
    /// way; who is too slow to take it misses it, and that is counted in `status`. Cancel safe: a cancelled call has
    /// sent nothing.
    ///
    /// # Errors
    /// When the message cannot be sent at all.
    pub async fn broadcast<T: Topic>(&self, message: &T) -> Result<(), SendError> {
        self.post(Address::to(Form::Everyone), message).await
    }

    /// Like [`broadcast`](Self::broadcast), but not to this process.
    ///
    /// # Errors
    /// When the message cannot be sent at all.
    pub async fn broadcast_others<T: Topic>(&self, message: &T) -> Result<(), SendError> {
        self.post(Address::to(Form::Others), message).await
    }

    /// Like [`broadcast`](Self::broadcast), but to the workers of `group` alone.
    ///
    /// # Errors
    /// When there is no such group, or the message cannot be sent at all.
    pub async fn broadcast_to<T: Topic>(&self, group: &str, message: &T) -> Result<(), SendError> {
        self.post(self.all_of(group)?, message).await
    }

    /// Like [`broadcast`](Self::broadcast), but waits until it is known who gets the message.
    ///
    /// # Errors
    /// When the message cannot be sent at all.
    pub async fn broadcast_confirmed<T: Topic>(&self, message: &T) -> Result<Delivery, SendError> {
        self.post_to_many(Address::to(Form::Everyone), message).await
    }

    /// Like [`broadcast_confirmed`](Self::broadcast_confirmed), but not to this process.
    ///
    /// # Errors
    /// When the message cannot be sent at all.
    pub async fn broadcast_others_confirmed<T: Topic>(&self, message: &T) -> Result<Delivery, SendError> {
        self.post_to_many(Address::to(Form::Others), message).await
    }

    /// Like [`broadcast_confirmed`](Self::broadcast_confirmed), but to the workers of `group` alone.
    ///
    /// # Errors
    /// When there is no such group, or the message cannot be sent at all.
    pub async fn broadcast_to_confirmed<T: Topic>(
        &self,
        group: &str,
        message: &T,
    ) -> Result<Delivery, SendError> {
        self.post_to_many(self.all_of(group)?, message).await
    }

    /// Sends a message to one process, and returns when it is queued there; waits while too much is. While the process
    /// is being replaced, the message waits for the next one. What was written to the socket of a process that dies before it
    /// reads it is lost with it, and who needs to know [`ask`](Self::ask)s. Cancel safe, but the message may have been sent.
    ///
    /// # Errors
    /// When there is no such process, or the message cannot be sent at all.
    pub async fn send_to<T: Topic>(&self, to: &Peer, message: &T) -> Result<(), SendError> {
        self.send_with(to, message, []).await
    }

    /// Like [`send_to`](Self::send_to), with sockets and files: at most 16, which the receiver
    /// [takes out](Received::take). They count as waiting, of which there is room for few, until the receiver's process
    /// has them. What is not sent is closed, with the error, too: who wants it back then keeps a clone of the [`Attachment`]
    /// and has it [taken back](Attachment::take_back).
    ///
    /// # Errors
    /// When there is no such process, there are too many attachments, or the message cannot be sent at all.
    pub async fn send_with<T: Topic>(
        &self,
        to: &Peer,
        message: &T,
        attachments: impl IntoIterator<Item = Attachment>,
    ) -> Result<(), SendError> {
        let attachments: Vec<Attachment> = attachments.into_iter().collect();
        let mut room = self.process.mail().room();
        loop {
            room.mark_unchanged();
            match self.try_send_with(to, message, attachments.iter().cloned()).await {
                Err(SendError::Full(_)) if room.changed().await.is_ok() => {}
                other => return other,
            }
        }
    }

    /// Like [`send_to`](Self::send_to), but does not wait while too much waits for the receiver.
    ///
    /// # Errors
    /// When too much waits for the receiver, there is no such process, or the message cannot be sent at all.
    pub async fn try_send_to<T: Topic>(&self, to: &Peer, message: &T) -> Result<(), SendError> {
        self.try_send_with(to, message, []).await
    }

    /// Like [`send_with`](Self::send_with), but does not wait while too much waits for the receiver.
    ///
    /// # Errors
    /// When too much waits for the receiver, or for the other reasons of [`send_with`](Self::send_with).
    pub async fn try_send_with<T: Topic>(
        &self,
        to: &Peer,
        message: &T,
        attachments: impl IntoIterator<Item = Attachment>,
    ) -> Result<(), SendError> {
        let descriptors: Vec<_> = attachments.into_iter().map(Attachment::into_descriptor).collect();
        if descriptors.len() > MAX_ATTACHMENTS {
            return Err(SendError::TooManyAttachments { topic: T::NAME, count: descriptors.len() });
        }
        let frame = self.frame(Kind::Message, self.process.roll().address(to)?, message)?;
        let receipt = self.post_confirmed::<T>(frame.with_descriptors(descriptors)).await?;
        match receipt.nobody {
            Some(problem) => Err(SendError::NoSuchPeer(to.clone(), problem)),
            None if receipt.queued == 0 => Err(SendError::Full(Errand { peer: to.clone(), topic: T::NAME })),
            None => Ok(()),
        }
    }

    /// [`send_to`](Self::send_to) some worker of `group`.
    ///
    /// # Errors
    /// See [`send_to`](Self::send_to).
    pub async fn send_random<T: Topic>(&self, group: &str, message: &T) -> Result<(), SendError> {
        self.send_to(&Peer::any_of(group), message).await
    }

    /// [`send_to`](Self::send_to) the worker of `group` whose turn it is.
    ///
    /// # Errors
    /// See [`send_to`](Self::send_to).
    pub async fn send_next<T: Topic>(&self, group: &str, message: &T) -> Result<(), SendError> {
        self.send_to(&Peer::next_of(group), message).await
    }

    /// This very handle, for those who have an agent or a worker in their hands.
    #[must_use]
    pub fn messenger(&self) -> &Self {
        self
    }

    fn all_of(&self, group: &str) -> Result<Address, UnknownGroup> {
        Ok(Address { group: self.process.roll().group(group)?, ..Address::to(Form::Group) })
    }

    async fn post<T: Topic>(&self, to: Address, message: &T) -> Result<(), SendError> {
        // Who sends in a loop lets others have their turn.
        tokio::task::consume_budget().await;
        let frame = self.frame(Kind::Message, to, message)?;
        self.process.mail().tracer().sent(&frame);
        // Who need not wait should not pay for it, not even by moving the frame to where it would wait.
        if self.process.send_at_once(&frame)? {
            return Ok(());
        }
        Ok(self.process.send(frame).await?)
    }

    async fn post_to_many<T: Topic>(&self, to: Address, message: &T) -> Result<Delivery, SendError> {
        let frame = self.frame(Kind::Message, to, message)?;
        Ok(Delivery::of(self.post_confirmed::<T>(frame).await?, self.process.roll()))
    }

    async fn post_confirmed<T: Topic>(&self, frame: Frame) -> Result<Receipt, SendError> {
        let (topic, number, to) = (T::NAME, frame.number(), frame.route().to);
        let receipt = self.process.mail().await_receipt(number);
        let _forgotten = Unawaited { mail: self.process.mail(), number };
        self.process.mail().tracer().sent(&frame);
        self.process.send(frame.with_receipt()).await?;
        let receipt = receipt.await.map_err(|_| MasterGone)?;
        self.trace_untaken(topic, number, to, &receipt);
        Ok(receipt)
    }

    fn trace_untaken(&self, topic: &str, number: u64, to: Address, receipt: &Receipt) {
        let tracer = self.process.mail().tracer();
        let untaken = |at, why: &str| tracer.untaken(topic, number, at, why);
        match &receipt.nobody {
            Some(problem) => untaken(to, problem),
            None => {
                outcome::missing(receipt, to).into_iter().for_each(|at| untaken(at, "too much waits there"))
            }
        }
    }

    /// A frame of this process's own with a new number.
    fn frame<T: Topic>(&self, kind: Kind, to: Address, value: &T) -> Result<Frame, SendError> {
        topic::check(T::NAME)?;
        let mail = self.process.mail();
        let content = codec::encode_behind(T::NAME, value, mail.made().likely_length())?;
        mail.made().note_length(content.len());
        let limit = self.process.launch().bus.message_bytes();
        if content.len() > limit {
            return Err(SendError::TooLarge { topic: T::NAME, length: content.len(), limit });
        }
        let route = Route { to, from: mail.address(), time: now() };
        Ok(Frame::of_content(kind, T::NAME, mail.made().next_number(), content).on(route))
    }
}

/// Forgets that a receipt is awaited when nobody waits any more, be it that the message was never sent.
struct Unawaited<'a> {
    mail: &'a Mail,
    number: u64,
}

impl Drop for Unawaited<'_> {
    fn drop(&mut self) {
        self.mail.forget_receipt(self.number);
    }
}
