//! One client: it connects, asks, reads, and asks again as soon as it has its answer. How an answer is read from
//! bytes is told in `answer`.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::answer::{Connection, Reading, read};
use crate::census::Census;
use crate::tally::{Failure, Tally};

/// A request that has no whole answer after this long has none.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that is away must not be counted a thousand times for each moment.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Who has said that it closes a connection may take this long to do so.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a client treats its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It asks on one connection for as long as the server keeps it.
    KeepAlive,
    /// Each request has a connection of its own, and says so.
    New,
}

impl Manner {
    fn request(self) -> &'static [u8] {
        match self {
            Manner::KeepAlive => b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n\r\n",
            Manner::New => b"GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        }
    }
}

/// A client that never pauses.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    manner: Manner,
    kept: Option<TcpStream>,
    tally: Tally,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, manner: Manner) -> Self {
        Self { address, manner, kept: None, tally: Tally::default() }
    }

    /// Asks until it is enough; what was asked by then is still waited for.
    pub(crate) async fn ask_until(mut self, enough: &AtomicBool, census: &Census) -> Tally {
        while !enough.load(Ordering::Relaxed) {
            let began = Instant::now();
            let outcome = timeout(PATIENCE, self.ask()).await.unwrap_or(Err(Failure::TimedOut));
            self.tally.note(outcome.as_ref().err().copied(), began.elapsed());
            match outcome {
                Ok((stream, connection, pid)) => {
                    census.see(pid);
                    self.part(stream, connection).await;
                }
                Err(_) => sleep(AFTER_FAILURE).await,
            }
        }
        self.tally
    }

    async fn ask(&mut self) -> Result<(TcpStream, Connection, u32), Failure> {
        let mut stream = match self.kept.take().filter(is_open) {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        stream.write_all(self.manner.request()).await.map_err(|error| cut(&error, &[]))?;
        let (connection, pid) = read_answer(&mut stream).await?;
        Ok((stream, connection, pid))
    }

    async fn connect(&mut self) -> Result<TcpStream, Failure> {
        self.tally.connections += 1;
        TcpStream::connect(self.address).await.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            _ => cut(&error, &[]),
        })
    }

    async fn part(&mut self, mut stream: TcpStream, connection: Connection) {
        match connection {
            Connection::Stays if self.manner == Manner::KeepAlive => self.kept = Some(stream),
            Connection::Stays => {}
            // The server closes first, so that no port of ours is left waiting.
            Connection::Closes => drop(timeout(FAREWELL, stream.read(&mut [0])).await),
        }
    }
}

/// Asks the kernel itself: what tokio knows of the socket may be older than the server's farewell.
fn is_open(stream: &TcpStream) -> bool {
    let looked = recv(stream, &mut [0_u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(looked, Err(rustix::io::Errno::WOULDBLOCK))
}

async fn read_answer(stream: &mut TcpStream) -> Result<(Connection, u32), Failure> {
    let mut said = Vec::with_capacity(1024);
    loop {
        match stream.read_buf(&mut said).await {
            Ok(0) if said.is_empty() => return Err(Failure::ClosedUnanswered),
            Ok(0) => return Err(Failure::Truncated),
            Ok(_) => {}
            Err(error) => return Err(cut(&error, &said)),
        }
        match read(&said) {
            Reading::Partial => {}
            Reading::Whole(connection, pid) => return Ok((connection, pid)),
            Reading::Wrong => return Err(Failure::Wrong),
        }
    }
}

fn cut(error: &io::Error, said: &[u8]) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe if said.is_empty() => Failure::ResetUnanswered,
        ErrorKind::ConnectionReset => Failure::ResetAmid,
        ErrorKind::TimedOut => Failure::TimedOut,
        _ => Failure::Other,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"pid\":7}";

    /// How a server parts with a client.
    #[derive(Debug, Clone, Copy)]
    enum Farewell {
        InOrder,
        Rude,
    }

    /// What becomes of one request to a server that says `answer` and closes the connection.
    async fn outcome(answer: &'static [u8], farewell: Farewell) -> Result<(Connection, u32), Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
            if let Farewell::Rude = farewell {
                stream.set_zero_linger().unwrap();
            }
        });
        let outcome = Client::new(address, Manner::KeepAlive).ask().await;
        server.await.unwrap();
        outcome.map(|(_, connection, pid)| (connection, pid))
    }

    #[tokio::test]
    async fn a_failure_is_told_by_what_came_before_the_end() {
        let (none, part) = (&ANSWER[..0], &ANSWER[..40]);
        assert_eq!(outcome(none, Farewell::InOrder).await, Err(Failure::ClosedUnanswered));
        assert_eq!(outcome(none, Farewell::Rude).await, Err(Failure::ResetUnanswered));
        assert_eq!(outcome(part, Farewell::InOrder).await, Err(Failure::Truncated));
        assert_eq!(outcome(b"HTTP/1.1 500 No\r\n\r\n", Farewell::InOrder).await, Err(Failure::Wrong));
        assert_eq!(outcome(ANSWER, Farewell::InOrder).await, Ok((Connection::Stays, 7)));
    }

    #[tokio::test]
    async fn nobody_who_listens_is_refused() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let outcome = Client::new(address, Manner::New).ask().await;
        assert_eq!(outcome.map(drop), Err(Failure::Refused));
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_before_the_next_request_is_no_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                stream.write_all(ANSWER).await.unwrap();
            }
        });
        let mut client = Client::new(address, Manner::KeepAlive);
        let (stream, connection, _) = client.ask().await.unwrap();
        // The server's farewell has come when there is something to read.
        stream.readable().await.unwrap();
        client.part(stream, connection).await;
        client.ask().await.unwrap();
        server.await.unwrap();
        assert_eq!(client.tally.connections, 2);
    }
}
