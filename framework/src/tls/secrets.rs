//! All that the workers of a group need to accept TLS, as the agent publishes it. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::certificate::Pair;
use super::tickets::TicketKeys;

/// The certificates of a group's listeners, by the listeners' names, and the keys of its tickets. Its `Debug` shows
/// no key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) certificates: BTreeMap<String, Vec<Pair>>,
    pub(crate) tickets: TicketKeys,
}
