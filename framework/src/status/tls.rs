//! What the status says of certificates.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The certificates' part of the status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsStatus {
    /// The certificates in force, by listener.
    pub certificates: Vec<CertificateStatus>,
    /// Why what lies on disk now was refused, if it was.
    pub refused: Option<String>,
}

/// One certificate that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The listener's name.
    pub listener: String,
    /// The file that it was read from.
    pub file: PathBuf,
    /// Until when the server's own certificate holds. One of its issuers may end earlier, which the log tells.
    pub expires: DateTime<Utc>,
}
