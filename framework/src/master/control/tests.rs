//! Who is heard, and whose request is carried out.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::bus::codec;
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::{self, Receiver};

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// A socket that is listened on and not served yet.
fn socket() -> (TempDir, PathBuf, Listener) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let listener = listen(&path).unwrap();
    (folder, path, listener)
}

async fn ask(path: &Path, request: &Request) -> (Receiver, Sender) {
    let (receiver, sender) = link::open(UnixStream::connect(path).unwrap().into()).unwrap();
    let body = codec::encode("a request", request).unwrap();
    sender.send(Frame::new(Kind::Request, 0, body)).await.unwrap();
    (receiver, sender)
}

async fn next_request(events: &mut mpsc::Receiver<Event>) -> (Request, Reply) {
    match timeout(DEADLINE, events.recv()).await.expect("a request in time") {
        Some(Event::Control { request, reply }) => (request, reply),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_speaks_is_heard_before_any_of_hundreds_who_do_not_has_had_its_time() {
    let (_folder, path, listener) = socket();
    let (sender, mut events) = mpsc::channel(8);
    let mut silent: Vec<_> = (0..200).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let _caller = ask(&path, &Request::Status).await;
    silent.extend((0..20).map(|_| UnixStream::connect(&path).unwrap()));
    let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(serve(listener, sender)));
    assert_eq!(next_request(&mut events).await.0, Request::Status);
    // It came a little earlier: a master that waits for the silent would have waited for this one, too.
    silent[189].set_nonblocking(true).unwrap();
    let error = { &silent[189] }.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "it has its time still");
}

#[tokio::test]
async fn what_a_caller_asked_who_is_gone_is_not_carried_out() {
    let (_folder, path, listener) = socket();
    let (sender, mut events) = mpsc::channel(8);
    drop(ask(&path, &Request::Stop { fast: true, timeout_ms: None }).await);
    let _caller = ask(&path, &Request::Status).await;
    let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(serve(listener, sender)));
    assert_eq!(next_request(&mut events).await.0, Request::Status);
}

#[tokio::test]
async fn the_way_back_to_a_caller_who_leaves_is_closed() {
    let (_folder, path, listener) = socket();
    let (sender, mut events) = mpsc::channel(8);
    let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(serve(listener, sender)));
    let caller = ask(&path, &Request::Reload { agent: false }).await;
    let (_, reply) = next_request(&mut events).await;
    assert!(!reply.is_gone());
    drop(caller);
    timeout(DEADLINE, reply.0.closed()).await.unwrap();
    assert!(reply.is_gone());
}
