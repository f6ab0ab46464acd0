//! One certificate with its chain and its key, as PEM text: what is wrong with it is told by the file and with advice.
//! Pure; the texts come from elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};
use webpki::EndEntityCert;

use super::validity::Validity;

/// How many certificates a chain may have. A bundle of all authorities is no chain, and each handshake would send it.
const MOST: usize = 16;

/// The files of one certificate, as a place to listen names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM: the server's certificate first, then each one's issuer. Relative to the app's folder.
    pub certificate: PathBuf,
    /// PEM: its private key, without a passphrase. Relative to the app's folder.
    pub key: PathBuf,
}

/// The contents of both files. Its `Debug` shows neither.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate that cannot be used, with the file at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub(crate) struct CertificateError {
    file: PathBuf,
    problem: String,
}

impl CertificateError {
    /// What is wrong with a file.
    pub(crate) fn new(file: &Path, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), problem: problem.into() }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Pair {
    /// Checks that it can be served: both files are what they should be, they belong together, and the chain is in
    /// order. Says how long it holds, which it need not do now.
    pub(crate) fn check(&self, files: &CertificateFiles) -> Result<Validity, CertificateError> {
        let at_certificate = |problem: String| CertificateError::new(&files.certificate, problem);
        let at_key = |problem: String| CertificateError::new(&files.key, problem);
        let chain = self.chain().map_err(at_certificate)?;
        check_order(&chain).map_err(at_certificate)?;
        let key = self.private_key().map_err(at_key)?;
        certify(chain.clone(), key).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => at_key(format!(
                "this is not the key of the certificate {}: replace both files together",
                files.certificate.display()
            )),
            Error::InvalidCertificate(error) => at_certificate(format!("a bad certificate: {error:?}")),
            other => {
                at_key(format!("a bad private key: {other}; use RSA, ECDSA on P-256 or P-384, or Ed25519"))
            }
        })?;
        Validity::of_chain(&chain).ok_or_else(|| at_certificate("its dates cannot be read".to_owned()))
    }

    /// As rustls signs with it.
    pub(super) fn certified(&self) -> Result<CertifiedKey, String> {
        certify(self.chain()?, self.private_key()?).map_err(|error| error.to_string())
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("broken PEM: {error}"))?;
        match chain.len() {
            0 => Err("no certificate in it: want PEM with a line BEGIN CERTIFICATE".to_owned()),
            1..=MOST => Ok(chain),
            more => Err(format!(
                "{more} certificates in it, and {MOST} are the most: want the server's own and its issuers, nothing else"
            )),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                "no private key in it: want PEM with a line BEGIN PRIVATE KEY, without a passphrase"
                    .to_owned()
            }
            broken => format!("broken PEM: {broken}"),
        })
    }
}

fn certify(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, Error> {
    CertifiedKey::from_der(chain, key, &ring::default_provider())
}

/// Each certificate must be issued by the one behind it: some clients do not sort for themselves.
fn check_order(chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let parsed = chain.iter().map(EndEntityCert::try_from).collect::<Result<Vec<_>, _>>();
    let parsed = parsed.map_err(|error| format!("a bad certificate: {error}"))?;
    for (nth, pair) in parsed.windows(2).enumerate() {
        if pair[0].issuer() != pair[1].subject() {
            return Err(format!(
                "certificate {} in it was not issued by the one behind it: the server's own comes first, then each one's issuer",
                nth + 1
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    fn files() -> CertificateFiles {
        CertificateFiles { certificate: "shop.pem".into(), key: "shop.key".into() }
    }

    fn pair(certificate: &str, key: &str) -> Pair {
        Pair { certificate: certificate.to_owned(), key: key.to_owned() }
    }

    /// The certificate of a server, that of its issuer, and the server's key.
    fn issued() -> (String, String, String) {
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name.push(DnType::CommonName, "the root");
        let root_certificate = root.self_signed(&root_key).unwrap();
        let own = CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
        let certificate = own.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
        (certificate.pem(), root_certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_chain_in_order_with_its_key_is_good() {
        let (own, root, key) = issued();
        for certificate in [own.clone(), own + &root] {
            let validity = pair(&certificate, &key).check(&files()).unwrap();
            assert!(validity.not_before < validity.not_after);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let (own, root, key) = issued();
        let other = KeyPair::generate().unwrap().serialize_pem();
        for (wrong, complaint) in [
            (pair("", &key), "shop.pem: no certificate in it"),
            (pair(&key, &key), "shop.pem: no certificate in it"),
            (pair(&own[..own.len() / 2], &key), "shop.pem: broken PEM"),
            (
                pair(&(own.clone() + &root.repeat(16)), &key),
                "shop.pem: 17 certificates in it, and 16 are the most",
            ),
            (pair(&own, ""), "shop.key: no private key in it"),
            (pair(&own, &own), "shop.key: no private key in it"),
            (pair(&own, &other), "shop.key: this is not the key of the certificate shop.pem"),
            (pair(&(root + &own), &key), "shop.pem: certificate 1 in it was not issued by the one behind it"),
            (pair("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key), "shop.pem: a bad"),
        ] {
            let error = wrong.check(&files()).unwrap_err().to_string();
            assert!(error.starts_with(complaint), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?}", pair("certificate", "private"));
        assert!(!shown.contains("private") && !shown.contains("certificate"), "{shown}");
    }
}
