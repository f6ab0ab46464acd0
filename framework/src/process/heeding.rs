//! What a process does with what its master sends.

use std::time::Duration;

use super::Process;
use crate::bus::codec;
use crate::bus::control::{ANNOUNCEMENT, SUCCESSION};
use crate::bus::frame::{Frame, Kind};
use crate::bus::link::{LinkError, Receiver};
use crate::bus::parcel::Parcel;
use crate::error::BoxError;
use crate::http::Occasion;

impl Process {
    /// Serves the link until the master is gone.
    pub(crate) async fn attend(&self, mut receiver: Receiver) -> Result<(), LinkError> {
        tokio::spawn(self.clone().tell_interests());
        while let Some(parcel) = receiver.next_parcel().await? {
            match parcel {
                Parcel::Frame(frame) => self.heed(&frame).await,
                Parcel::Run(run) => self.mail().take_run(run),
            }
            self.mail().relieve().await;
        }
        Ok(())
    }

    /// Takes a frame of the master's; what is wrong with it is in the log.
    pub(crate) async fn heed(&self, frame: &Frame) {
        if let Err(problem) = self.take(frame).await {
            tracing::error!("{frame:?} from the master: {problem}");
        }
    }

    async fn take(&self, frame: &Frame) -> Result<(), BoxError> {
        match frame.kind() {
            Kind::ClusterReady => {
                self.shared.cluster_ready.send_replace(true);
                self.send(Frame::new(Kind::ClusterReady, 0, vec![])).await?;
            }
            Kind::Lead => self.shared.leads.cancel(),
            Kind::Farewell => {
                self.mail().end();
                self.shared.parting.farewell();
            }
            Kind::News if frame.number() > 0 => {
                self.shared.requests.answered(frame.number(), frame.shared_payload());
            }
            // One that this version does not know is for others; one that nobody follows is for nobody.
            Kind::News => {
                if let Ok(event) = codec::decode("an event", frame.payload()) {
                    let _ = self.shared.events.send(event);
                }
            }
            Kind::Shutdown if frame.payload() == ANNOUNCEMENT => self.shared.announced.cancel(),
            // Who is not ready has nothing to finish.
            Kind::Shutdown if frame.number() == 0 || !self.said_ready() => {
                self.leave(Occasion::Stop, None);
                self.shared.abort.cancel();
            }
            Kind::Shutdown => {
                // Whoever does not know the word treats it as a stop.
                let occasion = match frame.payload() {
                    SUCCESSION => Occasion::Succession,
                    _ => Occasion::Stop,
                };
                self.leave(occasion, Some(Duration::from_millis(frame.number())));
            }
            Kind::Reopen => {
                let problem =
                    self.shared.reopener.reopen().err().map(|error| error.to_string()).unwrap_or_default();
                self.send(Frame::new(Kind::Reopened, frame.number(), problem.into_bytes())).await?;
            }
            Kind::Published | Kind::Reopened | Kind::Everywhere => {
                self.shared.requests.answered(frame.number(), frame.shared_payload());
            }
            kind if kind.is_mail() => self.shared.mail.take(frame),
            Kind::Trace => {
                let patterns = codec::decode("the traced topics", frame.payload())?;
                self.shared.mail.tracer().follow(patterns, &self.shared.roll);
            }
            Kind::Receipt | Kind::Room => self.shared.mail.take(frame),
            _ => self.take_of_states(frame).await?,
        }
        Ok(())
    }
}
