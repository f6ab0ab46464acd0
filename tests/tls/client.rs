//! The other side of TLS: an authority that issues certificates, and a client that trusts it.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use hatchery::testing::{Answer, PATIENCE, Site};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion, version,
};

/// Whoever issues the certificates of a test.
pub(super) struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both as PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) der: CertificateDer<'static>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { root, issuer: Issuer::new(params, key) }
    }

    pub(super) fn issue(&self, name: &str) -> Issued {
        self.issue_with(name, |_| {})
    }

    pub(super) fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }

    /// What a client that trusts this authority brings along, its sessions among it.
    pub(super) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = builder.with_protocol_versions(versions).unwrap();
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }

    pub(super) fn any_version(&self) -> Arc<ClientConfig> {
        self.client(&[&version::TLS13, &version::TLS12])
    }
}

impl Issued {
    /// Puts both files in the place of those of this name, the certificate first.
    pub(super) fn put(&self, site: &Site, name: &str) {
        replace(&site.dir().join(format!("{name}.key")), &self.key);
        replace(&site.dir().join(format!("{name}.pem")), &self.certificate);
    }
}

/// Writes a file as those do who renew certificates: under another name, then renamed.
pub(super) fn replace(file: &Path, text: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, file).unwrap();
}

/// One connection with TLS, kept open.
pub(super) struct Secure<S: Read + Write = TcpStream> {
    stream: BufReader<StreamOwned<ClientConnection, S>>,
}

impl Secure {
    /// Connects and shakes hands, asking for `name`.
    pub(super) fn open(address: &str, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Self::over(stream, config, name)
    }
}

impl<S: Read + Write> Secure<S> {
    pub(super) fn over(mut stream: S, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self { stream: BufReader::new(StreamOwned::new(connection, stream)) })
    }

    fn connection(&self) -> &ClientConnection {
        &self.stream.get_ref().conn
    }

    pub(super) fn get(&mut self, path: &str) -> std::io::Result<Answer> {
        write!(self.stream.get_mut(), "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")?;
        self.read()
    }

    pub(super) fn read(&mut self) -> std::io::Result<Answer> {
        Answer::read(&mut self.stream)
    }

    /// The stream itself, for what is no request.
    pub(super) fn raw(&mut self) -> &mut BufReader<StreamOwned<ClientConnection, S>> {
        &mut self.stream
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.connection().peer_certificates().unwrap()[0].clone().into_owned()
    }

    pub(super) fn is_resumed(&self) -> bool {
        self.connection().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(super) fn version(&self) -> ProtocolVersion {
        self.connection().protocol_version().unwrap()
    }
}
