//! Has the template's files embedded again when one is added: the compiler itself only watches those that it
//! has embedded before.

fn main() {
    for folder in ["config", "src", "stamp", "tests"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
