//! What a child is told when it is welcomed: the names of things, the places of things, and how to serve.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Layers;
use crate::http::HttpSettings;
use crate::identity::Identity;
use crate::log::LogSettings;

/// The body of a welcome; the same for every child of a generation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// The app's name.
    pub(crate) app: String,
    /// The app's version.
    pub(crate) version: String,
    /// The environment's name.
    pub(crate) env: String,
    /// Where `config/` is.
    pub(crate) app_dir: PathBuf,
    /// Where the log files are.
    pub(crate) log_dir: PathBuf,
    /// Where the configuration comes from.
    pub(crate) layers: Layers,
    /// How to serve.
    pub(crate) http: HttpSettings,
    /// Whom the agent and the workers run as, if not as the master.
    pub(crate) identity: Option<Identity>,
    /// What to log.
    pub(crate) log: LogSettings,
}
