//! One place to listen, as `http.listen` names it: an address alone, or a table that says more of it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::mode::SocketMode;
use crate::balance::Policy;
use crate::identity::Account;
use crate::tls::CertificateFiles;

/// One place to listen. In the configuration an address alone stands for a table with nothing else in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listen {
    /// `host:port`, `unix:PATH`, `udp:host:port`, or `systemd:NAME` for inherited sockets of that name.
    pub address: String,
    /// What the status calls it. Default `http`, or the group's name, with a number where that is taken; for an
    /// inherited socket its own name.
    pub name: Option<String>,
    /// How its connections are spread over the workers. Default what `http.policy` says.
    pub policy: Option<Policy>,
    /// For the policy `weighted`: how much each worker gets, by index. Who has none counts as 1.
    pub weights: Vec<u32>,
    /// For a Unix socket: the mode of its file. Default what the umask of the master leaves.
    pub mode: Option<SocketMode>,
    /// For a Unix socket: the owner of its file. Default the master's user.
    pub owner: Option<Account>,
    /// For a Unix socket: the group of its file. Default the master's group.
    pub group: Option<Account>,
    /// With which certificates it speaks TLS; a client gets the first that holds for the name it asks for, or the first
    /// of all. Default none: it does not.
    pub certificates: Vec<CertificateFiles>,
}

/// What the address of a Unix socket begins with.
pub(crate) const UNIX: &str = "unix:";

/// What the address of a UDP socket begins with.
pub(crate) const UDP: &str = "udp:";

/// Whether it is an address that is bound as TCP.
fn is_tcp(address: &str) -> bool {
    ![UNIX, UDP, "systemd:"].iter().any(|prefix| address.starts_with(prefix))
}

/// The table in full.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    weights: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<SocketMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Account>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Account>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "some_certificates")]
    certificates: Vec<CertificateFiles>,
}

impl Listen {
    /// Why it cannot have a policy, if that is its own or it has none of its own. UDP has none at all.
    pub(crate) fn unfit(&self, otherwise: Policy) -> Option<&'static str> {
        let has_slots = self.policy.unwrap_or(otherwise).has_slots();
        (has_slots && !is_tcp(&self.address) && !self.address.starts_with(UDP)).then_some(
            "the policy `reuseport` is for TCP addresses: give each other place a `policy` of its own",
        )
    }

    /// What in the table does not go with its address.
    fn contradiction(&self) -> Option<&'static str> {
        if self.name.as_ref().is_some_and(|name| name.is_empty() || name.chars().any(char::is_control)) {
            return Some("the name of a place has one character at least, and no control characters");
        }
        if self.address.starts_with(UDP) && (self.policy.is_some() || !self.weights.is_empty()) {
            return Some("a UDP socket is shared by all workers of its group: remove `policy` and `weights`");
        }
        if self.address.starts_with(UDP) && !self.certificates.is_empty() {
            return Some(
                "a UDP socket speaks no TLS: remove `certificates`, or write the address without udp:",
            );
        }
        if let Some(problem) = self.policy.and_then(|policy| self.unfit(policy)) {
            return Some(problem);
        }
        let of_a_file = self.mode.is_some() || self.owner.is_some() || self.group.is_some();
        (of_a_file && !self.address.starts_with(UNIX))
            .then_some("`mode`, `owner` and `group` are for Unix sockets: an address that begins with unix:")
    }
}

/// Whoever writes the key wants TLS.
fn some_certificates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<CertificateFiles>, D::Error> {
    let certificates = Vec::<CertificateFiles>::deserialize(deserializer)?;
    if certificates.is_empty() {
        return Err(Error::custom("no certificate: name the files of one, or leave the key out"));
    }
    Ok(certificates)
}

impl From<&str> for Listen {
    fn from(address: &str) -> Self {
        Self { address: address.to_owned(), ..Self::default() }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::from(&*self.address) {
            return serializer.serialize_str(&self.address);
        }
        let Self { address, name, policy, weights, mode, owner, group, certificates } = self.clone();
        Table { address, name, policy, weights, mode, owner, group, certificates }.serialize(serializer)
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
        let Table { address, name, policy, weights, mode, owner, group, certificates } =
            Table::deserialize(MapAccessDeserializer::new(map))?;
        let place = Listen { address, name, policy, weights, mode, owner, group, certificates };
        place.contradiction().map_or(Ok(place), |problem| Err(A::Error::custom(problem)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpSettings;

    #[test]
    fn a_place_without_a_policy_must_fit_that_of_all() {
        for (place, fits) in [
            ("'a:1'", true),
            ("'udp:a:1'", true),
            ("'unix:a'", false),
            ("'systemd:'", false),
            ("{ address = 'unix:a', policy = 'shared' }", true),
        ] {
            let text = format!("policy = 'reuseport'\nlisten = ['a:1', {place}]");
            assert_eq!(toml::from_str::<HttpSettings>(&text).is_ok(), fits, "{place}");
        }
    }

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
            ("listen = [{ address = \"unix:a\", policy = \"reuseport\" }]", "is for TCP addresses"),
            ("listen = [{ address = \"udp:a:1\", policy = \"shared\" }]", "shared by all workers"),
            (
                "listen = [{ address = \"udp:a:1\", certificates = [{ certificate = \"c\", key = \"k\" }] }]",
                "speaks no TLS",
            ),
            ("listen = [{ address = \"a:1\", mode = \"0660\" }]", "are for Unix sockets"),
            ("listen = [{ address = \"unix:a\", mode = 660 }]", "a mode in quotes"),
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
        let mode = toml::from_str::<Section>("listen = [{ address = 'unix:a', mode = '0660', owner = 7 }]");
        let unix = mode.unwrap().listen.remove(0);
        let certificates = vec![CertificateFiles { certificate: "c.pem".into(), key: "c.key".into() }];
        for place in [
            Listen::from("a:1"),
            Listen { policy: Some(Policy::IpHash), ..Listen::from("b:2") },
            Listen { certificates, ..Listen::from("c:3") },
            unix,
        ] {
            let bytes = rmp_serde::to_vec_named(&place).unwrap();
            assert_eq!(rmp_serde::from_slice::<Listen>(&bytes).unwrap(), place);
        }
    }
}
