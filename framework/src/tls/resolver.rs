//! Which of a listener's certificates a client gets: the first that holds for the name it asks for, or the first of all.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

/// The certificates of one listener, in the order of the configuration.
pub(super) struct ByName {
    pub(super) default: Arc<CertifiedKey>,
    pub(super) others: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    fn choose(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let all = || std::iter::once(&self.default).chain(&self.others);
        let named = name.filter(|_| !self.others.is_empty()).and_then(|name| ServerName::try_from(name).ok());
        let fitting = named.and_then(|name| all().find(|certified| holds_for(certified, &name)));
        Arc::clone(fitting.unwrap_or(&self.default))
    }
}

fn holds_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = certified.cert.first().and_then(|first| EndEntityCert::try_from(first).ok());
    certificate.is_some_and(|certificate| certificate.verify_is_valid_for_subject_name(name).is_ok())
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByName").field("count", &(1 + self.others.len())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pair;
    use super::*;

    fn certified(name: &str) -> Arc<CertifiedKey> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let pair = Pair { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() };
        Arc::new(pair.certified().unwrap())
    }

    #[test]
    fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
        let [shop, blog] = ["shop.test", "*.blog.test"].map(certified);
        let by_name = ByName { default: Arc::clone(&shop), others: vec![Arc::clone(&blog)] };
        for (name, wanted) in [
            (Some("shop.test"), &shop),
            (Some("SHOP.test"), &shop),
            (Some("a.blog.test"), &blog),
            (Some("a.b.blog.test"), &shop),
            (Some("elsewhere.test"), &shop),
            (None, &shop),
        ] {
            assert!(Arc::ptr_eq(&by_name.choose(name), wanted), "{name:?}");
        }
    }
}
