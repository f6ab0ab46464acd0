//! The stream of a connection, which notes in the connection's phase what goes through it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::futures::OwnedNotified;

use super::house::{Seat, Stage, Stay};
use super::line::Line;
use super::phase::Phase;
use super::preface;
use super::proxied::{self, Heard};

/// A stream that notes what goes through it, and holds the connection's place until it is dropped.
pub(super) struct Watched {
    line: Line,
    seat: Arc<Seat>,
    /// Bytes that were read and are still to be handed out.
    ahead: Vec<u8>,
    /// Whether a proxy's header is still to come.
    proxied: bool,
    _stay: Stay,
    /// Set once the connection is upgraded: from then on nobody else can cut it at the end of a drain.
    bell: Option<Pin<Box<OwnedNotified>>>,
}

impl Watched {
    pub(super) fn new(line: Line, seat: Arc<Seat>, stay: Stay) -> Self {
        // Over TLS it came before the handshake.
        let proxied = seat.house.settings.proxy_protocol && matches!(line, Line::Plain(_));
        Self { line, seat, ahead: Vec::new(), proxied, _stay: stay, bell: None }
    }

    /// Whether there is TLS, whose end is said in its own words.
    pub(super) fn is_secured(&self) -> bool {
        matches!(self.line, Line::Secured(_))
    }

    /// Has these bytes read once more, before any others.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.ahead.extend_from_slice(bytes);
    }

    /// The line itself, for those who are done with HTTP.
    pub(super) fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..length]);
        self.ahead.drain(..length);
    }

    /// Takes a proxy's header off the first bytes, as soon as it is whole. Nobody else may send one.
    fn take_header(&mut self) -> io::Result<()> {
        if !self.seat.peer_is_trusted() {
            return Err(proxied::wrong("the client is no trusted proxy"));
        }
        match proxied::hear(&self.ahead) {
            Heard::More => Ok(()),
            Heard::Wrong => Err(proxied::wrong("the proxy sent no header")),
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
            ready!(Pin::new(&mut self.line).poll_read(cx, buf))?;
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

    /// `before` is what had been taken of the line until then.
    fn note_write<T>(&self, before: Option<u64>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let taken = self.line.taken();
        let took = if taken.is_none() { matches!(outcome, Poll::Ready(Ok(_))) } else { taken != before };
        if took {
            self.seat.phase.wrote();
        }
        if outcome.is_pending() {
            self.seat.phase.write_blocked();
        }
        outcome
    }
}

/// Ends the work for a client that nobody waits for any more.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the client has gone")
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
            this.seat.phase.read();
            this.hand_out(buf);
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut this.line).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.seat.phase.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let before = this.line.taken();
        let outcome = Pin::new(&mut this.line).poll_write(cx, buf);
        this.note_write(before, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let before = this.line.taken();
        let outcome = Pin::new(&mut this.line).poll_write_vectored(cx, bufs);
        this.note_write(before, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.line.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = this.line.taken();
        let outcome = Pin::new(&mut this.line).poll_flush(cx);
        // Only what keeps bytes back has anything to flush.
        ready!(if before.is_some() { this.note_write(before, outcome) } else { outcome })?;
        match this.seat.phase.phase() {
            Phase::Flushing => this.seat.phase.flushed(),
            Phase::Busy if !this.seat.phase.moment().shared() => {
                let Self { line, ahead, .. } = this;
                if line.poll_gone(cx, ahead).is_ready() {
                    return Poll::Ready(Err(gone()));
                }
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
        match &mut this.line {
            Line::Plain(_) if !goes_on => Poll::Ready(Ok(())),
            line => Pin::new(line).poll_shutdown(cx),
        }
    }
}
