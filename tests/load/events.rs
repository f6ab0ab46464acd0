//! A client of server-sent events: it stays on one stream, and each event is an answer.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answer::{Reading, read};
use super::line::{Line, broken};
use super::report::{Failure, Loss, Outcome, Worker};
use super::target::{Target, Wire};

const REQUEST: &[u8] = b"GET /events HTTP/1.1\r\nHost: load\r\nAccept: text/event-stream\r\n\r\n";

#[derive(Debug)]
pub(super) struct Client {
    target: Target,
    pub(super) line: Line<Stream>,
}

/// A stream of events, and what has come on it.
#[derive(Debug)]
pub(super) struct Stream {
    connection: Wire,
    bytes: Vec<u8>,
    /// How many events were taken out of the bytes.
    taken: usize,
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        Self { target, line: Line::new() }
    }

    /// Waits for the next event. A stream that ends in order has handed its client back.
    pub(super) async fn ask(&mut self) -> Outcome {
        let mut stream = match self.line.take() {
            Some(stream) => stream,
            None => Stream::open(&self.target).await?,
        };
        let worker = Worker::read(stream.next().await?.as_bytes())?;
        self.line.keep(stream, Some(worker));
        Ok(Some(worker))
    }
}

impl Stream {
    async fn open(target: &Target) -> Result<Self, Loss> {
        let mut connection = target.connect().await?;
        connection.write_all(REQUEST).await.map_err(|error| broken(Some(&error), 0))?;
        Ok(Self { connection, bytes: Vec::new(), taken: 0 })
    }

    async fn next(&mut self) -> Result<String, Loss> {
        loop {
            let reading = read(&self.bytes);
            let body = match &reading {
                Reading::Part(body) => body,
                Reading::Whole(answer) if answer.status == 200 => &answer.body,
                Reading::Whole(answer) | Reading::UntilClosed(answer) if answer.status != 200 => {
                    return Err(Failure::WrongStatus(answer.status).into());
                }
                // Without chunks nobody could tell an end in order from another.
                _ => return Err(Failure::Garbled.into()),
            };
            if let Some(event) = events(body).nth(self.taken) {
                self.taken += 1;
                return Ok(event);
            }
            if matches!(reading, Reading::Whole(_)) {
                return Err(Loss::HandedBack);
            }
            match self.connection.read_buf(&mut self.bytes).await {
                Ok(0) => return Err(broken(None, self.bytes.len()).into()),
                Ok(_) => {}
                Err(error) => return Err(broken(Some(&error), self.bytes.len()).into()),
            }
        }
    }
}

/// The data of all whole events; comments are none.
fn events(body: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(body).into_owned();
    let whole = text.rfind("\n\n").map_or(0, |end| end + 2);
    let blocks: Vec<_> = text[..whole].split("\n\n").map(str::to_owned).collect();
    blocks.into_iter().filter_map(|block| block.strip_prefix("data:").map(|data| data.trim().to_owned()))
}
