//! The files that are embedded in this program: the template's own, which are built and tested in this
//! package and stamped as they are, and the few that must differ from app to app.

use std::borrow::Cow;
use std::path::PathBuf;

use rust_embed::RustEmbed;

/// The contents of a file.
pub(crate) type Content = Cow<'static, [u8]>;

#[derive(RustEmbed)]
#[folder = "src/"]
#[prefix = "src/"]
struct Sources;

#[derive(RustEmbed)]
#[folder = "config/"]
#[prefix = "config/"]
struct Config;

#[derive(RustEmbed)]
#[folder = "tests/"]
#[prefix = "tests/"]
struct Tests;

#[derive(RustEmbed)]
#[folder = "stamp/"]
struct Stamp;

/// The layout of the living files, for `cargo fmt` in a stamped app: a file `rustfmt.toml`.
pub(crate) const RUSTFMT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../rustfmt.toml"));

/// The files that every app has, with their paths in it.
pub(crate) fn living() -> impl Iterator<Item = (PathBuf, Content)> {
    files::<Sources>()
        .chain(files::<Config>())
        .chain(files::<Tests>())
        .filter(|(path, _)| !path.starts_with("src/bin/"))
        // What editors leave behind.
        .filter(|(path, _)| !path.rsplit('/').next().is_some_and(|name| name.starts_with('.')))
        .map(|(path, content)| (path.into_owned().into(), content))
}

/// The sources of the files that differ, with the paths of what comes of them.
pub(crate) fn stamped() -> impl Iterator<Item = (PathBuf, Content)> {
    files::<Stamp>().filter_map(|(path, content)| Some((path.strip_suffix(".jinja")?.into(), content)))
}

fn files<Folder: RustEmbed>() -> impl Iterator<Item = (Cow<'static, str>, Content)> {
    Folder::iter().filter_map(|path| {
        let content = Folder::get(&path)?.data;
        Some((path, content))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_living_files_are_those_of_this_package() {
        let paths: Vec<PathBuf> = living().map(|(path, _)| path).collect();
        for path in ["src/main.rs", "config/default.toml", "tests/app.rs"] {
            assert!(paths.contains(&path.into()), "{path} is missing in {paths:?}");
        }
        for (path, content) in living() {
            let original = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).expect("the original");
            assert!(content == original, "{} differs", path.display());
        }
    }

    #[test]
    fn the_scaffold_is_no_part_of_an_app() {
        assert!(!living().any(|(path, _)| path.starts_with("src/bin")));
    }

    #[test]
    fn what_differs_is_little() {
        let mut paths: Vec<PathBuf> = stamped().map(|(path, _)| path).collect();
        paths.sort();
        assert_eq!(paths, [".gitignore", "Cargo.toml", "README.md"].map(PathBuf::from));
    }
}
