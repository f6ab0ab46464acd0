//! As whom a process runs: the accounts that the configuration names, and the identity made of them, as text
//! on its way to a child. Looking accounts up is `accounts`, becoming somebody is `taking`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod accounts;
mod taking;

use crate::number;

pub(crate) use accounts::{find, group_id, resolve, user_id, whoami};
pub(crate) use taking::take;

/// The environment variable that tells a child whom to become: an [`Identity`] as text. Without it a child
/// stays what its master is.
pub(crate) const IDENTITY_VARIABLE: &str = "HATCHERY_IDENTITY";

/// A user or a group as the configuration names it: by its name, or by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A name, to be looked up.
    Name(String),
    /// The number of a user or of a group.
    Id(u32),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

impl Serialize for Account {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Id(id) => serializer.serialize_u32(*id),
        }
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number::or_text(
            deserializer,
            "the name or the number of an account",
            |id| u32::try_from(id).ok().filter(|id| *id != NOBODY_AT_ALL).map(Self::Id),
            |name| (!name.is_empty() && !name.contains('\0')).then(|| Self::Name(name.to_owned())),
        )
    }
}

/// The kernel takes this number for "leave it as it is".
const NOBODY_AT_ALL: u32 = u32::MAX;

/// Whom to become. As text: `65534:65534:65534,100`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, the first one among them.
    pub(crate) groups: Vec<u32>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        write!(f, "{}:{}:{}", self.uid, self.gid, groups.join(","))
    }
}

/// A text that names no identity.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` names nobody to become: write `uid:gid:group,group`")]
pub(crate) struct UnknownIdentity(String);

impl FromStr for Identity {
    type Err = UnknownIdentity;

    fn from_str(text: &str) -> Result<Self, UnknownIdentity> {
        let unknown = || UnknownIdentity(text.to_owned());
        let id = |text: &str| text.parse().ok().filter(|id| *id != NOBODY_AT_ALL).ok_or_else(unknown);
        let mut parts = text.split(':');
        let (Some(uid), Some(gid), Some(groups), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(unknown());
        };
        let groups = groups.split(',').map(id).collect::<Result<_, _>>()?;
        Ok(Self { uid: id(uid)?, gid: id(gid)?, groups })
    }
}

/// Why nobody can be made of the keys `cluster.user` and `cluster.group`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub(crate) struct Unusable {
    pub(crate) key: &'static str,
    pub(crate) problem: String,
}

pub(crate) const USER: &str = "cluster.user";
pub(crate) const GROUP: &str = "cluster.group";

impl Unusable {
    fn user(problem: impl Into<String>) -> Self {
        Self { key: USER, problem: problem.into() }
    }

    fn group(problem: impl Into<String>) -> Self {
        Self { key: GROUP, problem: problem.into() }
    }
}

/// What there is to do for a process that is `uid` and `gid` now: `None` when it stays as it is.
fn decide(
    wanted: Identity,
    group: Option<&Account>,
    (uid, gid): (u32, u32),
) -> Result<Option<Identity>, Unusable> {
    if wanted.uid == uid {
        return match group {
            Some(name) if wanted.gid != gid => Err(Unusable::group(format!(
                "the group {name} cannot be taken without another user: remove cluster.group"
            ))),
            _ => Ok(None),
        };
    }
    if uid == 0 {
        return Ok(Some(wanted));
    }
    Err(Unusable::user("only root can run workers as another user: start as root or remove cluster.user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(uid: u32, gid: u32) -> Identity {
        Identity { uid, gid, groups: vec![gid] }
    }

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        for one in [identity(1, 2), Identity { uid: 65534, gid: 65534, groups: vec![65534, 4, 27] }] {
            assert_eq!(one.to_string().parse::<Identity>().unwrap(), one);
        }
        for text in
            ["", "1", "1:2", "1:2:", "1:2:x", "-1:2:2", "1:2:2:2", "4294967295:1:1", "1:2:2,", " 1:2:2"]
        {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_account_is_a_name_or_a_number() {
        let read = |text: &str| {
            let table: Result<std::collections::BTreeMap<String, Account>, _> = toml::from_str(text);
            table.map(|mut table| table.remove("user").unwrap())
        };
        assert_eq!(read("user = 'www-data'").unwrap(), Account::Name("www-data".into()));
        assert_eq!(read("user = 1000").unwrap(), Account::Id(1000));
        assert_eq!(read("user = '1000'").unwrap(), Account::Id(1000));
        for wrong in ["''", "-1", "4294967295", "'4294967295'", "4294967296", "true", "[]"] {
            let error = read(&format!("user = {wrong}")).unwrap_err().to_string();
            assert!(error.contains("the name or the number of an account"), "{wrong}: {error}");
        }
    }

    #[test]
    fn only_root_becomes_somebody_else() {
        let www = Account::Name("www".into());
        let table = [
            (identity(33, 33), None, (0, 0), Ok(Some(identity(33, 33)))),
            (identity(33, 0), Some(&www), (0, 0), Ok(Some(identity(33, 0)))),
            (identity(0, 0), None, (0, 0), Ok(None)),
            (identity(7, 7), None, (7, 7), Ok(None)),
            (identity(7, 7), None, (7, 8), Ok(None)),
            (identity(7, 8), Some(&www), (7, 8), Ok(None)),
            (identity(0, 33), Some(&www), (0, 0), Err(GROUP)),
            (identity(7, 33), Some(&www), (7, 7), Err(GROUP)),
            (identity(33, 33), None, (7, 7), Err(USER)),
            (identity(0, 0), None, (7, 7), Err(USER)),
        ];
        for (wanted, group, now, expected) in table {
            let text = format!("{wanted} for {now:?}");
            assert_eq!(decide(wanted, group, now).map_err(|error| error.key), expected, "{text}");
        }
    }
}
