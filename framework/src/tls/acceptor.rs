//! How one listener's handshakes are answered now. New certificates take the place of the old ones between two
//! handshakes; connections that there are keep theirs.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::NoServerSessionStorage;

use super::resolver::ByName;
use super::secrets::Secrets;
use super::ticketer::Ticketer;
use super::version::TlsVersion;

/// What a client may choose between, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// One listener's side of every handshake.
pub(crate) struct Acceptor {
    listener: String,
    oldest: TlsVersion,
    config: ArcSwap<ServerConfig>,
}

/// What the agent published does not do for a listener.
#[derive(Debug, thiserror::Error)]
#[error("the certificates of the listener {listener} cannot be used: {problem}")]
pub(crate) struct AcceptorError {
    listener: String,
    problem: String,
}

impl Acceptor {
    /// For the listener of this name, which speaks no older version than `oldest`.
    ///
    /// # Errors
    /// When there is no certificate for it.
    pub(crate) fn new(listener: &str, oldest: TlsVersion, secrets: &Secrets) -> Result<Self, AcceptorError> {
        let config = ArcSwap::new(Arc::new(build(listener, oldest, secrets)?));
        Ok(Self { listener: listener.to_owned(), oldest, config })
    }

    /// Answers the handshakes from now on by these.
    ///
    /// # Errors
    /// When they do not do, in which case all stays as it is.
    pub(crate) fn renew(&self, secrets: &Secrets) -> Result<(), AcceptorError> {
        self.config.store(Arc::new(build(&self.listener, self.oldest, secrets)?));
        Ok(())
    }

    /// By what a handshake that begins now is answered.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("listener", &self.listener).finish_non_exhaustive()
    }
}

fn build(listener: &str, oldest: TlsVersion, secrets: &Secrets) -> Result<ServerConfig, AcceptorError> {
    let failed = |problem: String| AcceptorError { listener: listener.to_owned(), problem };
    let pairs = secrets.certificates.get(listener).map(Vec::as_slice).unwrap_or_default();
    let certified = pairs.iter().map(|pair| pair.certified().map(Arc::new)).collect::<Result<Vec<_>, _>>();
    let mut certified = certified.map_err(failed)?.into_iter();
    let default = certified.next().ok_or_else(|| failed("there are none".to_owned()))?;
    let resolver = ByName { default, others: certified.collect() };
    let ticketer = Ticketer::new(&secrets.tickets, listener);
    let ticketer = ticketer.ok_or_else(|| failed("the keys of the tickets are none".to_owned()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(oldest.and_later())
        .map_err(|error| failed(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.ticketer = Arc::new(ticketer);
    // What one worker remembers does not help at the next.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}
