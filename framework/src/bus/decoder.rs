//! Cuts a stream of bytes into frames, or into runs of messages that go the same way. Pure.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{Frame, FrameError, Kind, MAX_DESCRIPTORS};
use super::head::{Glimpse, HEAD, Head, LOST, SORT, WAY};
use super::packed;
use super::parcel::{Parcel, Run};

/// Up to so many bytes, the memory of what was cut off may serve for what comes next.
const KEPT: usize = 256 << 10;

/// Cuts a stream of bytes into frames.
pub(crate) struct Decoder {
    limit: usize,
    /// The most descriptors of a frame of each kind.
    carries: fn(Kind) -> usize,
    /// Whether many messages in one frame are a run; only the master makes such frames.
    unpacks: bool,
    bytes: BytesMut,
    /// `None` stands for all those of one frame, which were lost.
    descriptors: VecDeque<Option<OwnedFd>>,
}

impl Decoder {
    /// Frames of more than `limit` bytes are errors.
    pub(crate) fn new(limit: usize) -> Self {
        let (bytes, descriptors) = (BytesMut::new(), VecDeque::new());
        Self { limit, carries: Kind::most_descriptors, unpacks: true, bytes, descriptors }
    }

    /// The same for what a child sends, who may send fewer descriptors than the master.
    pub(crate) fn of_child(limit: usize) -> Self {
        Self { carries: Kind::most_descriptors_of_child, unpacks: false, ..Self::new(limit) }
    }

    /// The same for who has no descriptors to send.
    pub(crate) fn of_caller(limit: usize) -> Self {
        Self { carries: |_| 0, unpacks: false, ..Self::new(limit) }
    }

    /// Takes what one read brought. Descriptors never arrive later than the bytes of their frame.
    pub(crate) fn feed(&mut self, bytes: &[u8], descriptors: impl IntoIterator<Item = OwnedFd>) {
        self.bytes.extend_from_slice(bytes);
        self.descriptors.extend(descriptors.into_iter().map(Some));
    }

    /// Takes what one read brought whose descriptors were lost. One read brings those of one frame at most.
    pub(crate) fn feed_stripped(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.descriptors.push_back(None);
    }

    /// Whether a frame has begun and is not whole.
    pub(crate) fn is_mid_frame(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        match self.head()? {
            Some(head) => self.take(head).map(Some),
            None => Ok(None),
        }
    }

    /// Whether what comes next is whole, and for others than the two ends of the link.
    pub(crate) fn has_mail(&mut self) -> bool {
        matches!(self.head(), Ok(Some(head)) if head.kind.is_mail())
    }

    /// The next whole frame, or all whole messages that follow one another and go the same way.
    pub(crate) fn next_parcel(&mut self) -> Result<Option<Parcel>, FrameError> {
        let Some(head) = self.head()? else { return Ok(None) };
        if head.kind == Kind::Messages && self.unpacks {
            self.check_content(&head)?;
            return Ok(Some(Parcel::Run(Run::unpacked(self.cut(head.wire_length()), &head))));
        }
        if !is_plain_message(&head) {
            return self.take(head).map(|frame| Some(Parcel::Frame(frame)));
        }
        self.check_topic(head.topic_length)?;
        let (mut end, mut count) = (head.wire_length(), 1);
        while let Some(length) = self.follower(head.topic_length.into(), end) {
            end += length;
            count += 1;
        }
        Ok(Some(Parcel::Run(Run::plain(self.cut(end), count, &head))))
    }

    /// The envelope of the next frame, if that is whole.
    fn head(&mut self) -> Result<Option<Head>, FrameError> {
        let head = Head::read(&self.bytes, self.limit)?;
        head.map_or(Ok(()), |head| head.check_load((self.carries)(head.kind)))?;
        let whole = head.map_or(HEAD, |head| head.wire_length());
        if self.bytes.len() >= whole {
            return Ok(head);
        }
        self.check_for_strays(head)?;
        if head.is_some() {
            // Not the whole length at once: the head is a claim, the bytes are the proof.
            self.bytes.reserve((whole - self.bytes.len()).min(1 << 20));
        }
        Ok(None)
    }

