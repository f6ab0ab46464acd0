//! A worker's side of TLS: how the handshakes of its listeners are answered, which follows what the agent publishes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bus::topic;
use crate::http::Entry;
use crate::process::Process;
use crate::state::{ObserveError, Observed};
use crate::tls::{Acceptor, AcceptorError, Secrets};

/// The acceptors of a group's listeners, by the listeners' names.
#[derive(Debug)]
pub(crate) struct Keyring {
    acceptors: BTreeMap<String, Arc<Acceptor>>,
    /// What they were made of; nothing where no listener speaks TLS.
    secrets: Option<Observed<Secrets>>,
}

/// There is TLS to be spoken, and no way to do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Acceptor(#[from] AcceptorError),
}

impl Keyring {
    /// Waits for the certificates, if this worker's group needs any. Cancel safe.
    pub(crate) async fn open(process: &Process) -> Result<Self, KeyringError> {
        let (launch, group) = (process.launch(), process.role().slot.group());
        let names: Vec<&str> = launch.secure(group).map(|place| place.name.as_str()).collect();
        if names.is_empty() {
            return Ok(Self { acceptors: BTreeMap::new(), secrets: None });
        }
        let secrets: Observed<Secrets> = process.observe(&topic::secrets_of(group)).await?;
        let now = secrets.get();
        let acceptor = |name: &str| {
            let acceptor = Acceptor::new(name, launch.http.min_tls_version, &now)?;
            Ok((name.to_owned(), Arc::new(acceptor)))
        };
        let acceptors = names.into_iter().map(acceptor).collect::<Result<_, AcceptorError>>()?;
        Ok(Self { acceptors, secrets: Some(secrets) })
    }

    /// The listeners of this worker's group, in the master's order.
    pub(crate) fn entries(&self, process: &Process) -> Vec<Entry> {
        let group = process.role().slot.group();
        let own = process.launch().listeners.iter().filter(|place| place.group == group);
        own.map(|place| Entry {
            door: place.door,
            inherited: place.inherited,
            tls: self.acceptors.get(&place.name).cloned(),
        })
        .collect()
    }

    /// Renews the acceptors with every change, for as long as it is polled.
    pub(crate) async fn follow(self) {
        let Some(mut secrets) = self.secrets else { return };
        loop {
            let changed = secrets.changed().await;
            for acceptor in self.acceptors.values() {
                match acceptor.renew(&changed) {
                    Ok(()) => {}
                    Err(error) => tracing::error!("{error}; the old ones stay"),
                }
            }
            tracing::debug!("version {} of the certificates is in use", changed.version());
        }
    }
}
