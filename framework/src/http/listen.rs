//! One place to listen, as `http.listen` names it: an address alone, or a table that says more of it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::balance::Policy;
use crate::tls::CertificateFiles;

/// One place to listen. In the configuration an address alone stands for a table with nothing else in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listen {
    /// `host:port`, `unix:PATH`, or `systemd:NAME` for inherited sockets of that name.
    pub address: String,
    /// What the status calls it. Default `http`, or the group's name, with a number where that is taken; for an
    /// inherited socket its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How its connections are spread over the workers. Default what `http.policy` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// For the policy `weighted`: how much each worker gets, by index. Who has none counts as 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<u32>,
    /// With which certificates it speaks TLS; a client gets the first that holds for the name it asks for, or the first
    /// of all. Default none: it does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateFiles>,
}

/// The table in full.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    address: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    policy: Option<Policy>,
    #[serde(default)]
    weights: Vec<u32>,
    #[serde(default, deserialize_with = "some_certificates")]
    certificates: Vec<CertificateFiles>,
}

/// Whoever writes the key wants TLS.
fn some_certificates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<CertificateFiles>, D::Error> {
    let certificates = Vec::<CertificateFiles>::deserialize(deserializer)?;
    if certificates.is_empty() {
        return Err(de::Error::custom("no certificate: name the files of one, or leave the key out"));
    }
    Ok(certificates)
}

impl From<&str> for Listen {
    fn from(address: &str) -> Self {
        Self { address: address.to_owned(), ..Self::default() }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressOrTable)
    }
}

struct AddressOrTable;

impl<'de> Visitor<'de> for AddressOrTable {
    type Value = Listen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as \"127.0.0.1:7001\", or a table with an `address`")
    }

    fn visit_str<E>(self, address: &str) -> Result<Listen, E> {
        Ok(address.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listen, A::Error> {
        let Table { address, name, policy, weights, certificates } =
            Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Listen { address, name, policy, weights, certificates })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Section {
        listen: Vec<Listen>,
    }

    fn read(text: &str) -> Result<Vec<Listen>, String> {
        toml::from_str::<Section>(text).map(|section| section.listen).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_a_table_with_nothing_else() {
        let mixed =
            r#"listen = ["a:1", { address = "b:2", name = "api", policy = "weighted", weights = [2] }]"#;
        let [first, second] = read(mixed).unwrap().try_into().unwrap();
        assert_eq!(first, "a:1".into());
        let (name, policy) = (Some("api".to_owned()), Some(Policy::Weighted));
        assert_eq!(second, Listen { name, policy, weights: vec![2], ..Listen::from("b:2") });
    }

    #[test]
    fn what_no_place_can_be_is_refused() {
        for (text, complaint) in [
            ("listen = [7]", "an address such as"),
            ("listen = [{ name = \"api\" }]", "missing field `address`"),
            ("listen = [{ address = \"a:1\", polity = \"shared\" }]", "unknown field `polity`"),
            ("listen = [{ address = \"a:1\", policy = \"fair\" }]", "unknown variant `fair`"),
            ("listen = [{ address = \"a:1\", certificates = [] }]", "no certificate"),
            (
                "listen = [{ address = \"a:1\", certificates = [{ certificate = \"c\" }] }]",
                "missing field `key`",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn a_place_survives_being_sent() {
        let certificates = vec![CertificateFiles { certificate: "c.pem".into(), key: "c.key".into() }];
        for place in [
            Listen::from("a:1"),
            Listen { policy: Some(Policy::IpHash), ..Listen::from("b:2") },
            Listen { certificates, ..Listen::from("c:3") },
        ] {
            let bytes = rmp_serde::to_vec_named(&place).unwrap();
            assert_eq!(rmp_serde::from_slice::<Listen>(&bytes).unwrap(), place);
        }
    }
}