    /// Descriptors come with the first byte of their frame, so that `unfinished` has announced all that are here.
    fn check_for_strays(&self, unfinished: Option<Head>) -> Result<(), FrameError> {
        let most = match unfinished {
            Some(head) => head.descriptors.into(),
            None if self.bytes.is_empty() => 0,
            None => MAX_DESCRIPTORS,
        };
        match self.descriptors.len().checked_sub(most) {
            None | Some(0) => Ok(()),
            Some(strays) => Err(FrameError::StrayDescriptors(strays)),
        }
    }

    /// Cuts off so many bytes. What is left after large ones moves, or they would keep their memory for as long as
    /// nothing more comes.
    fn cut(&mut self, length: usize) -> Bytes {
        let cut = self.bytes.split_to(length).freeze();
        if length > KEPT {
            self.bytes = BytesMut::from(&self.bytes[..]);
        }
        cut
    }

    /// The length of the frame at `at`, if it is whole and goes the way of the first, which has `topic` bytes of topic.
    /// What is wrong with it is said when it comes first.
    fn follower(&self, topic: usize, at: usize) -> Option<usize> {
        let (first, rest) = (&self.bytes[..], self.bytes.get(at..)?);
        let length = Glimpse::of(rest)?.length;
        let fits = rest.len() >= length && (HEAD + topic..=HEAD + self.limit).contains(&length);
        let same = |range: Range<usize>| rest.get(range.clone()) == first.get(range);
        (fits && same(SORT) && same(WAY) && same(HEAD..HEAD + topic)).then_some(length)
    }

    /// Takes the whole frame that begins with `head`.
    fn take(&mut self, mut head: Head) -> Result<Frame, FrameError> {
        self.check_content(&head)?;
        let descriptors = self.take_descriptors(&mut head)?;
        self.bytes.advance(HEAD);
        let content = self.cut(head.length as usize);
        Ok(Frame::from_wire(&head, content, descriptors))
    }

    /// Of the whole frame that begins with `head`.
    fn check_content(&self, head: &Head) -> Result<(), FrameError> {
        self.check_topic(head.topic_length)?;
        let is_many = head.kind == Kind::Messages && self.unpacks;
        if is_many { packed::check(&self.bytes[..head.wire_length()], head) } else { Ok(()) }
    }

    fn check_topic(&self, length: u8) -> Result<(), FrameError> {
        let topic = &self.bytes[HEAD..HEAD + usize::from(length)];
        std::str::from_utf8(topic).map(drop).map_err(|_| FrameError::TopicNotText)
    }

    /// Some kinds are worth something without their descriptors, too, and say that these are missing.
    fn take_descriptors(&mut self, head: &mut Head) -> Result<Vec<Arc<OwnedFd>>, FrameError> {
        let (announced, came) = (usize::from(head.descriptors), self.descriptors.len());
        if announced > 0 && matches!(self.descriptors.front(), Some(None)) {
            if !head.kind.outlives_descriptors() {
                return Err(FrameError::DescriptorsLost(head.kind));
            }
            self.descriptors.pop_front();
            head.flags |= LOST;
            return Ok(Vec::new());
        }
        if came < announced {
            return Err(FrameError::MissingDescriptors { announced, came });
        }
        Ok(self.descriptors.drain(..announced).flatten().map(Arc::new).collect())
    }
}

/// Tells how much there is of what has begun, never what it is.
impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, descriptors) = (self.bytes.len(), self.descriptors.len());
        let mut decoder = f.debug_struct("Decoder");
        decoder.field("limit", &self.limit).field("bytes", &bytes).field("descriptors", &descriptors).finish()
    }
}

/// One that nothing needs to be known of but its way.
fn is_plain_message(head: &Head) -> bool {
    head.kind == Kind::Message && head.flags == 0 && head.descriptors == 0
}

#[cfg(test)]
mod tests;
