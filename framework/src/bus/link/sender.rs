//! The half of a link that sends: a queue that clones share. What is pushed alone is written at once; the link's task
//! writes what comes in a crowd, and what the socket does not take.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::super::frame::Frame;
use super::super::outbox::{Full, Outbox};
use super::super::parcel::Parcel;
use super::super::socket::{Room, Socket, is_congestion};
use super::load::Load;
use super::push::Push;
use super::queue::{Queue, Turn};

/// How long to wait while the kernel takes no descriptors of this user, or has none for us.
const AGAIN: Duration = Duration::from_millis(5);

/// The half that sends; clones share one queue. When the last is dropped, what is queued is still written.
#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: Arc<Socket>,
    queue: Mutex<Queue>,
    filled: Notify,
    drained: Notify,
}

/// How full the queue is after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Much more fits, or whoever waits for more waits in vain.
    Fine,
    /// Who can wait should.
    Crowded,
}

/// Why a frame was not queued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("the process at the other end is gone")]
    Gone,
}

impl Sender {
    /// So many bytes may wait. Must be called inside a runtime.
    pub(super) fn new(socket: Arc<Socket>, waiting: usize) -> Self {
        let (filled, drained) = (Notify::new(), Notify::new());
        let shared = Arc::new(Shared { socket, queue: Mutex::new(Queue::new(waiting)), filled, drained });
        tokio::spawn(write_all(Arc::clone(&shared)));
        Self { shared }
    }

    /// Queues a frame without waiting.
    pub(crate) fn push(&self, frame: &Frame) -> Result<(), SendError> {
        self.take(|_| Push::Frame(frame), Push::queue).map(drop)
    }

    /// Queues what is relayed, without waiting; all of it, or nothing.
    pub(crate) fn push_parcel(&self, parcel: &Parcel) -> Result<Fill, SendError> {
        self.take(|outbox| Push::of(parcel, outbox), Push::queue)
    }

    /// Like [`push_parcel`](Self::push_parcel), for what has waited elsewhere, and was bounded there: however much waits here.
    pub(crate) fn hand_over(&self, parcel: &Parcel) -> Result<Fill, SendError> {
        let queue = |push: Push<'_>, outbox: &mut Outbox| outbox.hand_over(|outbox| push.queue(outbox));
        self.take(|outbox| Push::of(parcel, outbox), queue)
    }

    fn take<'a>(
        &self,
        push: impl FnOnce(&Outbox) -> Push<'a>,
        queue_it: impl FnOnce(Push<'a>, &mut Outbox) -> Result<(), Full>,
    ) -> Result<Fill, SendError> {
        let mut queue = self.shared.lock();
        if queue.closed {
            return Err(SendError::Gone);
        }
        let push = push(&queue.outbox);
        let mut written = 0;
        if push.fits(&queue.outbox) && queue.lets_write(Instant::now) {
            match push.write(self.shared.socket.as_fd()) {
                Ok(all) if all == push.wire_length() => return Ok(Fill::Fine),
                Ok(some) => written = some,
                Err(error) if is_passing(&error) => {}
                // Nothing of it arrived.
                Err(_) => {
                    drop(queue);
                    self.shared.close();
                    return Err(SendError::Gone);
                }
            }
        }
        let is_first = queue.add(|outbox| queue_it(push, outbox))?;
        if written > 0 {
            queue.note_begun(written);
        }
        let crowded = queue.is_crowded();
        drop(queue);
        if is_first {
            self.shared.filled.notify_one();
        }
        Ok(if crowded { Fill::Crowded } else { Fill::Fine })
    }

    /// From here on the receiver takes many messages in one frame.
    pub(crate) fn pack(&self) {
        self.shared.lock().outbox.pack();
    }

    /// Takes back what waits of a state that the receiver observes no more.
    pub(crate) fn recall(&self, topic: &str) {
        self.shared.lock().outbox.recall(topic);
        self.shared.drained.notify_waiters();
    }

    /// Waits until much more would fit, the patience with this receiver is over, or it is gone. Cancel safe.
    pub(crate) async fn keep_up(&self) {
        let mut begun = Instant::now();
        loop {
            let drained = self.shared.drained.notified();
            let now = Instant::now();
            let Some(left) = self.shared.lock().wait(begun, now) else { return };
            begun = now;
            // Whoever wakes it, the queue says whether it is over.
            let _ = tokio::time::timeout(left, drained).await;
        }
    }

