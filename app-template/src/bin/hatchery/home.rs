//! Where a stamped app finds the framework: in a checkout, or among the released versions.

use std::path::{Path, PathBuf};

/// Where the framework comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Home {
    /// A checkout, by its absolute path.
    Checkout(PathBuf),
    /// The version that was released.
    Release,
}

/// What was given is no checkout.
#[derive(Debug, thiserror::Error)]
#[error("{} is no checkout of Hatchery: it lacks framework/Cargo.toml or agent/Cargo.toml", .0.display())]
pub(crate) struct NoCheckout(PathBuf);

impl Home {
    /// The checkout that was asked for (its root, or the folder `framework` in it); else the one that this
    /// program was built from, if it is still there; else the release.
    pub(crate) fn find(asked: Option<&Path>) -> Result<Self, NoCheckout> {
        let Some(asked) = asked else {
            let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
            return Ok(built_from.and_then(checkout).unwrap_or(Self::Release));
        };
        checkout(asked).or_else(|| checkout(&asked.join(".."))).ok_or_else(|| NoCheckout(asked.to_owned()))
    }
}

fn checkout(root: &Path) -> Option<Home> {
    let root = root.canonicalize().ok()?;
    let whole = ["framework", "agent"].iter().all(|part| root.join(part).join("Cargo.toml").is_file());
    whole.then_some(Home::Checkout(root))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn a_checkout() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for part in ["framework", "agent"] {
            fs::create_dir(root.path().join(part)).expect("a folder");
            fs::write(root.path().join(part).join("Cargo.toml"), "").expect("a file");
        }
        root
    }

    #[test]
    fn this_checkout_is_the_home_unless_another_is_asked_for() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize();
        let here = here.expect("this checkout");
        assert_eq!(Home::find(None).expect("a home"), Home::Checkout(here));
    }

    #[test]
    fn a_checkout_is_known_by_its_root_and_by_its_framework() {
        let root = a_checkout();
        let home = Home::Checkout(root.path().canonicalize().expect("a folder"));
        assert_eq!(Home::find(Some(root.path())).expect("a home"), home);
        let framework = root.path().join("framework");
        assert_eq!(Home::find(Some(&framework)).expect("a home"), home);
    }

    #[test]
    fn a_folder_without_the_framework_is_refused() {
        let root = a_checkout();
        fs::remove_file(root.path().join("agent/Cargo.toml")).expect("a file");
        let error = Home::find(Some(root.path())).expect_err("no checkout");
        assert!(error.to_string().contains("agent/Cargo.toml"), "{error}");
    }
}
