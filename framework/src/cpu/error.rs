//! Why a job has no result, for the handler and for its client.

use std::io;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};

/// A job has no result. As an answer to a client it is 500 for a panic and 503 with `Retry-After` for the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// As many jobs wait as may.
    #[error("{limit} heavy jobs wait already: try again later, or raise cpu.queue_limit")]
    Full {
        /// How many may wait.
        limit: usize,
    },
    /// The job waited in vain for a thread.
    #[error(
        "no thread was free for a heavy job within {limit:?}: try again later, or raise cpu.queue_timeout"
    )]
    Late {
        /// How long a job may wait.
        limit: Duration,
    },
    /// The job panicked. Its thread goes on.
    #[error("a heavy job panicked: {message}")]
    Panicked {
        /// The panic's own words.
        message: String,
    },
    /// The pool was dropped before the job could begin.
    #[error("the pool for heavy jobs is closed: this process is ending")]
    Closed,
    /// The system gives no thread.
    #[error("no thread can be started for heavy jobs: {source}: look at the limit of processes")]
    NoThread {
        /// The system's reason.
        #[from]
        source: io::Error,
    },
}

impl IntoResponse for CpuError {
    fn into_response(self) -> Response {
        match self {
            // The client has no business with the panic's words.
            Self::Panicked { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal server error\n").into_response()
            }
            Self::Full { .. } | Self::Late { .. } | Self::Closed | Self::NoThread { .. } => {
                let later = [(RETRY_AFTER, "1")];
                (StatusCode::SERVICE_UNAVAILABLE, later, "busy: try again later\n").into_response()
            }
        }
    }
}
