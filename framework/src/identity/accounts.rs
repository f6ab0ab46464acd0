//! Looking accounts up in the system's lists of users and groups.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use super::{Account, Identity, Unusable, decide};

/// Whom the keys `cluster.user` and `cluster.group` want children to be; `None` when they stay what this
/// process is. The group is the user's first one by default; the user's further groups come with it.
pub(crate) fn resolve(user: Option<&Account>, group: Option<&Account>) -> Result<Option<Identity>, Unusable> {
    let now = (Uid::effective().as_raw(), Gid::effective().as_raw());
    find(user, group)?.map_or(Ok(None), |wanted| decide(wanted, group, now))
}

/// Whom the keys name, whether this process may become that one or not.
pub(crate) fn find(user: Option<&Account>, group: Option<&Account>) -> Result<Option<Identity>, Unusable> {
    match (user, group) {
        (Some(user), group) => look_up(user, group).map(Some),
        (None, Some(_)) => Err(Unusable::group(
            "the group has no meaning without a user: set cluster.user or remove cluster.group",
        )),
        (None, None) => Ok(None),
    }
}

/// A user that is in no list can be given by its number, together with a group.
fn look_up(user: &Account, group: Option<&Account>) -> Result<Identity, Unusable> {
    let entry = match user {
        Account::Name(name) => User::from_name(name),
        Account::Id(id) => User::from_uid(Uid::from_raw(*id)),
    };
    let entry = entry
        .map_err(|error| Unusable::user(format!("the user {user} cannot be looked up: {}", error.desc())))?;
    let gid = match (group, &entry) {
        (Some(group), _) => Some(look_up_group(group)?),
        (None, Some(entry)) => Some(entry.gid.as_raw()),
        (None, None) => None,
    };
    match (user, entry, gid) {
        (_, Some(entry), Some(gid)) => {
            let groups = groups_of(&entry.name, gid).map_err(|problem| {
                Unusable::user(format!("the groups of the user {user} cannot be told: {problem}"))
            })?;
            Ok(Identity { uid: entry.uid.as_raw(), gid, groups })
        }
        (Account::Id(uid), None, Some(gid)) => Ok(Identity { uid: *uid, gid, groups: vec![gid] }),
        (Account::Id(uid), ..) => Err(Unusable::user(format!(
            "the user {uid} is in no list of users, so that its group is not known: set cluster.group, too"
        ))),
        (Account::Name(name), ..) => Err(Unusable::user(no_user(name))),
    }
}

fn look_up_group(group: &Account) -> Result<u32, Unusable> {
    group_id(group).map_err(Unusable::group)
}

/// The number of a user; one that is given by its number need not be in any list.
///
/// # Errors
/// When there is no such user, in words.
pub(crate) fn user_id(user: &Account) -> Result<u32, String> {
    let name = match user {
        Account::Id(id) => return Ok(*id),
        Account::Name(name) => name,
    };
    match User::from_name(name) {
        Ok(Some(entry)) => Ok(entry.uid.as_raw()),
        Ok(None) => Err(no_user(name)),
        Err(error) => Err(format!("the user {name} cannot be looked up: {}", error.desc())),
    }
}

/// The number of a group, like [`user_id`].
///
/// # Errors
/// When there is no such group, in words.
pub(crate) fn group_id(group: &Account) -> Result<u32, String> {
    let name = match group {
        Account::Id(id) => return Ok(*id),
        Account::Name(name) => name,
    };
    match Group::from_name(name) {
        Ok(Some(entry)) => Ok(entry.gid.as_raw()),
        Ok(None) => Err(format!("there is no group `{name}`: create it, or name another")),
        Err(error) => Err(format!("the group {name} cannot be looked up: {}", error.desc())),
    }
}

fn no_user(name: &str) -> String {
    format!("there is no user `{name}`: create it, or name another")
}

/// All groups that list the user, and `gid`.
fn groups_of(name: &str, gid: u32) -> Result<Vec<u32>, String> {
    let name = CString::new(name).map_err(|error| error.to_string())?;
    let groups = getgrouplist(&name, Gid::from_raw(gid)).map_err(|error| error.desc().to_owned())?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// Who this process is, for errors about missing rights: `the user nobody (65534)`.
pub(crate) fn whoami() -> String {
    let uid = Uid::effective();
    match User::from_uid(uid) {
        Ok(Some(entry)) => format!("the user {} ({uid})", entry.name),
        _ => format!("the user {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_by_number() {
        let root = Identity { uid: 0, gid: 0, groups: vec![0] };
        for user in [Account::Name("root".into()), Account::Id(0)] {
            let found = look_up(&user, None).unwrap();
            assert_eq!((found.uid, found.gid), (root.uid, root.gid));
            assert!(found.groups.contains(&0));
        }
        let stranger = look_up(&Account::Id(4_000_000_001), Some(&Account::Id(7))).unwrap();
        assert_eq!(stranger, Identity { uid: 4_000_000_001, gid: 7, groups: vec![7] });
    }

    #[test]
    fn who_is_in_no_list_is_named() {
        let (nobody, number) = (Account::Name("no-such-one".into()), Account::Id(4_000_000_001));
        let table = [
            (Some(&nobody), None, "cluster.user: there is no user `no-such-one`"),
            (Some(&number), None, "cluster.user: the user 4000000001 is in no list of users"),
            (Some(&number), Some(&nobody), "cluster.group: there is no group `no-such-one`"),
            (None, Some(&nobody), "cluster.group: the group has no meaning without a user"),
        ];
        for (user, group, expected) in table {
            let error = resolve(user, group).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
