//! Receiving messages as the type that their topic has.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::stream::{self, Stream, StreamExt};

use super::Messenger;
use super::attachments::{Attach, Attachments, TakeError};
use super::sending::{MessageId, Sending};
use crate::bus::parcel::{Item, Unrolled};
use crate::bus::topic::{self, BadTopic};
use crate::bus::{CodecError, Origin, Topic, codec};
use crate::mail::{Arrived, Letter, Mailbox};
use crate::process::Process;

/// The messages on a topic, from when it was made on, and those that came before this process said that it is ready.
/// Made by [`Messenger::subscribe`]. Dropped, it gives up what waits for it, which is counted as `unheard`; kept, it holds its
/// process up when that leaves, until it has come back for more.
pub struct Subscription<T> {
    mailbox: Arc<Mailbox>,
    /// What was taken out of the mailbox together.
    unrolled: Option<Unrolled>,
    process: Process,
    topic: &'static str,
    message: PhantomData<fn() -> T>,
}

/// A message, with who sent it and when.
pub struct Received<T> {
    message: T,
    sending: Sending,
    /// Apart, because few messages have any and every message is moved.
    attachments: Option<Box<Attachments>>,
}

/// In place of a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// What came under the topic's name is of another type.
    #[error(transparent)]
    Unreadable(Box<Unreadable>),
    /// The topic has a name that nothing may have.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// So many messages came while too much waited here.
    #[error(
        "{count} messages on `{topic}` were missed, because too much waited: take them faster, or raise bus.queue_limit"
    )]
    Missed {
        /// The topic's name.
        topic: &'static str,
        /// How many.
        count: u64,
    },
    /// This process takes leave: nothing comes any more, and all that came has been taken.
    #[error("nothing more comes on `{topic}`: this process takes leave")]
    Left {
        /// The topic's name.
        topic: &'static str,
    },
}

/// A message that is of another type than its topic's, as who has sent it and what is wrong.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{problem}; it is message #{number} from {origin}", number = .sending.id().number, origin = told(.sending))]
pub struct Unreadable {
    sending: Sending,
    #[source]
    problem: CodecError,
}

impl Unreadable {
    /// Who sent it, when, and its id.
    #[must_use]
    pub fn sending(&self) -> &Sending {
        &self.sending
    }

    /// What does not fit.
    #[must_use]
    pub fn problem(&self) -> &CodecError {
        &self.problem
    }
}

fn told(sending: &Sending) -> String {
    match sending.origin() {
        Some(origin) => format!("{origin} (process {})", origin.pid()),
        None => "outside of the cluster".to_owned(),
    }
}

impl Messenger {
    /// Follows a topic. What comes faster than it is taken waits, up to `bus.queue_limit`.
    ///
    /// # Errors
    /// When the topic has a name that nothing may have.
    pub fn subscribe<T: Topic>(&self) -> Result<Subscription<T>, BadTopic> {
        topic::check(T::NAME)?;
        let mailbox = self.process.mail().subscribe(T::NAME);
        let process = self.process.clone();
        Ok(Subscription { mailbox, unrolled: None, process, topic: T::NAME, message: PhantomData })
    }

    /// Waits for one message on a topic. What comes after this call is not missed, also if the future is polled later; what
    /// comes behind that one message, and what waits when the future is dropped, counts as `unheard`.
    ///
    /// # Errors
    /// When the topic has a name that nothing may have, or the message is of another type. `Left` when this process should
    /// leave and nothing has come: nobody is held up by what may never come. Who wants to go on after either follows the topic
    /// by [`subscribe`](Self::subscribe).
    pub fn once<T: Topic>(&self) -> impl Future<Output = Result<Received<T>, ReceiveError>> + Send + use<T> {
        let subscription = self.subscribe::<T>();
        async move {
            let mut subscription = subscription?;
            let process = subscription.process.clone();
            tokio::select! {
                biased;
                received = subscription.next() => received,
                () = process.shutdown().cancelled() => Err(ReceiveError::Left { topic: T::NAME }),
            }
        }
    }
}

