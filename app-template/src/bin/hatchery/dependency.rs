//! Which crates a stamped app needs, and in which versions: read from the manifests that this program was
//! built with, so that they cannot drift.

use std::fmt;
use std::path::Path;

use toml::{Table, Value};

use crate::home::Home;

const PACKAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
const WORKSPACE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));

/// One line of a table of dependencies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dependency {
    name: String,
    requirement: Table,
}

/// What the template's manifest says to the stamped one.
#[derive(Debug)]
pub(crate) struct Requirements {
    pub(crate) edition: String,
    pub(crate) rust_version: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) dev_dependencies: Vec<Dependency>,
}

impl Requirements {
    /// Those of an app that finds the framework in `home`.
    pub(crate) fn with(home: &Home) -> hatchery::Result<Self> {
        Self::read(&PACKAGE.parse()?, &WORKSPACE.parse()?, home)
    }

    fn read(package: &Table, workspace: &Table, home: &Home) -> hatchery::Result<Self> {
        let workspace = table(workspace, "workspace")?;
        let shared = table(workspace, "dependencies")?;
        let facts = table(workspace, "package")?;
        let section = |name: &str| {
            let entries = table(package, name)?.iter();
            let needed = entries.filter(|(_, entry)| !is_set(entry, "optional"));
            needed
                .map(|(name, entry)| Dependency::resolve(name, entry, shared, home))
                .collect::<hatchery::Result<Vec<_>>>()
        };
        Ok(Self {
            edition: text(facts, "edition")?,
            rust_version: text(facts, "rust-version")?,
            dependencies: section("dependencies")?,
            dev_dependencies: section("dev-dependencies")?,
        })
    }
}

/// The crates that an app uses, as they are named in code.
pub(crate) fn crates() -> Vec<String> {
    // A manifest that cannot be read is reported when the app is drawn.
    let Ok(all) = Requirements::with(&Home::Release) else {
        return Vec::new();
    };
    let all = all.dependencies.into_iter().chain(all.dev_dependencies);
    all.map(|dependency| dependency.name.replace('-', "_")).collect()
}

impl Dependency {
    fn resolve(name: &str, entry: &Value, shared: &Table, home: &Home) -> hatchery::Result<Self> {
        let mut requirement = if is_set(entry, "workspace") {
            let inherited = shared.get(name);
            let inherited = inherited.ok_or_else(|| format!("the workspace has no dependency `{name}`"))?;
            extended(expanded(inherited), &expanded(entry))
        } else {
            expanded(entry)
        };
        if let Some(Value::String(folder)) = requirement.remove("path")
            && let Home::Checkout(root) = home
        {
            requirement = replaced_by_path(requirement, &root.join(folder))?;
        }
        Ok(Self { name: name.to_owned(), requirement })
    }
}

/// What a package adds to an inherited requirement: features.
fn extended(mut inherited: Table, own: &Table) -> Table {
    if let Some(Value::Array(more)) = own.get("features") {
        let features = inherited.entry("features").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(features) = features {
            features.extend_from_slice(more);
        }
    }
    inherited
}

/// A path in place of the version: whatever version lies there is meant.
fn replaced_by_path(mut requirement: Table, folder: &Path) -> hatchery::Result<Table> {
    let path = folder
        .to_str()
        .ok_or_else(|| format!("{} cannot be written in a manifest: it is not UTF-8", folder.display()))?;
    requirement.remove("version");
    requirement.insert("path".to_owned(), path.into());
    Ok(requirement)
}

/// `"1"` is short for `{ version = "1" }`.
fn expanded(entry: &Value) -> Table {
    match entry {
        Value::Table(table) => table.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    }
}

fn is_set(entry: &Value, key: &str) -> bool {
    entry.get(key).and_then(Value::as_bool) == Some(true)
}

fn table<'a>(parent: &'a Table, key: &str) -> hatchery::Result<&'a Table> {
    let found = parent.get(key).and_then(Value::as_table);
    found.ok_or_else(|| format!("the template's manifest has no table `{key}`").into())
}

fn text(parent: &Table, key: &str) -> hatchery::Result<String> {
    let found = parent.get(key).and_then(Value::as_str);
    let found = found.ok_or_else(|| format!("the template's manifest has no text `{key}`"))?;
    Ok(found.to_owned())
}

