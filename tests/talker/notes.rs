//! Files by which a test and the processes that it started tell each other something.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

/// Takes as many milliseconds as a file says, if there is one; for as long as it is there, if it does not say how many.
pub(crate) async fn pause(file: &str) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    match text.trim().parse() {
        Ok(ms) => sleep(Duration::from_millis(ms)).await,
        Err(_) => {
            while Path::new(file).exists() {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// Writes down what was heard, where a test wants to know it of processes that end.
pub(crate) fn journal(message: &Value) {
    if let Some(text) = message["text"].as_str() {
        note(&format!("journal/{}", std::process::id()), text);
    }
}

pub(crate) fn note(path: &str, text: &str) {
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
        // In one write: several processes may write to one file at the same time.
        let _ = file.write_all(format!("{text}\n").as_bytes());
    }
}
