//! The line to a client: a stream as it is, or with TLS over it. Of the latter it knows how much the client has taken,
//! since what was written may still wait within.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::listener::Stream;

/// What carries a connection.
pub(super) enum Line {
    Plain(Stream),
    Secured(Box<TlsStream<Counted>>),
}

/// A stream that counts the bytes that the kernel takes from it.
#[derive(Debug)]
pub(super) struct Counted {
    stream: Stream,
    taken: u64,
}

impl Counted {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, taken: 0 }
    }

    fn count(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.taken += bytes as u64;
        }
        outcome
    }
}

impl AsyncRead for Counted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.count(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.count(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Calls one method on whichever it is.
macro_rules! either {
    ($self:ident, $line:ident => $call:expr) => {
        match $self.get_mut() {
            Line::Plain($line) => $call,
            Line::Secured($line) => $call,
        }
    };
}

impl Line {
    /// How many bytes the kernel has taken of a line that keeps some back itself.
    pub(super) fn taken(&self) -> Option<u64> {
        match self {
            Self::Plain(_) => None,
            Self::Secured(stream) => Some(stream.get_ref().0.taken),
        }
    }

    /// Ready when the client has closed its half; otherwise wakes the task when something comes. What is read for
    /// that, because TLS hides it, goes into `ahead`.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, ahead: &mut Vec<u8>) -> Poll<()> {
        let stream = match self {
            Self::Plain(stream) => return stream.poll_gone(cx),
            // The next request waits, and hides whether an end follows.
            Self::Secured(_) if !ahead.is_empty() => return Poll::Pending,
            Self::Secured(stream) => stream,
        };
        let mut byte = [0; 1];
        let mut buf = ReadBuf::new(&mut byte);
        match Pin::new(&mut **stream).poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                ahead.extend_from_slice(buf.filled());
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, line => Pin::new(line).poll_read(cx, buf))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, line => Pin::new(line).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, line => Pin::new(line).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, line => Pin::new(line).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, line => Pin::new(line).poll_shutdown(cx))
    }
}
