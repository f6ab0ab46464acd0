//! The half of a link that receives: frames, or what belongs together of them, as they arrive.

use std::io;
use std::sync::Arc;

use super::super::decoder::Decoder;
use super::super::frame::{Frame, FrameError};
use super::super::parcel::Parcel;
use super::super::socket::{Received, Socket};
use super::LinkError;

/// The half that receives.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Arc<Socket>,
    decoder: Decoder,
}

/// What came over a link.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Between the two ends of the link.
    Frame(Frame),
    /// For others, in its order.
    Mail(Vec<Parcel>),
}

impl Receiver {
    pub(super) fn new(socket: Arc<Socket>, decoder: Decoder) -> Self {
        Self { socket, decoder }
    }

    /// The next frame; `None` when the other side is gone. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, LinkError> {
        self.until_found(Decoder::next).await
    }

    /// The next frame, or all messages that have arrived and belong together; `None` when the other side is gone. Cancel
    /// safe.
    pub(crate) async fn next_parcel(&mut self) -> Result<Option<Parcel>, LinkError> {
        self.until_found(Decoder::next_parcel).await
    }

    /// The next frame for us, or all mail that has arrived before it; `None` when the other side is gone. Cancel safe.
    pub(crate) async fn next_arrival(&mut self) -> Result<Option<Arrival>, LinkError> {
        self.until_found(arrival).await
    }

    /// Reads until there is in the bytes what is looked for.
    async fn until_found<T>(
        &mut self,
        look: fn(&mut Decoder) -> Result<Option<T>, FrameError>,
    ) -> Result<Option<T>, LinkError> {
        loop {
            if let Some(found) = look(&mut self.decoder)? {
                return Ok(Some(found));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for more bytes; `false` when the other side is gone. Cancel safe.
    async fn read(&mut self) -> Result<bool, LinkError> {
        match self.socket.receive(&mut self.decoder).await {
            Ok(Received::Bytes) => Ok(true),
            Ok(Received::End) if self.decoder.is_mid_frame() => Err(LinkError::CutShort),
            Ok(Received::End) => Ok(false),
            // A peer that died with bytes of ours unread resets the socket: dead all the same.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn arrival(decoder: &mut Decoder) -> Result<Option<Arrival>, FrameError> {
    let mut mail = Vec::new();
    while decoder.has_mail() || mail.is_empty() {
        match decoder.next_parcel() {
            Ok(Some(Parcel::Frame(frame))) if !frame.kind().is_mail() => {
                return Ok(Some(Arrival::Frame(frame)));
            }
            Ok(Some(parcel)) => mail.push(parcel),
            Ok(None) => break,
            // The next look finds it again.
            Err(_) if !mail.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok((!mail.is_empty()).then_some(Arrival::Mail(mail)))
}
