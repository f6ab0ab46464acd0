//! An app that was stamped builds, starts and passes its test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hatchery::testing::{eventually, send_signal};
use rustix::process::Signal;

/// Cargo in `folder`. All builds share one target folder, so that what was built once is built once.
fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).args(arguments).env("CARGO_TARGET_DIR", target_dir()).stdin(Stdio::null());
    // What cargo tells the tests about their own package must not reach the app.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
        command.env_remove(name);
    }
    command
}

/// The probe lies in `target/debug`.
fn target_dir() -> PathBuf {
    crate::harness::probe().ancestors().nth(2).unwrap().to_owned()
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stamped_app_passes_its_tests_and_starts() {
    let folder = tempfile::tempdir().unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let parent = folder.path().to_str().unwrap();
    let said = succeed(&mut cargo(
        &workspace,
        &["run", "-q", "-p", "app-template", "--bin", "hatchery", "--", "new", "shop", "--dir", parent],
    ));
    assert!(said.contains("cargo run -- start"), "{said}");
    let shop = folder.path().join("shop");

    let said = succeed(&mut cargo(&shop, &["test"]));
    assert!(said.contains("test result: ok") && !said.contains(" 0 passed; 0 failed; 1 ignored"), "{said}");

    let mut running = Guard(
        cargo(&shop, &["run", "-q", "--", "start", "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap(),
    );
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("shop is ready: http://127.0.0.1:"), "{line}");
    send_signal(running.0.id(), Signal::TERM);
    assert_eq!(eventually("the shop closes", || running.0.try_wait().unwrap()).code(), Some(0));
    assert_eq!(crate::harness::processes_in(&shop), [0; 0]);
}
