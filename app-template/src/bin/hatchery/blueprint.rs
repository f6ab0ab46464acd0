//! All files of one app, in memory: the living template's, and those that are rendered for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use crate::dependency::{Dependency, Requirements};
use crate::home::Home;
use crate::name::AppName;
use crate::template::{self, Content};

/// The files of an app by their paths in it.
pub(crate) type Files = BTreeMap<PathBuf, Content>;

/// An app that is not written yet.
#[derive(Debug)]
pub(crate) struct Blueprint {
    pub(crate) files: Files,
    /// Where it greets, once it is started.
    pub(crate) url: String,
}

impl Blueprint {
    /// Draws the app `name`, which finds the framework in `home`.
    pub(crate) fn draw(name: &AppName, home: &Home) -> hatchery::Result<Self> {
        let mut files: Files = template::living().collect();
        files.insert("rustfmt.toml".into(), template::RUSTFMT.as_bytes().into());
        let url = url(&files)?;
        let requirements = Requirements::with(home)?;
        let facts = context! {
            name => name.as_str(),
            url => url.as_str(),
            edition => requirements.edition,
            rust_version => requirements.rust_version,
            dependencies => lines(&requirements.dependencies),
            dev_dependencies => lines(&requirements.dev_dependencies),
        };
        let environment = environment()?;
        for (path, source) in template::stamped() {
            let text = environment.render_str(std::str::from_utf8(&source)?, facts.clone())?;
            files.insert(path, text.into_bytes().into());
        }
        Ok(Self { files, url })
    }
}

fn environment() -> hatchery::Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?,
    );
    Ok(environment)
}

fn lines(dependencies: &[Dependency]) -> Value {
    dependencies.iter().map(ToString::to_string).collect()
}

/// The first address that the template's configuration listens on.
fn url(files: &Files) -> hatchery::Result<String> {
    let config = files.get(Path::new("config/default.toml"));
    let config: toml::Table = toml::from_slice(config.ok_or("the template has no configuration")?)?;
    let address = config
        .get("http")
        .and_then(|http| http.get("listen")?.get(0)?.as_str())
        .ok_or("the template's configuration has no `http.listen`")?;
    Ok(format!("http://{address}/"))
}

#[cfg(test)]
mod tests {
    use toml::Table;

    use super::*;

    fn draw(name: &str, home: &Home) -> Blueprint {
        Blueprint::draw(&name.parse().expect("a name"), home).expect("a blueprint")
    }

    fn text<'a>(blueprint: &'a Blueprint, path: &str) -> &'a str {
        std::str::from_utf8(&blueprint.files[Path::new(path)]).expect("text")
    }

    fn manifest(home: &Home) -> Table {
        text(&draw("web-shop", home), "Cargo.toml").parse().expect("a manifest")
    }

    #[test]
    fn the_manifest_names_the_app_and_stands_alone() {
        let manifest = manifest(&Home::Release);
        assert_eq!(manifest["package"]["name"].as_str(), Some("web-shop"));
        assert_eq!(manifest["package"]["version"].as_str(), Some("0.1.0"));
        assert_eq!(manifest["package"]["edition"].as_str(), Some("2024"));
        assert_eq!(manifest["workspace"], Table::new().into());
    }

    #[test]
    fn the_manifest_has_what_the_app_needs_and_nothing_of_the_scaffold() {
        let manifest = manifest(&Home::Release);
        let names = |table: &str| -> Vec<String> {
            let table = manifest[table].as_table().expect("a table");
            table.keys().cloned().collect()
        };
        assert_eq!(
            names("dependencies"),
            ["axum", "hatchery", "hatchery-agent", "serde", "tokio", "tracing"]
        );
        assert_eq!(names("dev-dependencies"), ["serde_json"]);
        assert_eq!(manifest["dependencies"]["hatchery"].as_str(), Some(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_manifest_points_into_the_checkout() {
        let manifest = manifest(&Home::Checkout("/far/away".into()));
        let path = |name: &str| manifest["dependencies"][name]["path"].as_str().map(str::to_owned);
        assert_eq!(path("hatchery").as_deref(), Some("/far/away/framework"));
        assert_eq!(path("hatchery-agent").as_deref(), Some("/far/away/agent"));
    }

    #[test]
    fn the_readme_speaks_of_the_app() {
        let blueprint = draw("shop", &Home::Release);
        let readme = text(&blueprint, "README.md");
        assert!(readme.starts_with("# shop\n"), "{readme}");
        assert!(readme.contains("cargo run -- start"), "{readme}");
        assert!(readme.contains("curl http://127.0.0.1:7001/"), "{readme}");
        assert!(!readme.contains("{{"), "{readme}");
    }

    #[test]
    fn the_layout_of_the_sources_comes_along() {
        let blueprint = draw("shop", &Home::Release);
        assert_eq!(text(&blueprint, "rustfmt.toml"), template::RUSTFMT);
    }

    #[test]
    fn what_comes_and_goes_is_not_kept() {
        let blueprint = draw("shop", &Home::Release);
        assert_eq!(text(&blueprint, ".gitignore"), "/target\n/run\n/logs\n");
    }
}
