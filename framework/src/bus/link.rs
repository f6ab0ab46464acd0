//! A link: one end of a socket pair between the master and a child, or of a control connection, carrying
//! frames and descriptors both ways. End of file on it is the other side's death.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interprocess::os::unix::uds_local_socket::tokio::Stream;
use tokio::io::Interest;
use tokio::sync::Notify;

use super::decoder::{Decoder, Parcel};
use super::frame::{Frame, FrameError, MAX_LENGTH};
use super::head::HEAD;
use super::outbox::{Full, LIMIT, Outbox, Piece};
use super::socket::{Received, is_congestion, receive, transmit};

pub(crate) use super::socket::{inherit, pair};

/// The most bytes of a frame from a caller who has little to say.
const SHORT: usize = 64 << 10;

/// How long to wait while the kernel takes no descriptors of this user.
const AGAIN: Duration = Duration::from_millis(5);

/// Why a link carries nothing more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the link failed: {0}")]
    Io(#[from] io::Error),
    #[error("the other side sent what is no frame: {0}")]
    Frame(#[from] FrameError),
    #[error("the other side left in the middle of a frame")]
    CutShort,
}

/// Makes a link of a connected socket: a half that receives, and a half that sends, served by a task.
///
/// Must be called inside a runtime.
pub(crate) fn open(socket: OwnedFd) -> io::Result<(Receiver, Sender)> {
    open_with(socket, Decoder::new(MAX_LENGTH), LIMIT)
}

/// Like [`open`], for the master's end of the link with a child: so many bytes may wait to be written.
pub(crate) fn open_queueing(socket: OwnedFd, waiting: usize) -> io::Result<(Receiver, Sender)> {
    open_with(socket, Decoder::of_child(MAX_LENGTH), waiting)
}

/// Like [`open`], for a caller who has little to say: longer frames are refused, and descriptors, too.
pub(crate) fn open_short(socket: OwnedFd) -> io::Result<(Receiver, Sender)> {
    open_with(socket, Decoder::of_caller(SHORT), LIMIT)
}

fn open_with(socket: OwnedFd, decoder: Decoder, waiting: usize) -> io::Result<(Receiver, Sender)> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    let stream = Arc::new(Stream::try_from(socket)?);
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            outbox: Outbox::new(waiting),
            senders: 1,
            writing: false,
            closed: false,
            stalled: false,
        }),
        filled: Notify::new(),
        drained: Notify::new(),
    });
    tokio::spawn(write_all(Arc::clone(&stream), Arc::clone(&shared)));
    Ok((Receiver { stream, decoder }, Sender { shared }))
}

/// The half that receives.
#[derive(Debug)]
pub(crate) struct Receiver {
    stream: Arc<Stream>,
    decoder: Decoder,
}

/// What came over a link.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Between the two ends of the link.
    Frame(Frame),
    /// For others, in its order.
    Mail(Vec<Parcel>),
}

