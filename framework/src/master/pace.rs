//! How fast a reload goes: how many processes more, and how many fewer, it may make. Pure.

use super::settings::ClusterSettings;

/// How many workers of a group are replaced at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// So many with their successors beside them.
    pub(crate) surge: usize,
    /// And so many that leave before their successors are there.
    pub(crate) unavailable: usize,
}

impl From<&ClusterSettings> for Pace {
    fn from(settings: &ClusterSettings) -> Self {
        let unavailable = usize::try_from(settings.reload_unavailable).unwrap_or(usize::MAX);
        let surge = usize::try_from(settings.reload_surge).unwrap_or(usize::MAX);
        // Without both nothing would ever move.
        Self { surge: if unavailable == 0 { surge.max(1) } else { surge }, unavailable }
    }
}
