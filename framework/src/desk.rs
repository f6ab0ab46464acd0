//! The desk at which configuration is handed in: validated as the author's type, then published or refused.

use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;

use crate::bus::codec;
use crate::bus::frame::{Frame, Kind};
use crate::bus::topic::CONFIG;
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
    /// What is in force.
    merged: Mutex<Merged>,
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

impl ConfigDesk {
    /// Loads the first configuration. If it is wrong and an earlier agent left a good one, that one stays.
    pub(crate) async fn open(process: Process, sections: Sections) -> Result<Self> {
        let layers = &process.launch().layers;
        let read = layers.read().and_then(|reading| reading.merge());
        let checked = read.and_then(|merged| sections.encode(&merged).map(|payload| (merged, payload)));
        let (merged, payload) = match checked {
            Ok((merged, payload)) => (merged, Ok(payload)),
            Err(error) if process.latest_state(CONFIG).is_some() => (Merged::default(), Err(error)),
            Err(error) => return Err(error.into()),
        };
        let desk = Self { process, sections, merged: Mutex::new(merged.clone()) };
        match payload {
            Ok(payload) => drop(desk.put_in_force(merged, payload).await?),
            Err(error) => desk.refuse(&error).await?,
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
    /// When the master is gone. A wrong configuration is a [`Verdict`].
    pub async fn submit(&self, reading: Result<Reading, ConfigError>) -> Result<Verdict, PublishError> {
        let checked = reading
            .and_then(|reading| reading.merge())
            .and_then(|merged| self.sections.encode(&merged).map(|payload| (merged, payload)));
        match checked {
            Ok((merged, payload)) => self.put_in_force(merged, payload).await,
            Err(error) => {
                self.refuse(&error).await?;
                Ok(Verdict::Refused(error))
            }
        }
    }

    async fn put_in_force(&self, merged: Merged, payload: Vec<u8>) -> Result<Verdict, PublishError> {
        let unchanged = self.process.latest_state(CONFIG).is_some_and(|(_, current)| current == payload);
        let verdict = if unchanged {
            Verdict::Unchanged
        } else {
            Verdict::Published(publish(&self.process, CONFIG, payload).await?)
        };
        *self.merged.lock().unwrap_or_else(PoisonError::into_inner) = merged;
        self.tell_refusal(None).await?;
        Ok(verdict)
    }

    async fn refuse(&self, error: &ConfigError) -> Result<(), MasterGone> {
        self.tell_refusal(Some(error.to_string())).await
    }

    async fn tell_refusal(&self, refused: Option<String>) -> Result<(), MasterGone> {
        let body = codec::encode("the refusal", &refused).unwrap_or_default();
        self.process.send(Frame::new(Kind::ConfigRefused, 0, body)).await
    }

    pub(crate) fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        self.merged.lock().unwrap_or_else(PoisonError::into_inner).section(name)
    }
}
