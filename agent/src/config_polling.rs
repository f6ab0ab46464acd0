//! The duty `config-polling`: reads the layers of the configuration again and again, and hands in what
//! changed. Contents are compared, not times or file numbers, so editors that rename and deployments that
//! swap a symbolic link are seen like any other change.

use std::time::Duration;

use hatchery::config::{ConfigError, Layers, Reading};
use hatchery::{Agent, Duty, Result, Verdict};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// How long what was read has to stay the same before it is believed: a file may be half written.
const SETTLING: Duration = Duration::from_millis(10);

/// Section `[config_polling]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PollingSettings {
    /// How long to wait between two looks. Default 1 s.
    #[serde(with = "hatchery::duration::positive")]
    pub interval: Duration,
}

impl Default for PollingSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1) }
    }
}

/// Polls the configuration files; section `[config_polling]`.
///
/// A change that is valid as the author's type is in every worker within the interval and a few
/// milliseconds. One that is not changes nothing, and `status` says which line is wrong.
#[must_use]
pub fn config_polling() -> Duty {
    Duty::new("config-polling", poll).with_section::<PollingSettings>("config_polling")
}

type Outcome = Result<Reading, ConfigError>;

/// What was read, reduced to what can be compared.
type Content = Result<u64, ConfigError>;

async fn poll(agent: Agent) -> Result {
    let mut handed_in = None;
    loop {
        let interval = agent.section::<PollingSettings>("config_polling")?.interval;
        if agent.until_shutdown(sleep(interval)).await.is_none() {
            return Ok(());
        }
        let layers = agent.config_desk().layers().clone();
        let Some(reading) = read_settled(&layers, handed_in.as_ref()).await? else {
            continue;
        };
        handed_in = Some(content(&reading));
        match agent.config_desk().submit(reading).await? {
            Verdict::Published(version) => tracing::info!("the configuration has changed: version {version}"),
            // The master has logged a refusal.
            Verdict::Unchanged | Verdict::Refused(_) => {}
        }
    }
}

/// What the layers say now, if it is new and stays so for a moment.
async fn read_settled(layers: &Layers, known: Option<&Content>) -> Result<Option<Outcome>> {
    let first = read(layers.clone()).await?;
    if Some(&content(&first)) == known {
        return Ok(None);
    }
    sleep(SETTLING).await;
    let second = read(layers.clone()).await?;
    Ok((content(&first) == content(&second)).then_some(second))
}

async fn read(layers: Layers) -> Result<Outcome> {
    Ok(spawn_blocking(move || layers.read()).await?)
}

fn content(reading: &Outcome) -> Content {
    reading.as_ref().map(Reading::fingerprint).map_err(Clone::clone)
}
