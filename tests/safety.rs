//! Where unsafe code may be: one expression in one file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::architecture::below;

/// The one file that may have any.
const EXCEPTION: &str = "framework/src/bus/sealed.rs";

/// All members of the workspace, whose lints deny it.
const MEMBERS: [&str; 5] = ["framework", "agent", "app-template", "tests", "bench"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// How often a word stands in code, on its own: not in a comment, and not as the whole of a text.
fn count(code: &str, word: &str) -> usize {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let is_part = |letter: char| letter.is_alphanumeric() || ['_', '"'].contains(&letter);
    lines.flat_map(|line| line.split(|letter| !is_part(letter))).filter(|found| *found == word).count()
}

#[test]
fn a_word_is_found_however_the_code_is_laid_out() {
    let code =
        "unsafe{ f() }\nlet x = (unsafe\n{ g() }, unsafe_code, \"unsafe\");\n// unsafe\nunsafe fn h() {}";
    assert_eq!((count(code, "unsafe"), count(code, "unsafe_code")), (3, 1));
}

#[test]
fn every_member_denies_unsafe_code() {
    let manifest = |folder: &str| fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    assert!(manifest("").contains("\nunsafe_code = \"deny\"\n"));
    for member in MEMBERS {
        assert!(manifest(member).contains("[lints]\nworkspace = true\n"), "{member} has lints of its own");
    }
}

#[test]
fn one_expression_in_one_file_is_unsafe() {
    let is_code = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let code = |path: &Path| fs::read_to_string(path).unwrap();
    let (exception, this) = (root().join(EXCEPTION), root().join("tests").join("safety.rs"));
    let mut wrong = Vec::new();
    for path in MEMBERS.iter().chain(&["fuzz"]).flat_map(|member| below(root().join(member))) {
        if is_code(&path) && path != exception && path != this {
            let found = ["unsafe", "unsafe_code"].map(|word| count(&code(&path), word));
            wrong.extend((found != [0, 0]).then_some(path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?} have unsafe code, or allow it");
    let code = code(&exception);
    assert_eq!((count(&code, "unsafe"), count(&code, "unsafe_code")), (1, 1));
    let allowance = code.find("#[expect(unsafe_code").expect("it is allowed for one function");
    let function = code[allowance..].lines().nth(1).unwrap_or_default();
    assert!(function.starts_with("    fn map("), "{function}");
    assert!(
        code.contains("        unsafe { options.map_copy_read_only("),
        "the one expression is the mapping"
    );
}
