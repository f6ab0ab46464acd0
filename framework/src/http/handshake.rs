//! From a connection that was accepted to one that speaks TLS: a proxy's header first, where one is due, then the
//! handshake, all within one deadline. It works in the connection's own task.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::house::{Seat, Stage};
use super::line::{Counted, Line};
use super::listener::Stream;
use super::proxied::{self, Heard};
use crate::tls::Acceptor;

/// How much of a proxy's header is looked at at a time.
const PIECE: usize = 536;

/// How long who has mistaken the port may take to hear of it.
const LINGER: Duration = Duration::from_secs(1);

/// What who has mistaken the port sends on is read up to here, so that it gets to read the answer.
const LINGER_BYTES: u64 = 1024 * 1024;

const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
    content-length: 38\r\n\r\nthis port speaks TLS: ask by https://\n";

/// The line to the client, unless it does not keep to the rules, or to the time; who looks for an attack finds both in
/// the debug log.
pub(super) async fn shake_hands(stream: Stream, acceptor: Arc<Acceptor>, seat: &Seat) -> Option<Line> {
    let house = &seat.house;
    let secured = tokio::select! {
        biased;
        () = house.reached(Stage::Cut) => return None,
        secured = timeout(house.settings.handshake_timeout, secure(stream, &acceptor, seat)) => secured,
    };
    match secured {
        Ok(Ok(line)) => line,
        Ok(Err(error)) => {
            tracing::debug!(peer = ?seat.peer, "no TLS handshake: {error}");
            None
        }
        Err(_) => {
            house.gauges.timed_out.fetch_add(1, Relaxed);
            tracing::debug!(peer = ?seat.peer, "no TLS handshake in time");
            None
        }
    }
}

async fn secure(mut stream: Stream, acceptor: &Acceptor, seat: &Seat) -> io::Result<Option<Line>> {
    let first = tokio::select! {
        biased;
        first = first_byte(&mut stream, seat) => first?,
        // A worker that leaves closes what nobody uses.
        () = unused(seat) => None,
    };
    match first {
        None => Ok(None),
        // A record of TLS begins with a number below 24, and a method of HTTP with a letter.
        Some(first) if first.is_ascii_uppercase() => {
            let _ = timeout(LINGER, answer_plain_http(stream)).await;
            Err(io::Error::other("the client speaks plain HTTP"))
        }
        Some(_) => {
            let acceptor = TlsAcceptor::from(acceptor.config());
            let stream = Box::pin(acceptor.accept(Counted::new(stream))).await?;
            Ok(Some(Line::Secured(Box::new(stream))))
        }
    }
}

/// The first byte behind a proxy's header, which stays to be read; none when the client closes before.
async fn first_byte(stream: &mut Stream, seat: &Seat) -> io::Result<Option<u8>> {
    if seat.house.settings.proxy_protocol {
        take_header(stream, seat).await?;
    }
    let mut first = [0; 1];
    let came = stream.peek(&mut first).await?;
    Ok((came > 0).then_some(first[0]))
}

/// Until the drain closes a connection on which nothing has come. A stop during a succession closes it sooner.
async fn unused(seat: &Seat) {
    let since = Instant::now();
    let house = &seat.house;
    let closed = || async {
        if let Some(closing) = house.closing() {
            sleep_until(closing.moment(seat.number, since)).await;
        }
    };
    house.reached(Stage::Draining).await;
    tokio::select! {
        biased;
        () = house.reached(Stage::Hurried) => closed().await,
        () = closed() => {}
    }
}

async fn answer_plain_http(mut stream: Stream) -> io::Result<()> {
    stream.write_all(PLAIN_HTTP).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Takes a proxy's header off the stream, and not one byte of what follows.
async fn take_header(stream: &mut Stream, seat: &Seat) -> io::Result<()> {
    if !seat.peer_is_trusted() {
        return Err(proxied::wrong("the client is no trusted proxy"));
    }
    let mut heard = Vec::new();
    loop {
        let before = heard.len();
        let mut piece = [0; PIECE];
        let came = stream.peek(&mut piece).await?;
        if came == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        heard.extend_from_slice(&piece[..came]);
        match proxied::hear(&heard) {
            // All of it belongs to the header.
            Heard::More => stream.read_exact(&mut piece[..came]).await?,
            Heard::Wrong => return Err(proxied::wrong("the proxy sent no header")),
            Heard::Header { length, client } => {
                stream.read_exact(&mut piece[..length - before]).await?;
                if let Some(client) = client {
                    let _ = seat.client.set(client.to_canonical());
                }
                return Ok(());
            }
        };
    }
}
