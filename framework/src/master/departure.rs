//! Why a process that works is to be replaced. Pure.

use crate::exit::Reason;

/// Why a process that works is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It wants to, for this reason.
    Retired(String),
    /// It has served enough.
    Recycled(String),
    /// A process of another generation is to take its place.
    Reloaded,
}

impl Departure {
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Retired(why) | Self::Recycled(why) => why,
            Self::Reloaded => "a new generation takes its place",
        }
    }

    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Retired(_) => Reason::Retired,
            Self::Recycled(_) => Reason::Recycled,
            Self::Reloaded => Reason::Replaced,
        }
    }
}