impl Receiver {
    /// The next frame; `None` when the other side is gone. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, LinkError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// The next frame, or all messages that have arrived and belong together; `None` when the other side is gone. Cancel
    /// safe.
    pub(crate) async fn next_parcel(&mut self) -> Result<Option<Parcel>, LinkError> {
        loop {
            if let Some(parcel) = self.decoder.next_parcel()? {
                return Ok(Some(parcel));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// The next frame for us, or all mail that has arrived before it; `None` when the other side is gone. Cancel safe.
    pub(crate) async fn next_arrival(&mut self) -> Result<Option<Arrival>, LinkError> {
        loop {
            let mut mail = Vec::new();
            while self.decoder.has_mail() || mail.is_empty() {
                match self.decoder.next_parcel() {
                    Ok(Some(Parcel::Frame(frame))) if !frame.kind().is_mail() => {
                        return Ok(Some(Arrival::Frame(frame)));
                    }
                    Ok(Some(parcel)) => mail.push(parcel),
                    Ok(None) => break,
                    // The next look finds it again.
                    Err(_) if !mail.is_empty() => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if !mail.is_empty() {
                return Ok(Some(Arrival::Mail(mail)));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for more bytes; `false` when the other side is gone. Cancel safe.
    async fn read(&mut self) -> Result<bool, LinkError> {
        let Self { stream, decoder } = self;
        let socket = stream.inner();
        match socket.async_io(Interest::READABLE, || receive(socket.as_fd(), decoder)).await {
            Ok(Received::Bytes) => Ok(true),
            Ok(Received::End) if self.decoder.is_mid_frame() => Err(LinkError::CutShort),
            Ok(Received::End) => Ok(false),
            // A peer that died with bytes of ours unread resets the socket: dead all the same.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The half that sends; clones share one queue. When the last is dropped, what is queued is still written.
#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    filled: Notify,
    drained: Notify,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    senders: usize,
    writing: bool,
    closed: bool,
    /// Whether nothing has been written for a while, although much waits.
    stalled: bool,
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
    /// Queues a frame without waiting.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), SendError> {
        self.queue(|outbox| outbox.push(frame)).map(drop)
    }

    /// Queues what is relayed, without waiting; all of it, or nothing.
    pub(crate) fn push_parcel(&self, parcel: &Parcel) -> Result<Fill, SendError> {
        self.queue(|outbox| outbox.push_parcel(parcel))
    }

    fn queue(&self, push: impl FnOnce(&mut Outbox) -> Result<(), Full>) -> Result<Fill, SendError> {
        let (was_empty, fill) = {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(SendError::Gone);
            }
            let was_empty = state.outbox.is_empty();
            push(&mut state.outbox)?;
            let fine = state.stalled || state.outbox.has_room();
            (was_empty, if fine { Fill::Fine } else { Fill::Crowded })
        };
        if was_empty {
            self.shared.filled.notify_one();
        }
        Ok(fill)
    }

    /// Takes back what waits of a state that the receiver observes no more.
    pub(crate) fn recall(&self, topic: &str) {
        self.shared.lock().outbox.recall(topic);
        self.shared.drained.notify_waiters();
    }

    /// Nobody should wait for this receiver until it takes something again.
    pub(crate) fn give_up_waiting(&self) {
        let mut state = self.shared.lock();
        state.stalled = !state.outbox.has_room();
    }

    /// Waits until much more would fit, or the other side is gone. Cancel safe.
    pub(crate) async fn roomy(&self) {
        self.until(|state| state.closed || state.outbox.has_room()).await;
    }

    /// Queues a frame, waiting for room. Cancel safe: a cancelled send has queued nothing.
    pub(crate) async fn send(&self, frame: Frame) -> Result<(), SendError> {
        loop {
            let drained = self.shared.drained.notified();
            match self.push(frame.clone()) {
                Err(SendError::Full(_)) => drained.await,
                other => return other,
            }
        }
    }

    /// Waits until everything queued is written, or the other side is gone. Cancel safe.
    pub(crate) async fn flush(&self) {
        self.until(State::is_settled).await;
    }

    async fn until(&self, fact: impl Fn(&State) -> bool) {
        loop {
            let drained = self.shared.drained.notified();
            if fact(&self.shared.lock()) {
                return;
            }
            drained.await;
        }
    }

    /// The bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.lock().outbox.bytes()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is written: what is queued goes, and the descriptors with it.
    fn close(&self) {
        let queued = {
            let mut state = self.lock();
            state.closed = true;
            std::iter::from_fn(|| Some(state.outbox.take_batch()).filter(|batch| !batch.is_empty()))
                .collect::<Vec<_>>()
        };
        drop(queued);
        self.drained.notify_waiters();
    }

    /// The next pieces to write, or nothing when there are none for now. Those of before were written.
    fn next_batch(&self, written: Vec<Piece>) -> Vec<Piece> {
        let mut state = self.lock();
        state.stalled &= written.is_empty();
        state.outbox.recycle(written);
        let batch = state.outbox.take_batch();
        state.writing = !batch.is_empty();
        batch
    }
}

impl State {
    fn is_settled(&self) -> bool {
        self.closed || (self.outbox.is_empty() && !self.writing)
    }
}

/// Writes what is queued until the socket fails or nobody can queue anything more.
async fn write_all(stream: Arc<Stream>, shared: Arc<Shared>) {
    let mut batch = Vec::new();
    loop {
        batch = shared.next_batch(batch);
        shared.drained.notify_waiters();
        if batch.is_empty() {
            if shared.lock().senders == 0 {
                return;
            }
            shared.filled.notified().await;
        } else if write_batch(&stream, &batch).await.is_err() {
            shared.close();
            return;
        }
    }
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

async fn write_batch(stream: &Stream, batch: &[Piece]) -> io::Result<()> {
    let heads: Vec<_> = batch.iter().map(head_of).collect();
    let mut slices: Vec<_> = heads
        .iter()
        .zip(batch)
        .flat_map(|(head, piece)| [IoSlice::new(head.as_ref().map_or(&[], |head| head)), body_of(piece)])
        .filter(|slice| !slice.is_empty())
        .collect();
    let mut slices = &mut slices[..];
    let mut descriptors: Vec<_> = match batch {
        [Piece::Frame(frame)] => frame.descriptors().iter().map(AsFd::as_fd).collect(),
        _ => Vec::new(),
    };
    let socket = stream.inner();
    while !slices.is_empty() {
        match socket.async_io(Interest::WRITABLE, || transmit(socket.as_fd(), slices, &descriptors)).await {
            Ok(written) => {
                descriptors.clear();
                IoSlice::advance_slices(&mut slices, written);
            }
            // The kernel does not say when others have taken theirs.
            Err(error) if is_congestion(&error) => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The envelope of what does not have it in its bytes.
fn head_of(piece: &Piece) -> Option<[u8; HEAD]> {
    match piece {
        Piece::Frame(frame) => Some(frame.head()),
        _ => None,
    }
}

fn body_of(piece: &Piece) -> IoSlice<'_> {
    IoSlice::new(match piece {
        Piece::Frame(frame) => frame.content(),
        Piece::Shared(bytes) => bytes,
        Piece::Gathered(bytes) => bytes,
    })
}

#[cfg(test)]
mod tests;
