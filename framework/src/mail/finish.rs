//! The end of a process's mail: all that has come is taken, and all that was asked is answered.

use std::sync::Arc;

use futures_util::future::{join, join_all};

use super::answering::Answering;
use super::{Mail, Mailbox};

impl Mail {
    /// Waits until each subscription has taken all that came and come back for more, and each question is answered. A
    /// subscription that does nothing for a second is not waited for. Cancel safe.
    pub(crate) async fn finish(&self) {
        let mailboxes = self.mailboxes();
        let answerings = self.answerings();
        let taken = join_all(mailboxes.iter().map(|(_, mailbox)| mailbox.exhausted()));
        join(taken, join_all(answerings.iter().map(|answering| answering.idle()))).await;
    }

    /// How many messages wait for subscriptions, by their topics.
    pub(crate) fn untaken(&self) -> Vec<(Box<str>, u64)> {
        let mut untaken: Vec<_> =
            self.mailboxes().into_iter().map(|(topic, mailbox)| (topic, mailbox.untaken())).collect();
        untaken.retain(|(_, count)| *count > 0);
        untaken
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
        self.state().audiences.values().filter_map(|audience| audience.answering.clone()).collect()
    }
}