/// As a line of a manifest.
impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ", self.name)?;
        match self.requirement.get("version") {
            Some(version) if self.requirement.len() == 1 => return write!(f, "{version}"),
            _ => {}
        }
        let (first, rest): (Vec<_>, Vec<_>) =
            self.requirement.iter().partition(|(key, _)| ["version", "path"].contains(&key.as_str()));
        let entries: Vec<String> =
            first.into_iter().chain(rest).map(|(key, value)| format!("{key} = {value}")).collect();
        write!(f, "{{ {} }}", entries.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = r#"
        [workspace.package]
        edition = "2024"
        rust-version = "1.90"
        [workspace.dependencies]
        house = { version = "0.1.0", path = "home" }
        plain = "1"
        rich = { version = "2", default-features = false, features = ["a"] }
    "#;

    fn lines(package: &str, home: &Home) -> Vec<String> {
        let package: Table = format!("{package}\n[dev-dependencies]").parse().expect("TOML");
        let shared = SHARED.parse().expect("TOML");
        let requirements = Requirements::read(&package, &shared, home).expect("requirements");
        requirements.dependencies.iter().map(ToString::to_string).collect()
    }

    /// Whether the code names the crate: `tokio::spawn`, and not `own::tokio::spawn` or `.tokio::<T>()`.
    fn names(code: &str, name: &str) -> bool {
        let path = format!("{name}::");
        let is_part = |before: char| before.is_alphanumeric() || "_:.".contains(before);
        code.match_indices(&path).any(|(at, _)| !code[..at].ends_with(is_part))
    }

    #[test]
    fn a_stamped_app_has_every_crate_that_the_examples_of_the_documentation_use() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let pages = std::fs::read_dir(root.join("docs")).expect("the documentation");
        let pages = pages.map(|page| page.expect("a page").path()).chain([root.join("README.md")]);
        let (workspace, stamped): (Table, _) = (WORKSPACE.parse().expect("TOML"), crates());
        let known =
            workspace["workspace"]["dependencies"].as_table().expect("the crates that there are").keys();
        let known: Vec<String> = known.map(|name| name.replace('-', "_")).collect();
        for page in pages {
            let text = std::fs::read_to_string(&page).expect("a page");
            let code = text.split("```").skip(1).step_by(2).filter(|block| block.starts_with("rust"));
            for block in code {
                let missing = known.iter().find(|name| names(block, name) && !stamped.contains(name));
                assert_eq!(missing, None, "{}: {block}", page.display());
            }
        }
    }

    #[test]
    fn what_is_inherited_is_written_out() {
        let package = "[dependencies]\nplain.workspace = true\nrich.workspace = true\nown = \"3\"";
        assert_eq!(
            lines(package, &Home::Release),
            [
                r#"own = "3""#,
                r#"plain = "1""#,
                r#"rich = { version = "2", default-features = false, features = ["a"] }"#,
            ]
        );
    }

    #[test]
    fn features_are_added_to_the_inherited_ones() {
        let package = "[dependencies]\nrich = { workspace = true, features = [\"b\"] }";
        assert_eq!(
            lines(package, &Home::Release),
            [r#"rich = { version = "2", default-features = false, features = ["a", "b"] }"#]
        );
    }

    #[test]
    fn what_is_optional_stays_behind() {
        let package = "[dependencies]\nplain = { workspace = true, optional = true }";
        assert!(lines(package, &Home::Release).is_empty());
    }

    #[test]
    fn the_framework_is_found_by_path_or_by_version() {
        let package = "[dependencies]\nhouse.workspace = true";
        assert_eq!(lines(package, &Home::Release), [r#"house = "0.1.0""#]);
        let home = Home::Checkout("/a \"b\"".into());
        let line: Table = lines(package, &home)[0].parse().expect("TOML");
        assert_eq!(line["house"]["path"].as_str(), Some("/a \"b\"/home"));
        assert_eq!(line["house"].get("version"), None);
    }

    #[test]
    fn what_the_workspace_does_not_know_is_named() {
        let package = "[dependencies]\nodd.workspace = true\n[dev-dependencies]".parse().expect("TOML");
        let shared = SHARED.parse().expect("TOML");
        let error = Requirements::read(&package, &shared, &Home::Release).expect_err("an odd dependency");
        assert_eq!(error.to_string(), "the workspace has no dependency `odd`");
    }
}
