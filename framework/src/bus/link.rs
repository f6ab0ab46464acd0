//! A link: one end of a socket pair between the master and a child, or of a control connection, carrying
//! frames and descriptors both ways. End of file on it is the other side's death.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use interprocess::os::unix::uds_local_socket::tokio::Stream;
use tokio::io::Interest;
use tokio::sync::Notify;

use super::frame::{Decoder, Frame, FrameError, MAX_LENGTH};
use super::outbox::{Full, LIMIT, Outbox};
use super::socket::{Received, receive, transmit};

pub(crate) use super::socket::{inherit, pair};

/// The most bytes of a frame from a caller who has little to say.
const SHORT: usize = 64 << 10;

/// Why a link carries nothing more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the link failed: {0}")]
    Io(#[from] io::Error),
    #[error("the other side sent what is no frame: {0}")]
    Frame(#[from] FrameError),
    #[error("the other side left in the middle of a frame")]
    CutShort,
    #[error("descriptors were lost on the way: the limit of open files is reached")]
    DescriptorsLost,
}

/// Makes a link of a connected socket: a half that receives, and a half that sends, served by a task.
///
/// Must be called inside a runtime.
pub(crate) fn open(socket: OwnedFd) -> io::Result<(Receiver, Sender)> {
    open_limited(socket, MAX_LENGTH)
}

/// Like [`open`], for a caller who has little to say: longer frames are refused.
pub(crate) fn open_short(socket: OwnedFd) -> io::Result<(Receiver, Sender)> {
    open_limited(socket, SHORT)
}

fn open_limited(socket: OwnedFd, limit: usize) -> io::Result<(Receiver, Sender)> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    let stream = Arc::new(Stream::try_from(socket)?);
    let shared = Arc::new(Shared {
        state: Mutex::new(State { outbox: Outbox::new(LIMIT), senders: 1, writing: false, closed: false }),
        filled: Notify::new(),
        drained: Notify::new(),
    });
    tokio::spawn(write_all(Arc::clone(&stream), Arc::clone(&shared)));
    Ok((Receiver { stream, decoder: Decoder::new(limit) }, Sender { shared }))
}

/// The half that receives.
#[derive(Debug)]
pub(crate) struct Receiver {
    stream: Arc<Stream>,
    decoder: Decoder,
}

impl Receiver {
    /// The next frame; `None` when the other side is gone. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, LinkError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            let Self { stream, decoder } = self;
            let socket = stream.inner();
            let count = socket.async_io(Interest::READABLE, || receive(socket.as_fd(), decoder)).await;
            match count {
                Ok(Received::Bytes) => {}
                Ok(Received::DescriptorsLost) => return Err(LinkError::DescriptorsLost),
                Ok(Received::End) if self.decoder.is_mid_frame() => return Err(LinkError::CutShort),
                Ok(Received::End) => return Ok(None),
                // A peer that died with bytes of ours unread resets the socket: dead all the same.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
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
        {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(SendError::Gone);
            }
            state.outbox.push(frame)?;
        }
        self.shared.filled.notify_one();
        Ok(())
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
        loop {
            let drained = self.shared.drained.notified();
            if self.shared.lock().is_settled() {
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

    /// The next frames to write, or nothing when there are none for now.
    fn take_batch(&self) -> Vec<Frame> {
        let mut state = self.lock();
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
    loop {
        let batch = shared.take_batch();
        shared.drained.notify_waiters();
        if batch.is_empty() {
            if shared.lock().senders == 0 {
                return;
            }
            shared.filled.notified().await;
        } else if write_batch(&stream, &batch).await.is_err() {
            shared.lock().closed = true;
            shared.drained.notify_waiters();
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

async fn write_batch(stream: &Stream, batch: &[Frame]) -> io::Result<()> {
    let heads: Vec<_> = batch.iter().map(Frame::head).collect();
    let mut slices: Vec<_> = heads
        .iter()
        .zip(batch)
        .flat_map(|(head, frame)| [IoSlice::new(head), IoSlice::new(frame.content())])
        .filter(|slice| !slice.is_empty())
        .collect();
    let mut slices = &mut slices[..];
    let mut descriptors: Vec<_> = batch[0].descriptors().iter().map(AsFd::as_fd).collect();
    let socket = stream.inner();
    while !slices.is_empty() {
        let written =
            socket.async_io(Interest::WRITABLE, || transmit(socket.as_fd(), slices, &descriptors)).await?;
        descriptors.clear();
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::super::frame::Kind;
    use super::*;

    #[tokio::test]
    async fn frames_and_descriptors_cross_a_link_in_order() {
        let (ours, theirs) = pair().unwrap();
        let (_, sender) = open(ours).unwrap();
        let (mut receiver, _) = open(theirs).unwrap();
        let (pipe_out, pipe_in) = std::io::pipe().unwrap();
        let pipe_in: Arc<OwnedFd> = Arc::new(pipe_in.into());

        sender.push(Frame::about(Kind::State, "big", 1, &vec![7; 3 << 20])).unwrap();
        sender.push(Frame::new(Kind::Welcome, 2, vec![]).with_descriptors(vec![pipe_in])).unwrap();
        sender.push(Frame::new(Kind::Ready, 3, vec![])).unwrap();

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
        sender.push(Frame::new(Kind::Ready, 1, vec![])).unwrap();
        drop((sender, receiver_of_ours));
        assert_eq!(receiver.next().await.unwrap().unwrap().number(), 1);
        assert!(receiver.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_sender_waits_while_the_receiver_does_not_read() {
        let (ours, theirs) = pair().unwrap();
        let (_, sender) = open(ours).unwrap();
        let message = || Frame::new(Kind::Pulse, 0, vec![0; 1 << 20]);
        while sender.push(message()).is_ok() {}
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

    #[tokio::test]
    async fn a_dead_receiver_fails_the_sender() {
        let (ours, theirs) = pair().unwrap();
        let (_, sender) = open(ours).unwrap();
        drop(theirs);
        sender.push(Frame::new(Kind::Ready, 1, vec![])).unwrap();
        sender.flush().await;
        assert!(matches!(sender.push(Frame::new(Kind::Ready, 2, vec![])), Err(SendError::Gone)));
    }
}
