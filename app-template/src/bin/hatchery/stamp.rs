//! Writing an app: into a folder beside its own, which takes its name at the end, so that it is there as a
//! whole or not at all.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::blueprint::Files;
use crate::name::AppName;

/// Why an app was not written. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StampError {
    #[error("{} already exists and is not an empty folder; choose another name, or another place with --dir", .0.display())]
    Occupied(PathBuf),
    #[error("the folder {} does not exist; create it first, or choose another one with --dir", .0.display())]
    NoParent(PathBuf),
    #[error("{} cannot be written", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

/// Writes `files` into the new folder `name` in `parent`, and returns its path.
pub(crate) fn stamp(files: &Files, parent: &Path, name: &AppName) -> Result<PathBuf, StampError> {
    if !parent.is_dir() {
        return Err(StampError::NoParent(parent.to_owned()));
    }
    let target = parent.join(name.as_str());
    if is_occupied(&target) {
        return Err(StampError::Occupied(target));
    }
    // Its drop removes what was written so far.
    let draft = tempfile::Builder::new()
        .prefix(&format!(".{name}-"))
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(unwritable(&target))?;
    for (path, content) in files {
        write(&draft.path().join(path), content).map_err(unwritable(&target.join(path)))?;
    }
    // Replaces an empty folder and nothing else, also when somebody was faster.
    fs::rename(draft.path(), &target).map_err(unwritable(&target))?;
    let _ = draft.keep();
    Ok(target)
}

fn is_occupied(target: &Path) -> bool {
    match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_some() || target.is_symlink(),
        Err(_) => target.symlink_metadata().is_ok(),
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> StampError {
    let path = path.to_owned();
    |source| StampError::Unwritable { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn files(paths: &[&'static str]) -> Files {
        let content = |path: &&'static str| (PathBuf::from(path), path.as_bytes().into());
        paths.iter().map(content).collect()
    }

    fn shop() -> AppName {
        "shop".parse().expect("a name")
    }

    fn entries(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_app_is_written_as_it_was_drawn() {
        let parent = tempfile::tempdir().expect("a folder");
        let target = stamp(&files(&["a", "b/c"]), parent.path(), &shop()).expect("an app");
        assert_eq!(target, parent.path().join("shop"));
        assert_eq!(entries(parent.path()), ["shop"]);
        assert_eq!(entries(&target), ["a", "b"]);
        assert_eq!(fs::read(target.join("b/c")).expect("a file"), b"b/c");
    }

    #[test]
    fn a_new_folder_is_as_open_as_any_other() {
        let parent = tempfile::tempdir().expect("a folder");
        let target = stamp(&files(&["a"]), parent.path(), &shop()).expect("an app");
        fs::create_dir(parent.path().join("other")).expect("a folder");
        let mode = |path: &Path| fs::metadata(path).expect("a folder").permissions().mode();
        assert_eq!(mode(&target), mode(&parent.path().join("other")));
    }

    #[test]
    fn an_empty_folder_is_filled() {
        let parent = tempfile::tempdir().expect("a folder");
        fs::create_dir(parent.path().join("shop")).expect("a folder");
        let target = stamp(&files(&["a"]), parent.path(), &shop()).expect("an app");
        assert_eq!(entries(&target), ["a"]);
    }

    /// Puts something where the app would go.
    type Put = fn(&Path);

    #[test]
    fn what_is_in_the_way_stays_as_it_is() {
        let obstacles: [(&str, Put); 4] = [
            ("a full folder", |path| {
                fs::create_dir(path).expect("a folder");
                fs::write(path.join("mine"), "").expect("a file");
            }),
            ("a file", |path| fs::write(path, "").expect("a file")),
            ("a link to an empty folder", |path| {
                fs::create_dir(path.with_file_name("empty")).expect("a folder");
                symlink("empty", path).expect("a link");
            }),
            ("a link to nothing", |path| symlink("nothing", path).expect("a link")),
        ];
        for (what, put) in obstacles {
            let parent = tempfile::tempdir().expect("a folder");
            put(&parent.path().join("shop"));
            let before = entries(parent.path());
            let error = stamp(&files(&["a"]), parent.path(), &shop()).expect_err(what);
            assert!(matches!(error, StampError::Occupied(_)), "{what}: {error}");
            assert_eq!(entries(parent.path()), before, "{what}");
            assert!(!parent.path().join("shop/a").exists(), "{what}");
        }
    }

    #[test]
    fn a_failure_half_way_leaves_nothing_behind() {
        let parent = tempfile::tempdir().expect("a folder");
        // The second file wants a folder where the first one is.
        let error = stamp(&files(&["a", "a/b"]), parent.path(), &shop()).expect_err("no app");
        assert!(matches!(error, StampError::Unwritable { .. }), "{error}");
        assert!(entries(parent.path()).is_empty());
    }

    #[test]
    fn a_missing_parent_is_named() {
        let parent = tempfile::tempdir().expect("a folder");
        let missing = parent.path().join("missing");
        let error = stamp(&files(&["a"]), &missing, &shop()).expect_err("no app");
        assert!(error.to_string().contains(&*missing.to_string_lossy()), "{error}");
        assert!(entries(parent.path()).is_empty());
    }
}
