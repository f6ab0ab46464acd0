//! Who a process is: its role, its slot in the cluster, the generation that spawned it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The group of workers that serve HTTP, unless an app says otherwise.
pub(crate) const WEB: &str = "web";

/// What stands for the agent where groups are named; no group may be called so.
pub(crate) const AGENT: &str = "agent";

/// A place in the cluster that one process fills; it is kept over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Slot {
    /// The one agent.
    Agent,
    /// A worker by its group and its index in it, counted from 0.
    Worker {
        /// The group's name.
        group: String,
        /// The index in the group.
        index: u32,
    },
}

impl Slot {
    /// The slot of worker `index` of `group`.
    #[must_use]
    pub(crate) fn worker(group: &str, index: u32) -> Self {
        Self::Worker { group: group.to_owned(), index }
    }

    /// Whether this is the agent's slot.
    #[must_use]
    pub(crate) fn is_agent(&self) -> bool {
        matches!(self, Self::Agent)
    }

    /// `agent`, or the group's name; also the name of the log file that this slot's processes write.
    #[must_use]
    pub(crate) fn group(&self) -> &str {
        match self {
            Self::Agent => AGENT,
            Self::Worker { group, .. } => group,
        }
    }

    /// The index in the group; 0 for the agent.
    #[must_use]
    pub(crate) fn index(&self) -> u32 {
        match self {
            Self::Agent => 0,
            Self::Worker { index, .. } => *index,
        }
    }
}

/// As in logs and in the environment: `agent`, `web.0`.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("agent"),
            Self::Worker { group, index } => write!(f, "{group}.{index}"),
        }
    }
}

/// A text that names no slot.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` names no slot: write `agent`, or a worker as `web.0`")]
pub(crate) struct UnknownSlot(String);

impl FromStr for Slot {
    type Err = UnknownSlot;

    fn from_str(text: &str) -> Result<Self, UnknownSlot> {
        let unknown = || UnknownSlot(text.to_owned());
        if text == "agent" {
            return Ok(Self::Agent);
        }
        let (group, index) = text.rsplit_once('.').ok_or_else(unknown)?;
        let index = index.parse().map_err(|_| unknown())?;
        if group.is_empty() {
            return Err(unknown());
        }
        Ok(Self::Worker { group: group.to_owned(), index })
    }
}

/// The environment variable that makes a process a child: [`Role`] as text.
pub(crate) const ROLE_VARIABLE: &str = "HATCHERY_ROLE";

/// What a group that is another program says in its hello that it runs.
pub(crate) const BUILD_VARIABLE: &str = "HATCHERY_BUILD";

/// The app's folder, for a group that is another program; elsewhere it is what an operator says.
pub(crate) const APP_DIR_VARIABLE: &str = "HATCHERY_APP_DIR";

/// Set for a master that was started in the background, and for nobody else.
pub(crate) const DAEMON_VARIABLE: &str = "HATCHERY_DAEMON";

/// What a child is told when it is spawned. As text: `agent@1`, `web.0@3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) slot: Slot,
    pub(crate) generation: u64,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.slot, self.generation)
    }
}

impl FromStr for Role {
    type Err = UnknownSlot;

    fn from_str(text: &str) -> Result<Self, UnknownSlot> {
        let unknown = || UnknownSlot(text.to_owned());
        let (slot, generation) = text.rsplit_once('@').ok_or_else(unknown)?;
        Ok(Self { slot: slot.parse()?, generation: generation.parse().map_err(|_| unknown())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read_as_it_is_written() {
        for slot in [Slot::Agent, Slot::worker(WEB, 0), Slot::worker("a.b", 31)] {
            assert_eq!(slot.to_string().parse::<Slot>().unwrap(), slot);
        }
        let role = Role { slot: Slot::worker(WEB, 3), generation: 7 };
        assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        for text in ["", "web", "web.", ".1", "web.x"] {
            assert!(text.parse::<Slot>().is_err(), "{text}");
        }
    }
}
