//! The end of a process's mail: all that has come is taken, and all that was asked is answered; and that of one question.

use std::fmt;
use std::sync::Arc;

use futures_util::future::{join, join_all};

use super::answering::Answering;
use super::audience::Audience;
use super::mailbox::Rest;
use super::{Mail, Mailbox};
use crate::bus::peer::Address;

/// What a process has on one topic that its subscription is not done with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Untaken {
    topic: Box<str>,
    rest: Rest,
}

impl fmt::Display for Untaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, rest } = self;
        match rest {
            Rest { waiting: 0, .. } => write!(f, "a message on `{topic}` that its subscription has in hand"),
            Rest { waiting, in_hand } => {
                let messages = if *waiting == 1 { "message" } else { "messages" };
                write!(f, "{waiting} {messages} on `{topic}` that its subscription did not take")?;
                if *in_hand { f.write_str(": it has one in hand") } else { Ok(()) }
            }
        }
    }
}

impl Mail {
    /// Nothing comes any more: each subscription hears so when it has taken what there is.
    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.mailboxes().iter().for_each(|(_, mailbox)| mailbox.end());
    }

    /// Waits until each subscription has taken all that came and come back for more, and each question is answered. A
    /// subscription that has nothing in hand and takes nothing for a second is not waited for; one that works is, for as long
    /// as the caller waits. Cancel safe.
    pub(crate) async fn finish(&self) {
        let mailboxes = self.mailboxes();
        let answerings = self.answerings();
        let taken = join_all(mailboxes.iter().map(|(_, mailbox)| mailbox.exhausted()));
        join(taken, join_all(answerings.iter().map(|answering| answering.idle()))).await;
    }

    /// A function answers no further questions on a topic; what it has taken on, it still answers.
    pub(crate) fn dismiss(&self, topic: &str, answering: &Arc<Answering>) {
        if let Some(audience) = self.state().audiences.get_mut(topic) {
            audience.dismiss(answering);
        }
    }

    /// The asker waits no longer: a question is dropped wherever it is.
    pub(super) fn give_up_question(&self, asker: Address, number: u64) {
        let topic = {
            let mut state = self.state();
            let early = state.early.as_mut().and_then(|early| early.forget(asker.pid, number));
            early.or_else(|| {
                let answers = |(_, it): &(_, &Audience)| {
                    it.answerings().any(|answering| answering.cancel(asker.pid, number))
                };
                state.audiences.iter().find(answers).map(|(topic, _)| topic.to_string())
            })
        };
        if let Some(topic) = topic {
            self.tracer.given_up(&topic, number, asker);
        }
    }

    /// What subscriptions are not done with, and what those left that were given up while this process took leave.
    pub(crate) fn untaken(&self) -> Vec<Untaken> {
        let mailboxes = self.mailboxes().into_iter();
        let rests = mailboxes.map(|(topic, mailbox)| Untaken { topic, rest: mailbox.rest() });
        let left = self
            .losses
            .left_behind()
            .into_iter()
            .map(|(topic, waiting)| Untaken { topic: topic.into(), rest: Rest { waiting, in_hand: false } });
        rests.filter(|it| it.rest.waiting > 0 || it.rest.in_hand).chain(left).collect()
    }

    /// A subscription is given up. What it leaves has nobody who would hear it, and is told when this process ends if it is
    /// `leaving`: then somebody may rely on it.
    pub(crate) fn give_up(&self, topic: &'static str, mailbox: &Mailbox, leaving: bool) {
        let count = mailbox.close();
        self.losses.note_unheard(count);
        if leaving && count > 0 {
            self.losses.note_left_behind(topic, count);
        }
    }

    fn mailboxes(&self) -> Vec<(Box<str>, Arc<Mailbox>)> {
        let state = self.state();
        let audiences = state.audiences.iter();
        audiences
            .flat_map(|(topic, audience)| {
                audience.subscriptions.iter().map(move |it| (topic.clone(), it.upgrade()))
            })
            .filter_map(|(topic, mailbox)| Some((topic, mailbox?)))
            .collect()
    }

    fn answerings(&self) -> Vec<Arc<Answering>> {
        self.state().audiences.values().flat_map(Audience::answerings).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_with_what_is_in_hand() {
        let told =
            |waiting, in_hand| Untaken { topic: "words".into(), rest: Rest { waiting, in_hand } }.to_string();
        assert_eq!(told(2, false), "2 messages on `words` that its subscription did not take");
        assert_eq!(
            told(2, true),
            "2 messages on `words` that its subscription did not take: it has one in hand"
        );
        assert_eq!(told(0, true), "a message on `words` that its subscription has in hand");
    }
}
