//! Whose word is taken for where a request comes from: the proxies that are trusted, and what they say. Pure.

use core::net::{IpAddr, SocketAddr};
use std::fmt;
use std::str::FromStr;

use axum::http::HeaderMap;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A proxy whose word is taken: an address, or a network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustedProxy(IpNet);

/// The text is neither an address nor a network.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no address: write one such as 127.0.0.1, or a network such as 10.0.0.0/8")]
pub struct NoAddress(String);

impl FromStr for TrustedProxy {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| address()).map(Self).map_err(|_| NoAddress(text.to_owned()))
    }
}

impl TryFrom<String> for TrustedProxy {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Self, NoAddress> {
        text.parse()
    }
}

impl From<TrustedProxy> for String {
    fn from(proxy: TrustedProxy) -> Self {
        proxy.to_string()
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// In which header the trusted proxies say whom they speak for. Only one is believed, because a proxy passes on the other
/// as the client wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For: client, proxy`
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for="[2001:db8::1]:80"`
    Forwarded,
}

pub(super) fn trusts(proxies: &[TrustedProxy], address: IpAddr) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|proxy| proxy.0.contains(&address))
}

/// Whom a request comes from that `hop` handed over: the last one on its way that is not trusted. A word that is no address
/// ends the search at the hop that said it.
pub(super) fn client(
    proxies: &[TrustedProxy],
    header: ProxyHeader,
    hop: IpAddr,
    headers: &HeaderMap,
) -> IpAddr {
    let name = match header {
        ProxyHeader::XForwardedFor => "x-forwarded-for",
        ProxyHeader::Forwarded => "forwarded",
    };
    let lines = headers.get_all(name).into_iter().map(|line| line.to_str().unwrap_or_default());
    let said: Vec<_> = lines.flat_map(|line| line.split(',')).collect();
    let mut client = hop.to_canonical();
    for word in said.into_iter().rev() {
        if !trusts(proxies, client) {
            break;
        }
        let Some(before) = address(header, word) else { break };
        client = before.to_canonical();
    }
    client
}

fn address(header: ProxyHeader, word: &str) -> Option<IpAddr> {
    let word = match header {
        ProxyHeader::XForwardedFor => word,
        ProxyHeader::Forwarded => word.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim().eq_ignore_ascii_case("for").then_some(value)
        })?,
    };
    let word = word.trim().trim_matches('"');
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let with_port = || word.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X: ProxyHeader = ProxyHeader::XForwardedFor;
    const F: ProxyHeader = ProxyHeader::Forwarded;

    fn found(header: ProxyHeader, hop: &str, said: &[&str]) -> String {
        let proxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in said {
            headers.append(if header == X { "x-forwarded-for" } else { "forwarded" }, line.parse().unwrap());
        }
        client(&proxies, header, hop.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_client_is_the_last_on_the_way_who_is_not_trusted() {
        for (header, hop, said, client) in [
            (X, "10.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            (X, "10.0.0.1", &["1.2.3.4, 203.0.113.9, 10.2.3.4"], "203.0.113.9"),
            (X, "10.0.0.1", &["1.2.3.4", "203.0.113.9:4711"], "203.0.113.9"),
            (X, "203.0.113.9", &["1.2.3.4"], "203.0.113.9"),
            (X, "10.0.0.1", &[], "10.0.0.1"),
            (X, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (X, "10.0.0.1", &["1.2.3.4, unknown, 10.0.0.2"], "10.0.0.2"),
            (X, "::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            (X, "fd00::1", &["2001:db8::7"], "2001:db8::7"),
            (F, "10.0.0.1", &["for=203.0.113.9;proto=https, For=10.1.1.1"], "203.0.113.9"),
            (F, "10.0.0.1", &["for=\"[2001:db8::7]:4711\""], "2001:db8::7"),
            (F, "10.0.0.1", &["for=\"[2001:db8::7]\";by=x"], "2001:db8::7"),
            (F, "10.0.0.1", &["for=_hidden"], "10.0.0.1"),
        ] {
            assert_eq!(found(header, hop, said), client, "{hop} {said:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        let error = "example.org".parse::<TrustedProxy>().unwrap_err().to_string();
        assert!(error.starts_with("`example.org` is no address: write one such as"), "{error}");
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_it_cannot_pass_for_another(said in "[ -~]{0,60}") {
            // The trusted proxy adds the true address behind it.
            let line = format!("{said}, 203.0.113.9");
            prop_assert_eq!(found(X, "10.0.0.1", &[&line]), "203.0.113.9");
        }
    }
}
