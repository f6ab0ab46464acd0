//! A client of HTTP/1.1: one request after the other, each written and its answer read, nothing asked twice.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answer::{Answer, Reading, read};
use super::line::{Line, broken};
use super::report::{Failure, Loss, Outcome, Worker};
use super::target::{Target, Wire};

/// Whether a connection is kept for the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Until the server says that it closes.
    Always,
    Never,
}

#[derive(Debug)]
pub(super) struct Client {
    target: Target,
    keep: Keep,
    request: Vec<u8>,
    /// What comes back of a request that posts it.
    posted: Option<Vec<u8>>,
    pub(super) line: Line<Wire>,
}

impl Client {
    /// Asks for `/whoami`, or posts so many bytes to `/echo`.
    pub(super) fn new(target: Target, keep: Keep, posted: Option<usize>) -> Self {
        let connection = if keep == Keep::Never { "close" } else { "keep-alive" };
        let posted = posted.map(|bytes| (b'a'..=b'z').cycle().take(bytes).collect::<Vec<_>>());
        let head = match &posted {
            None => "GET /whoami HTTP/1.1\r\n".to_owned(),
            Some(body) => format!("POST /echo HTTP/1.1\r\nContent-Length: {}\r\n", body.len()),
        };
        let head = format!("{head}Host: load\r\nConnection: {connection}\r\n\r\n");
        let request = [head.as_bytes(), posted.as_deref().unwrap_or_default()].concat();
        Self { target, keep, request, posted, line: Line::new() }
    }

    pub(super) async fn ask(&mut self) -> Outcome {
        let mut stream = match self.line.take() {
            Some(stream) => stream,
            None => self.target.connect().await?,
        };
        let answer = exchange(&mut stream, &self.request).await?;
        let worker = self.judge(&answer)?;
        if self.keep == Keep::Always && !answer.closes {
            self.line.keep(stream, worker);
        }
        Ok(worker)
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        match &self.posted {
            _ if answer.status != 200 => Err(Failure::WrongStatus(answer.status).into()),
            None => Worker::read(&answer.body).map(Some),
            Some(posted) if *posted == answer.body => Ok(None),
            Some(_) => Err(Failure::WrongBody.into()),
        }
    }
}

/// Sends a request and reads its whole answer.
async fn exchange(stream: &mut Wire, request: &[u8]) -> Result<Answer, Loss> {
    // A server may answer and close before it has read everything, so the answer is looked for all the same.
    let written = async {
        stream.write_all(request).await?;
        stream.flush().await
    };
    let unsent = written.await.err();
    let mut bytes = Vec::new();
    loop {
        let end = match stream.read_buf(&mut bytes).await {
            Ok(0) => unsent.as_ref().map_or(Ended::Closed, |_| Ended::Reset),
            Ok(_) => Ended::NotYet,
            Err(error) => return Err(broken(Some(&error), bytes.len()).into()),
        };
        match (read(&bytes), end) {
            (Reading::Whole(answer), _) => return Ok(answer),
            (Reading::UntilClosed(answer), Ended::Closed) => return Ok(Answer { closes: true, ..answer }),
            (Reading::Garbled, _) => return Err(Failure::Garbled.into()),
            (_, Ended::NotYet) => {}
            (_, Ended::Closed) => return Err(broken(None, bytes.len()).into()),
            (_, Ended::Reset) => return Err(broken(unsent.as_ref(), bytes.len()).into()),
        }
    }
}

/// What a read has said of the connection's end.
enum Ended {
    NotYet,
    Closed,
    /// When the request was written, already.
    Reset,
}
