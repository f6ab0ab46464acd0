//! A connection that is kept from one request to the next, and what it has brought so far; and what errors of
//! connections mean.

use std::io;

use super::report::{Failure, Worker};

/// What a connection had brought before a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    pub(super) answers: u64,
    /// Who gave the last of them.
    pub(super) worker: Option<Worker>,
}

/// Where a client keeps its connection.
#[derive(Debug)]
pub(super) struct Line<C> {
    kept: Option<C>,
    /// Of the connection that is kept.
    present: Past,
    /// Of the connection when it was taken last.
    taken: Past,
}

impl<C> Line<C> {
    pub(super) fn new() -> Self {
        Self { kept: None, present: Past::default(), taken: Past::default() }
    }

    /// The connection that was kept. Who does not give it back closes it.
    pub(super) fn take(&mut self) -> Option<C> {
        self.taken = std::mem::take(&mut self.present);
        self.kept.take()
    }

    /// Keeps a connection that has just brought an answer.
    pub(super) fn keep(&mut self, connection: C, worker: Option<Worker>) {
        self.kept = Some(connection);
        self.present = Past { answers: self.taken.answers + 1, worker: worker.or(self.taken.worker) };
    }

    /// What the connection that was taken last had brought by then.
    pub(super) fn past(&self) -> Past {
        self.taken
    }
}

/// What it means that a connection failed, or ended (`None`), when so many bytes of the answer had come.
pub(super) fn broken(error: Option<&io::Error>, bytes: usize) -> Failure {
    let is_closed = error.is_none_or(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    match (is_closed, bytes) {
        (true, 0) => Failure::ClosedBeforeAnswer,
        (false, 0) => Failure::ResetBeforeAnswer,
        (true, _) => Failure::Truncated,
        (false, _) => Failure::ResetWithinAnswer,
    }
}
