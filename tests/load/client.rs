//! One client of whatever mode, as the running load sees it.

use super::line::Past;
use super::report::Outcome;
use super::{Load, Mode, events, http1, http2, websocket};

#[derive(Debug)]
pub(super) enum Client {
    Http1(http1::Client),
    Http2(http2::Client),
    WebSocket(Box<websocket::Client>),
    Events(events::Client),
}

impl Client {
    pub(super) fn new(load: &Load) -> Self {
        let is_http1 = matches!(load.mode, Mode::NewConnection | Mode::KeepAlive);
        assert!(is_http1 || load.posted.is_none(), "{:?} cannot post", load.mode);
        let target = load.target.clone().speaking(load.mode);
        match load.mode {
            Mode::NewConnection => Self::Http1(http1::Client::new(target, http1::Keep::Never, load.posted)),
            Mode::KeepAlive => Self::Http1(http1::Client::new(target, http1::Keep::Always, load.posted)),
            Mode::Http2 => Self::Http2(http2::Client::new(target)),
            Mode::WebSocket => Self::WebSocket(Box::new(websocket::Client::new(target))),
            Mode::Events => Self::Events(events::Client::new(target)),
        }
    }

    /// One request and its answer. When it is dropped halfway, its connection is closed.
    pub(super) async fn ask(&mut self) -> Outcome {
        match self {
            Self::Http1(client) => client.ask().await,
            Self::Http2(client) => client.ask().await,
            Self::WebSocket(client) => client.ask().await,
            Self::Events(client) => client.ask().await,
        }
    }

    /// What the connection of the last request had brought before it.
    pub(super) fn past(&self) -> Past {
        match self {
            Self::Http1(client) => client.line.past(),
            Self::Http2(client) => client.line.past(),
            Self::WebSocket(client) => client.line.past(),
            Self::Events(client) => client.line.past(),
        }
    }
}
