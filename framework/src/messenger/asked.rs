//! A question as its answering function gets it: with who asks, and when.

use std::fmt;
use std::ops::Deref;

use chrono::{DateTime, Utc};

use super::sending::{MessageId, Sending};
use crate::bus::Origin;

/// A question, with who asks it and when. Handed to the functions of
/// [`answer_asked`](crate::Messenger::answer_asked); reads as the question itself.
pub struct Asked<Q> {
    question: Q,
    sending: Sending,
}

impl<Q> Asked<Q> {
    pub(super) fn new(question: Q, sending: Sending) -> Self {
        Self { question, sending }
    }

    /// Who asks, when, and the id, apart from the question.
    #[must_use]
    pub fn sending(&self) -> &Sending {
        &self.sending
    }

    /// Who asks; `None` for a process outside of the cluster.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.sending.origin()
    }

    /// When it was asked, by the asker's clock.
    #[must_use]
    pub fn sent_at(&self) -> DateTime<Utc> {
        self.sending.sent_at()
    }

    /// What no other question and no message has.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.sending.id()
    }

    /// The question alone.
    #[must_use]
    pub fn into_inner(self) -> Q {
        self.question
    }
}

impl<Q> Deref for Asked<Q> {
    type Target = Q;

    fn deref(&self) -> &Q {
        &self.question
    }
}

impl<Q: fmt::Debug> fmt::Debug for Asked<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("question", &self.question)
            .field("origin", &self.origin())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
