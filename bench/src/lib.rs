//! What the peers share: the barest HTTP/1 server that hyper makes. No time-outs, no limits, no drain, no
//! figures: what it costs is the floor.

pub mod bus;

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The body of every answer: as long as what the template app says.
pub const GREETING: &str = "hello from worker 0\n";

/// Answers every request on `listener` with the greeting.
///
/// # Errors
/// When a connection cannot be accepted.
pub async fn serve(listener: TcpListener) -> io::Result<Infallible> {
    let http = http1::Builder::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http.serve_connection(TokioIo::new(stream), service_fn(greet));
        // A client that goes away is its own affair.
        tokio::spawn(async { drop(connection.await) });
    }
}

async fn greet(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from(GREETING));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}
