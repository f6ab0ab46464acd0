//! Who cares for one topic: its subscriptions, and the functions that answer, or did.

use std::sync::{Arc, Weak};

use super::answering::Answering;
use super::mailbox::Mailbox;
use crate::bus::frame::Frame;
use crate::bus::parcel::Run;

/// Who cares for a topic.
#[derive(Debug, Default)]
pub(super) struct Audience {
    pub(super) subscriptions: Vec<Weak<Mailbox>>,
    pub(super) answering: Option<Arc<Answering>>,
    /// Those that take nothing on any more, for as long as they have questions.
    dismissed: Vec<Weak<Answering>>,
}

impl Audience {
    /// Lets a mailbox have what comes from now on.
    pub(super) fn subscribe(&mut self, mailbox: &Arc<Mailbox>) {
        // On a topic of which nothing comes, nothing else would remove those that were dropped.
        self.forget_dropped();
        self.subscriptions.push(Arc::downgrade(mailbox));
    }

    /// This function takes nothing on any more; what it has, it still answers.
    pub(super) fn dismiss(&mut self, answering: &Arc<Answering>) {
        self.dismissed.retain(|former| former.strong_count() > 0);
        if let Some(former) = self.answering.take_if(|current| Arc::ptr_eq(current, answering)) {
            self.dismissed.push(Arc::downgrade(&former));
        }
    }

    /// All that may have questions.
    pub(super) fn answerings(&self) -> impl Iterator<Item = Arc<Answering>> {
        self.answering.iter().cloned().chain(self.dismissed.iter().filter_map(Weak::upgrade))
    }

    /// Whether anybody follows the topic; those for whom much waits join the `crowded`.
    pub(super) fn deliver(&mut self, frame: &Frame, crowded: &mut Vec<Arc<Mailbox>>) -> bool {
        self.put(crowded, |mailbox| mailbox.put(frame))
    }

    /// Like [`deliver`](Self::deliver), for many messages.
    pub(super) fn deliver_run(&mut self, run: &Run, crowded: &mut Vec<Arc<Mailbox>>) -> bool {
        self.put(crowded, |mailbox| mailbox.put_run(run.clone()))
    }

    fn put(&mut self, crowded: &mut Vec<Arc<Mailbox>>, put: impl Fn(&Mailbox) -> bool) -> bool {
        self.forget_dropped();
        let mut heard = false;
        for mailbox in self.subscriptions.iter().filter_map(Weak::upgrade) {
            heard = true;
            if put(&mailbox) {
                crowded.push(mailbox);
            }
        }
        heard
    }

    fn forget_dropped(&mut self) {
        self.subscriptions.retain(|subscription| subscription.strong_count() > 0);
    }
}
