//! A keyed state: what an upstream feeds, and who it is.

use hatchery::Topic;
use serde::{Deserialize, Serialize};

/// How often an upstream has fed its key, and the process that has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tick {
    pub(crate) count: u64,
    pub(crate) pid: u32,
}

impl Topic for Tick {
    const NAME: &'static str = "tick";
}
