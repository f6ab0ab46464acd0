//! Folders of another user's, which take root to make: without it these tests have nothing to look at.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use tempfile::TempDir;

use super::*;

const USER: u32 = 4_000_000_001;

fn a_user() -> Option<Identity> {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can give folders away");
    }
    root.then(|| Identity { uid: USER, gid: USER, groups: vec![USER] })
}

/// A folder `logs` in another, and its path.
fn folder(identity: &Identity) -> (TempDir, PathBuf, LogFolder) {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("logs");
    let folder = LogFolder::of(&path, Some(identity));
    (above, path, folder)
}

fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

#[test]
fn a_missing_folder_and_a_folder_of_logs_become_the_users() {
    let Some(user) = a_user() else { return };
    let (_above, path, logs) = folder(&user);
    for round in 0..2 {
        if round == 1 {
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("web.log.2026-11-20.1"), "old").unwrap();
        }
        logs.hand_over().unwrap();
        logs.open("master.log").unwrap().write_all(b"a line\n").unwrap();
        assert_eq!([owner(&path), owner(&path.join("master.log"))], [USER; 2]);
        if round == 1 {
            assert_eq!(owner(&path.join("web.log.2026-11-20.1")), USER);
        }
        logs.hand_over().unwrap();
        fs::remove_dir_all(&path).unwrap();
        logs.open("master.log").unwrap();
        assert_eq!([owner(&path), owner(&path.join("master.log"))], [USER; 2]);
        fs::remove_dir_all(&path).unwrap();
    }
}

type Spoil = fn(&Path);

#[test]
fn a_folder_that_is_not_for_logs_alone_is_not_given_away() {
    let Some(user) = a_user() else { return };
    let spoil: [(&str, Spoil); 7] = [
        ("`passwd` in it: this is no log", |path| fs::write(path.join("passwd"), "").unwrap()),
        ("`a.log` in it: ", |path| symlink("/etc/passwd", path.join("a.log")).unwrap()),
        ("`a.log` in it: it is no plain file", |path| fs::create_dir(path.join("a.log")).unwrap()),
        ("it has a second name", |path| {
            fs::write(path.join("a.log"), "").unwrap();
            fs::hard_link(path.join("a.log"), path.join("b.log")).unwrap();
        }),
        ("it belongs to the user 7", |path| chown(path, Some(7), None).unwrap()),
        ("others may write to it", |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o1777)).unwrap();
        }),
        ("`a.log` in it belongs to root", |path| {
            fs::write(path.join("a.log"), "").unwrap();
            chown(path, Some(USER), None).unwrap();
        }),
    ];
    for (expected, spoil) in spoil {
        let (_above, path, logs) = folder(&user);
        fs::create_dir(&path).unwrap();
        spoil(&path);
        let before = owner(&path);
        let error = logs.hand_over().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(owner(&path), before);
    }
}

#[test]
fn root_does_not_write_where_a_user_leads_it() {
    let Some(user) = a_user() else { return };
    let (above, path, logs) = folder(&user);
    logs.hand_over().unwrap();
    let precious = above.path().join("precious");
    fs::write(&precious, "words").unwrap();
    symlink(&precious, path.join("a.log")).unwrap();
    symlink(above.path().join("new"), path.join("b.log")).unwrap();
    fs::hard_link(&precious, path.join("c.log")).unwrap();
    rustix::fs::mknodat(CWD, path.join("d.log"), FileType::Fifo, MODE, 0).unwrap();
    fs::write(path.join("e.log"), "").unwrap();
    chown(path.join("e.log"), Some(7), None).unwrap();
    let table = [
        ("a.log", "symbolic link"),
        ("b.log", "symbolic link"),
        ("c.log", "second name"),
        ("d.log", ""),
        ("e.log", "belongs to the user 7"),
    ];
    for (name, expected) in table {
        let error = logs.open(name).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "words");
    assert!(!above.path().join("new").exists());
    assert_eq!(owner(&precious), 0);
}
