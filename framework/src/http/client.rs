//! Where a request really comes from, for the author's handlers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;

/// The address of the client that asks: the peer's, or, behind a proxy of `http.trusted_proxies`, the one that the proxy
/// names. `None` on a Unix socket without one.
///
/// `ConnectInfo<SocketAddr>` stays the peer's address, whoever that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let told = parts.extensions.get::<Self>().copied();
        let peer =
            || parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
        Ok(told.unwrap_or_else(|| Self(peer())))
    }
}
