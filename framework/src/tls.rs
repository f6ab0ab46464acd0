//! TLS without sockets: certificates and what is wrong with them, the keys of session tickets, and the configuration by
//! which a worker accepts. Reading files and watching them is left to `vault`, handshakes to `http`.

mod acceptor;
mod certificate;
mod resolver;
mod secrets;
mod ticketer;
mod tickets;
mod validity;
mod version;

pub(crate) use acceptor::{Acceptor, AcceptorError};
pub use certificate::CertificateFiles;
pub(crate) use certificate::{CertificateError, Pair};
pub(crate) use secrets::Secrets;
pub(crate) use tickets::{TicketKey, TicketKeys};
pub(crate) use validity::Validity;
pub use version::TlsVersion;