    /// Waits until much more would fit than now, when something did not: until the other side has taken some more, or is
    /// gone. Cancel safe.
    pub(crate) async fn roomy(&self) {
        let loads = self.shared.lock().loads;
        // What did not fit may be so large that there was room for much else all the time.
        let has_room = |queue: &Queue| queue.loads != loads && queue.outbox.has_room();
        self.until(|queue| queue.closed || queue.outbox.bytes() == 0 || has_room(queue)).await;
    }

    /// Queues a frame, waiting for room. Cancel safe: a cancelled send has queued nothing.
    pub(crate) async fn send(&self, frame: Frame) -> Result<(), SendError> {
        loop {
            // Listened for before it is tried, or room that is made in between would be missed.
            let drained = self.shared.drained.notified();
            match self.push(&frame) {
                Err(SendError::Full(_)) => drained.await,
                other => return other,
            }
        }
    }

    /// Waits until everything queued is written, or the other side is gone. Cancel safe.
    pub(crate) async fn flush(&self) {
        self.until(|queue| queue.closed || queue.outbox.bytes() == 0).await;
    }

    async fn until(&self, fact: impl Fn(&Queue) -> bool) {
        loop {
            let drained = self.shared.drained.notified();
            if fact(&self.shared.lock()) {
                return;
            }
            drained.await;
        }
    }

    /// Takes back the mail that was not written, or only in part, in its order. Nothing more is written from here on.
    pub(crate) fn take_back(&self) -> Vec<Parcel> {
        let left = self.shared.lock().take_back();
        self.shared.drained.notify_waiters();
        self.shared.filled.notify_one();
        left
    }

    /// Counts the messages and questions that wait to be written, by topic.
    pub(crate) fn tally(&self, counts: &mut BTreeMap<Box<str>, u64>) {
        self.shared.lock().tally(counts);
    }

    /// The bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.lock().outbox.bytes()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is written.
    fn close(&self) {
        self.lock().close();
        self.drained.notify_waiters();
        self.filled.notify_one();
    }
}

/// Writes what is queued until the socket fails or nobody can queue anything more.
async fn write_all(shared: Arc<Shared>) {
    let mut room = None;
    loop {
        let turn = shared.lock().take_turn();
        match turn {
            Turn::Write(mut load) => match write(&shared.socket, &mut load, &room) {
                Ok(()) => {
                    shared.lock().note_written(load);
                    shared.drained.notify_waiters();
                }
                Err(error) => {
                    // Where it can be taken back meanwhile.
                    shared.lock().put_back(load);
                    if recover(error, &shared.socket, &mut room).await.is_err() {
                        return shared.close();
                    }
                }
            },
            Turn::Wait => {
                room = None;
                shared.filled.notified().await;
            }
            Turn::End => return,
        }
    }
}

/// Writes all of it, or what the socket takes now.
fn write(socket: &Socket, load: &mut Load, room: &Option<Room>) -> io::Result<()> {
    match room {
        Some(room) => room.attempt(|| load.write(socket.as_fd())),
        None => load.write(socket.as_fd()),
    }
}

/// Waits until the socket takes more, or says that it never will. `room` is how to wait for it, made when it is wanted for
/// the first time.
async fn recover(error: io::Error, socket: &Socket, room: &mut Option<Room>) -> io::Result<()> {
    if is_congestion(&error) {
        // The kernel does not say when others have taken theirs.
        tokio::time::sleep(AGAIN).await;
        return Ok(());
    }
    if error.kind() == io::ErrorKind::WouldBlock { wait_for(socket, room).await } else { Err(error) }
}

/// Whether the socket takes more at another time.
fn is_passing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || is_congestion(error)
}

async fn wait_for(socket: &Socket, room: &mut Option<Room>) -> io::Result<()> {
    if room.is_none() {
        *room = Room::watch(socket).ok();
    }
    match room {
        Some(room) => return room.there().await,
        None => tokio::time::sleep(AGAIN).await,
    }
    Ok(())
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.lock().senders -= 1;
        self.shared.filled.notify_one();
    }
}
