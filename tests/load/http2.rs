//! A client of HTTP/2 from the first byte: one connection, one stream after the other.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, StatusCode};

use super::line::{Line, broken};
use super::report::{Failure, Loss, Outcome, Worker};
use super::target::Target;

#[derive(Debug)]
pub(super) struct Client {
    target: Target,
    pub(super) line: Line<SendRequest<Bytes>>,
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        Self { target, line: Line::new() }
    }

    pub(super) async fn ask(&mut self) -> Outcome {
        let kept = match self.line.take() {
            Some(kept) => kept.ready().await.map(Some).or_else(|error| told_to_go(&error).map(|()| None))?,
            None => None,
        };
        let mut connection = match kept {
            Some(connection) => connection,
            None => open(&self.target).await?,
        };
        let worker = Worker::read(&exchange(&mut connection).await?)?;
        self.line.keep(connection, Some(worker));
        Ok(Some(worker))
    }
}

/// A connection that was told to go while nothing was asked on it is given up for a new one, as it should be.
fn told_to_go(error: &h2::Error) -> Result<(), Loss> {
    match loss(error, 0) {
        Loss::HandedBack => Ok(()),
        failed @ Loss::Failed(_) => Err(failed),
    }
}

async fn open(target: &Target) -> Result<SendRequest<Bytes>, Loss> {
    let stream = target.connect().await?;
    let (sender, connection) = h2::client::handshake(stream).await.map_err(|error| loss(&error, 0))?;
    // It ends with its last stream and sender; its errors are told to those, too.
    tokio::spawn(async { drop(connection.await) });
    sender.ready().await.map_err(|error| loss(&error, 0))
}

async fn exchange(connection: &mut SendRequest<Bytes>) -> Result<Vec<u8>, Loss> {
    let request = Request::get("http://load/whoami").body(()).expect("a request");
    let (answer, _) = connection.send_request(request, true).map_err(|error| loss(&error, 0))?;
    let answer = answer.await.map_err(|error| loss(&error, 0))?;
    if answer.status() != StatusCode::OK {
        return Err(Failure::WrongStatus(answer.status().as_u16()).into());
    }
    body(answer.into_body()).await
}

async fn body(mut stream: RecvStream) -> Result<Vec<u8>, Loss> {
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece.map_err(|error| loss(&error, 1))?;
        let _ = stream.flow_control().release_capacity(piece.len());
        body.extend(&piece);
    }
    Ok(body)
}

/// What an error means when so many bytes of the answer had come.
fn loss(error: &h2::Error, bytes: usize) -> Loss {
    let is_remote = error.is_remote();
    match error.reason() {
        Some(Reason::NO_ERROR) if is_remote && error.is_go_away() => Loss::HandedBack,
        Some(Reason::REFUSED_STREAM) if is_remote => Loss::HandedBack,
        Some(_) if is_remote && bytes == 0 => Failure::ResetBeforeAnswer.into(),
        Some(_) if is_remote => Failure::ResetWithinAnswer.into(),
        _ if error.is_io() => broken(error.get_io(), bytes).into(),
        _ => Failure::Garbled.into(),
    }
}
