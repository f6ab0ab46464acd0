//! The desk at which configuration is handed in: validated as the author's type, then published or refused.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;

use crate::bus::codec;
use crate::bus::frame::{Frame, Kind};
use crate::bus::payload::Payload;
use crate::bus::topic::{CONFIG, READING};
use crate::config::{ConfigError, Layers, Merged, Reading};
use crate::error::Result;
use crate::process::{MasterGone, Process};
use crate::published::{PublishError, publish};
use crate::sections::Sections;

/// Where a duty hands in what it read.
#[derive(Debug)]
pub struct ConfigDesk {
    process: Process,
    sections: Sections,
    in_force: Mutex<InForce>,
}

/// What was validated last.
#[derive(Debug, Default)]
struct InForce {
    reading: Option<Reading>,
    merged: Merged,
}

/// What became of a configuration that was handed in.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It says the same as the one in force.
    Unchanged,
    /// It is in force as this version.
    Published(u64),
    /// It is wrong; the last good one stays, and `status` shows why.
    Refused(ConfigError),
}

/// A configuration that is good.
#[derive(Debug)]
struct Accepted {
    reading: Reading,
    merged: Merged,
    payload: Vec<u8>,
}

/// `earlier` is what was in force before.
fn judge(
    sections: &Sections,
    reading: Result<Reading, ConfigError>,
    earlier: Option<&Reading>,
) -> Result<Accepted, ConfigError> {
    let reading = reading?;
    if let Some(earlier) = earlier {
        reading.check_against(earlier)?;
    }
    let merged = reading.merge()?;
    let payload = sections.encode(&merged)?;
    Ok(Accepted { reading, merged, payload })
}

/// What the agent before this one had in force.
fn left_by_predecessor(process: &Process, sections: &Sections) -> Option<Accepted> {
    let (_, bytes) = process.latest_state(READING)?;
    judge(sections, Ok(bytes.decode("the last good configuration").ok()?), None).ok()
}

impl ConfigDesk {
    /// Loads the first configuration. If it is wrong and an earlier agent left a good one, that one stays; but an
    /// agent that comes to replace one that works fails by it. Nothing is published before this agent leads.
    pub(crate) async fn open(process: Process, sections: Sections) -> Result<Self> {
        if process.replaces() {
            judge(&sections, process.launch().layers.read(), None)?;
        }
        process.lead().await?;
        let left = left_by_predecessor(&process, &sections);
        let earlier = left.as_ref().map(|left| &left.reading);
        let (accepted, refused) = match judge(&sections, process.launch().layers.read(), earlier) {
            Ok(accepted) => (accepted, None),
            Err(error) => match left {
                Some(left) => (left, Some(error)),
                None => return Err(error.into()),
            },
        };
        let desk = Self { process, sections, in_force: Mutex::default() };
        desk.put_in_force(accepted).await?;
        if let Some(error) = refused {
            desk.tell_refusal(Some(&error)).await?;
        }
        Ok(desk)
    }

    /// Where the configuration comes from.
    #[must_use]
    pub fn layers(&self) -> &Layers {
        &self.process.launch().layers
    }

    /// Validates what was read, and publishes or refuses it. Cancel safe, but it may have been published.
    ///
    /// # Errors
    /// When the master is gone, or does not take it. A wrong configuration is a [`Verdict`].
    pub async fn submit(&self, reading: Result<Reading, ConfigError>) -> Result<Verdict, PublishError> {
        let earlier = self.in_force().reading.clone();
        match judge(&self.sections, reading, earlier.as_ref()) {
            Ok(accepted) => self.put_in_force(accepted).await,
            Err(error) => {
                self.tell_refusal(Some(&error)).await?;
                Ok(Verdict::Refused(error))
            }
        }
    }

    async fn put_in_force(&self, accepted: Accepted) -> Result<Verdict, PublishError> {
        let Accepted { reading, merged, payload } = accepted;
        // First what a successor would start from: it can publish what follows from that, not the other way.
        self.publish_if_new(READING, codec::encode("the configuration", &reading)?).await?;
        let version = self.publish_if_new(CONFIG, payload).await?;
        *self.in_force() = InForce { reading: Some(reading), merged };
        self.tell_refusal(None).await?;
        Ok(version.map_or(Verdict::Unchanged, Verdict::Published))
    }

    /// The new version, unless the payload is that of the latest.
    async fn publish_if_new(&self, topic: &str, payload: Vec<u8>) -> Result<Option<u64>, PublishError> {
        match self.process.latest_state(topic) {
            Some((_, latest)) if latest.is(&payload) => Ok(None),
            _ => publish(&self.process, topic, Payload::of_bytes(payload)).await.map(Some),
        }
    }

    async fn tell_refusal(&self, refused: Option<&ConfigError>) -> Result<(), MasterGone> {
        let body = codec::encode("the refusal", &refused.map(ToString::to_string)).unwrap_or_default();
        self.process.send(Frame::new(Kind::ConfigRefused, 0, body)).await
    }

    pub(crate) fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        self.in_force().merged.section(name)
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
