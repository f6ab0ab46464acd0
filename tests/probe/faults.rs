//! Faults that the configuration can switch on.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    #[default]
    None,
    /// Waits until the file `go` exists.
    Wait,
    /// Never gets ready and never listens.
    Hang,
    Error,
    Panic,
    /// Returns at once.
    Leave,
}

pub(crate) async fn commit(fault: Fault) -> hatchery::Result {
    match fault {
        Fault::None | Fault::Leave => {}
        Fault::Wait => {
            while !Path::new("go").exists() {
                sleep(Duration::from_millis(5)).await;
            }
        }
        Fault::Hang => std::future::pending().await,
        Fault::Error => return Err("the fault was switched on".into()),
        Fault::Panic => panic!("the fault was switched on"),
    }
    Ok(())
}
