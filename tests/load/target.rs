//! Where a load goes: an address, and perhaps TLS on the way.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::Mode;
use super::line::broken;
use super::report::Failure;

/// An open connection, with or without TLS.
pub(super) type Wire = Box<dyn Duplex>;

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Duplex for T {}

#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Target {
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), tls: None }
    }

    /// The same, asked for this name.
    pub(super) fn secured(self, config: &Arc<ClientConfig>, name: &str) -> Self {
        let name = name.to_owned().try_into().expect("a name");
        Self { tls: Some((Arc::clone(config), name)), ..self }
    }

    /// Has the protocol agreed upon that this mode needs.
    pub(super) fn speaking(mut self, mode: Mode) -> Self {
        if let Some((config, _)) = &mut self.tls {
            let protocol = if mode == Mode::Http2 { "h2" } else { "http/1.1" };
            Arc::make_mut(config).alpn_protocols = vec![protocol.into()];
        }
        self
    }

    pub(super) async fn connect(&self) -> Result<Wire, Failure> {
        let stream = self.connect_plainly().await?;
        let Some((config, name)) = &self.tls else { return Ok(Box::new(stream)) };
        let connector = TlsConnector::from(Arc::clone(config));
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => {
                let agreed = stream.get_ref().1.alpn_protocol();
                assert_eq!(agreed, config.alpn_protocols.first().map(Vec::as_slice), "another protocol");
                Ok(Box::new(stream))
            }
            Err(error) => Err(broken(Some(&error), 0)),
        }
    }

    async fn connect_plainly(&self) -> Result<TcpStream, Failure> {
        let address = &self.address;
        let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::ConnectionReset => Failure::ResetBeforeAnswer,
            io::ErrorKind::TimedOut => Failure::TimedOut,
            // Such as a want of descriptors: the client's own trouble, which must not count as the server's.
            _ => panic!("cannot connect to {address}: {error}"),
        })?;
        stream.set_nodelay(true).expect("an option of the socket");
        Ok(stream)
    }
}
