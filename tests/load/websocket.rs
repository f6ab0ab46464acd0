//! A client of WebSockets: it stays on one, says something and wants it back.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::line::{Line, broken};
use super::report::{Failure, Loss, Outcome, Worker};
use super::target::{Target, Wire};

#[derive(Debug)]
pub(super) struct Client {
    target: Target,
    said: u64,
    pub(super) line: Line<Socket>,
}

/// A WebSocket whose other end has said its name.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<Wire>,
    worker: Worker,
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        Self { target, said: 0, line: Line::new() }
    }

    pub(super) async fn ask(&mut self) -> Outcome {
        let mut socket = match self.line.take() {
            Some(socket) => socket,
            None => Socket::open(&self.target).await?,
        };
        self.said += 1;
        let words = format!("message {}", self.said);
        // A server that has closed in order says so in what is read next.
        let _ = socket.stream.send(Message::text(words.as_str())).await;
        if hear(&mut socket.stream).await? != words {
            return Err(Failure::WrongBody.into());
        }
        let worker = Some(socket.worker);
        self.line.keep(socket, worker);
        Ok(worker)
    }
}

impl Socket {
    async fn open(target: &Target) -> Result<Self, Loss> {
        let (stream, address) = (target.connect().await?, &target.address);
        let handshake = client_async(format!("ws://{address}/socket"), stream).await;
        let (mut stream, _) = handshake.map_err(|error| loss(&error))?;
        let worker = Worker::read(hear(&mut stream).await?.as_bytes())?;
        Ok(Self { stream, worker })
    }
}

/// The next words.
async fn hear(stream: &mut WebSocketStream<Wire>) -> Result<String, Loss> {
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(words))) => return Ok(words.to_string()),
            Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::Away => {
                // The other side waits for the answer to its close.
                let _ = stream.close(None).await;
                return Err(Loss::HandedBack);
            }
            Some(Ok(Message::Close(_))) | None => return Err(Failure::ClosedBeforeAnswer.into()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) => return Err(Failure::WrongBody.into()),
            Some(Err(error)) => return Err(loss(&error)),
        }
    }
}

fn loss(error: &Error) -> Loss {
    let failure = match error {
        Error::Io(error) => broken(Some(error), 0),
        Error::Http(answer) => Failure::WrongStatus(answer.status().as_u16()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete)
        | Error::ConnectionClosed => Failure::ClosedBeforeAnswer,
        _ => Failure::Garbled,
    };
    failure.into()
}