impl<T: Topic> Subscription<T> {
    /// The next message; waits for ever when the master is gone, with which this process ends. Cancel safe.
    ///
    /// # Errors
    /// When the message is of another type, or some were missed before the next; it goes on after either. `Left` when this
    /// process takes leave and all has been taken; that is said once, and who asks on waits until the process has ended.
    pub async fn next(&mut self) -> Result<Received<T>, ReceiveError> {
        loop {
            if let Some(unrolled) = &mut self.unrolled
                && let Some(item) = unrolled.next()
            {
                self.mailbox.unroll_one();
                return read(&self.process, item, None);
            }
            match self.mailbox.next().await {
                Arrived::Run(run) => self.unrolled = Some(Unrolled::new(run)),
                Arrived::Letter(mut letter) => {
                    let attachments = Attachments::of(&mut letter);
                    let Letter { payload, route, number, .. } = letter;
                    return read(
                        &self.process,
                        Item { number, route, payload: &payload, source: &payload },
                        attachments,
                    );
                }
                Arrived::Missed(count) => return Err(ReceiveError::Missed { topic: T::NAME, count }),
                Arrived::End => return Err(ReceiveError::Left { topic: T::NAME }),
            }
        }
    }

    /// The same as a stream, which ends with this process's [leave](ReceiveError::Left). Pin it to take from it.
    pub fn into_stream(self) -> impl Stream<Item = Result<Received<T>, ReceiveError>> + Send + use<T> {
        stream::unfold(self, async |mut subscription| match subscription.next().await {
            Err(ReceiveError::Left { .. }) => None,
            received => Some((received, subscription)),
        })
        .fuse()
    }

    /// Like [`next`](Self::next), but has this process take its leave as soon as it is asked to: from then on it gets nothing
    /// new, no questions either, and `None` comes when all that came before has been taken. For a function whose life is to
    /// take messages: what it carries out when it is asked to leave, and what waits, has until the deadline for leaving.
    /// Cancel safe.
    pub async fn next_or_leave(&mut self) -> Option<Result<Received<T>, ReceiveError>> {
        let process = self.process.clone();
        let received = match process.shutdown().run_until_cancelled(self.next()).await {
            Some(received) => received,
            None => {
                // If the master is gone, so are we; one that stands still is not waited for.
                let _ = process.say_leaving().await;
                process.in_time_to_leave(self.next()).await?
            }
        };
        match received {
            Err(ReceiveError::Left { .. }) => None,
            received => Some(received),
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        let is_leaving = self.process.shutdown().is_cancelled();
        self.process.mail().give_up(self.topic, &self.mailbox, is_leaving);
    }
}

/// A part of its callers: what a call returns is moved, which costs more than the call.
#[expect(clippy::inline_always, reason = "measured: the compiler does not by itself")]
#[inline(always)]
fn read<T: Topic>(
    process: &Process,
    item: Item<'_>,
    attachments: Option<Box<Attachments>>,
) -> Result<Received<T>, ReceiveError> {
    let Item { number, route, payload, source } = item;
    let sending = || Sending::of(process, route, number);
    match codec::decode_within(T::NAME, payload, source) {
        Ok(message) => Ok(Received { message, sending: sending(), attachments }),
        Err(problem) => Err(unreadable(process, T::NAME, sending(), problem)),
    }
}

#[cold]
fn unreadable(process: &Process, topic: &str, sending: Sending, problem: CodecError) -> ReceiveError {
    process.mail().losses().note_unreadable(topic);
    ReceiveError::Unreadable(Box::new(Unreadable { sending, problem }))
}

impl<T> Received<T> {
    /// Who sent it, when, and its id, apart from the message.
    #[must_use]
    pub fn sending(&self) -> &Sending {
        &self.sending
    }

    /// Who sent it; `None` for a process outside of the cluster, such as the command line.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.sending.origin()
    }

    /// When it was sent, by the sender's clock.
    #[must_use]
    pub fn sent_at(&self) -> DateTime<Utc> {
        self.sending.sent_at()
    }

    /// What no other message has.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.sending.id()
    }

    /// How many attachments came with it and were not taken out yet; those are closed with the message.
    #[must_use]
    pub fn attachments(&self) -> usize {
        self.attachments.as_ref().map_or(0, |attachments| attachments.count())
    }

    /// Takes out the next attachment, in the order in which they were sent. One that is of another kind stays, and can be
    /// taken out as what it is.
    ///
    /// # Errors
    /// When there is none, it is something else, or it was lost because a process had no free descriptor.
    pub fn take<A: Attach>(&mut self) -> Result<A, TakeError> {
        self.attachments.as_mut().ok_or(TakeError::Nothing)?.take()
    }

    /// The message alone.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.message
    }
}

impl<T> Deref for Received<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.message
    }
}

impl<T: fmt::Debug> fmt::Debug for Received<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("message", &self.message)
            .field("origin", &self.origin())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}
