//! How hyper is set up for both versions of HTTP. The time-outs are not its own: see `alarm`.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;

use super::HttpSettings;
use super::clock::Clocked;

/// How long a client may take to answer a ping.
const PONG: Duration = Duration::from_secs(20);

/// Both versions, ready to serve connections.
pub(super) struct Protocols {
    pub(super) one: http1::Builder,
    pub(super) two: http2::Builder<Clocked>,
}

impl Protocols {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        Self { one: one(settings), two: two(settings) }
    }
}

fn one(settings: &HttpSettings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Not `pipeline_flush`: it holds an answer back for as long as bytes of a further request wait.
    // Half-close, because hyper would otherwise allocate a buffer per request just to look for the client's end while
    // the handler works. The stream looks for it itself, and only when the handler has to wait.
    builder.header_read_timeout(None).max_buf_size(settings.header_bytes() as usize).half_close(true);
    builder
}

fn two(settings: &HttpSettings) -> http2::Builder<Clocked> {
    let mut builder = http2::Builder::new(Clocked::new(settings.send_timeout));
    let interval = settings.http2_ping_interval;
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.http2_streams.get())
        .max_header_list_size(settings.header_bytes())
        .keep_alive_interval((!interval.is_zero()).then_some(interval))
        .keep_alive_timeout(PONG);
    builder
}
