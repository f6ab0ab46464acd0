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
            Rest { waiting: 0, missed: 0, .. } => {
                return write!(f, "a message on `{topic}` that its subscription has in hand");
            }
            Rest { waiting: 0, missed, .. } => {
                write!(f, "{missed} {} on `{topic}` that its subscription missed", messages(*missed))?;
            }
            Rest { waiting, missed, .. } => {
                write!(
                    f,
                    "{waiting} {} on `{topic}` that its subscription did not take",
                    messages(*waiting)
                )?;
                if *missed > 0 {
                    write!(f, ", and {missed} that it missed")?;
                }
            }
        }
        if rest.in_hand { f.write_str(": it has one in hand") } else { Ok(()) }
    }
}

fn messages(count: u64) -> &'static str {
    if count == 1 { "message" } else { "messages" }
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
            .map(|(topic, (waiting, missed))| (topic, Rest { waiting, missed, in_hand: false }))
            .map(|(topic, rest)| Untaken { topic: topic.into(), rest });
        rests.filter(|it| it.rest != Rest::default()).chain(left).collect()
    }

    /// A subscription is given up. What it leaves has nobody who would hear it, and is told when this process ends, with what
    /// it missed, if it is `leaving`: then somebody may rely on it.
    pub(crate) fn give_up(&self, topic: &'static str, mailbox: &Mailbox, leaving: bool) {
        let Rest { waiting, missed, .. } = mailbox.close();
        self.losses.note_unheard(topic, waiting);
        if leaving && waiting + missed > 0 {
            self.losses.note_left_behind(topic, waiting, missed);
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
        for (waiting, missed, in_hand, words) in [
            (2, 0, false, "2 messages on `words` that its subscription did not take"),
            (2, 0, true, "2 messages on `words` that its subscription did not take: it has one in hand"),
            (1, 9, false, "1 message on `words` that its subscription did not take, and 9 that it missed"),
            (0, 1, false, "1 message on `words` that its subscription missed"),
            (0, 2, true, "2 messages on `words` that its subscription missed: it has one in hand"),
            (0, 0, true, "a message on `words` that its subscription has in hand"),
        ] {
            let rest = Rest { waiting, missed, in_hand };
            assert_eq!(Untaken { topic: "words".into(), rest }.to_string(), words);
        }
    }
}
