//! The stream of a connection, which notes in the connection's phase what goes through it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::futures::OwnedNotified;

use super::crowd::Admission;
use super::house::{Seat, Stage};
use super::listener::Stream;
use super::phase::Phase;
use super::preface;
use super::proxied::{self, Heard};

/// A stream that notes what goes through it, and holds the connection's place until it is dropped.
pub(super) struct Watched {
    stream: Stream,
    seat: Arc<Seat>,
    /// Bytes that were read and are still to be handed out.
    ahead: Vec<u8>,
    /// Whether a proxy's header is still to come.
    proxied: bool,
    /// Set once the connection is upgraded: from then on nobody else can cut it at the end of a drain.
    _admission: Option<Admission>,
    bell: Option<Pin<Box<OwnedNotified>>>,
}

impl Watched {
    pub(super) fn new(stream: Stream, seat: Arc<Seat>, admission: Option<Admission>) -> Self {
        let proxied = seat.house.settings.proxy_protocol;
        Self { stream, seat, ahead: Vec::new(), proxied, _admission: admission, bell: None }
    }

    /// Has these bytes read once more, before any others.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.ahead.extend_from_slice(bytes);
    }

    /// The stream itself, for those who are done with HTTP.
    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..length]);
        self.ahead.drain(..length);
    }

    /// Takes a proxy's header off the first bytes, as soon as it is whole. Nobody else may send one.
    fn take_header(&mut self) -> io::Result<()> {
        if !self.seat.peer_is_trusted() {
            return Err(wrong("the client is no trusted proxy"));
        }
        match proxied::hear(&self.ahead) {
            Heard::More => Ok(()),
            Heard::Wrong => Err(wrong("the proxy sent no header")),
            Heard::Header { length, client } => {
                self.ahead.drain(..length);
                self.proxied = false;
                if let Some(client) = client {
                    let _ = self.seat.client.set(client.to_canonical());
                }
                Ok(())
            }
        }
    }

    /// Reads the first bytes. A preface of HTTP/2 is handed out whole, because by its begin alone it would be refused.
    fn poll_first(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let came = buf.filled().len() > before;
            if came
                && !self.proxied
                && self.ahead.is_empty()
                && !preface::is_undecided(&buf.filled()[before..])
            {
                self.seat.phase.read();
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(&buf.filled()[before..]);
            buf.set_filled(before);
            if came && self.proxied {
                self.take_header()?;
            }
            if !came || !self.proxied && !preface::is_undecided(&self.ahead) {
                if !self.ahead.is_empty() && !self.proxied {
                    self.seat.phase.read();
                }
                if !self.proxied {
                    self.hand_out(buf);
                }
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Fails when this is an upgraded connection and the drain's deadline has passed; otherwise wakes the reader then.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let house = &self.seat.house;
        loop {
            let bell = self.bell.get_or_insert_with(|| Box::pin(house.stage_bell().clone().notified_owned()));
            let rung = bell.as_mut().poll(cx).is_ready();
            if house.stage() == Stage::Cut {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server has left"));
            }
            if !rung {
                return Ok(());
            }
            self.bell = None;
        }
    }

    fn note_write(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(_)) => self.seat.phase.wrote(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.seat.phase.write_blocked(),
        }
        outcome
    }
}

fn wrong(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Ends the work for a client that nobody waits for any more.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the client has gone")
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.seat.house.leave();
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match this.seat.phase.phase() {
            Phase::New => return this.poll_first(cx, buf),
            Phase::Upgraded => this.poll_cut(cx)?,
            _ => {}
        }
        if !this.ahead.is_empty() {
            this.hand_out(buf);
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.seat.phase.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.note_write(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.note_write(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        match this.seat.phase.phase() {
            Phase::Flushing => this.seat.phase.flushed(),
            Phase::Busy if !this.seat.phase.moment().shared() && this.stream.poll_gone(cx).is_ready() => {
                return Poll::Ready(Err(gone()));
            }
            _ => {}
        }
        Poll::Ready(Ok(()))
    }

    /// With HTTP/1 this does nothing on a plain socket: it is closed right afterwards, which tells the client the same.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let moment = this.seat.phase.moment();
        let goes_on = moment.shared() || moment.phase() == Phase::Upgraded;
        match &mut this.stream {
            Stream::Tcp(_) | Stream::Unix(_) if !goes_on => Poll::Ready(Ok(())),
            stream => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
