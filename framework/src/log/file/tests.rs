//! A single file: several writers, a full disk, a poisoned lock.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

#[test]
fn lines_of_several_writers_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.log");
    thread::scope(|scope| {
        for letter in [b'a', b'b', b'c'] {
            let file = file_at(&path).0;
            let mut line = vec![letter; 700];
            line.push(b'\n');
            scope.spawn(move || {
                (0..2_000).for_each(|_| file.push(&line));
                file.write_out();
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 6_000);
    assert!(
        text.lines().all(|line| line.len() == 700 && line.bytes().all(|byte| byte == line.as_bytes()[0]))
    );
}

fn file_at(path: &Path) -> (SharedFile, Arc<AtomicU64>) {
    let lost = Arc::new(AtomicU64::new(0));
    let (folder, name) =
        (path.parent().unwrap().into(), path.file_name().unwrap().to_str().unwrap().to_owned());
    let file = SharedFile::open(folder, name, Arc::new(Head::new("web.0")), Arc::clone(&lost)).unwrap();
    (file, lost)
}

/// A file on a full disk, and the path that leads there.
fn full_disk() -> (TempDir, PathBuf, SharedFile, Arc<AtomicU64>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.log");
    symlink("/dev/full", &path).unwrap();
    let (file, lost) = file_at(&path);
    (dir, path, file, lost)
}

#[test]
fn lines_wait_for_a_full_disk_and_what_is_too_much_is_counted_and_told() {
    let (_dir, path, file, lost) = full_disk();
    let line = format!("{}\n", "x".repeat(1023));
    (0..1030).for_each(|_| file.push(line.as_bytes()));
    file.write_out();
    assert_eq!(lost.load(Ordering::Relaxed), 6);

    fs::remove_file(&path).unwrap();
    file.reopen().unwrap();
    file.push(b"after\n");
    file.write_out();
    let text = fs::read_to_string(&path).unwrap();
    let tail: Vec<&str> = text.lines().skip(1024).collect();
    assert!(tail[0].contains("WARN web.0") && tail[0].contains(": 6 lines are lost"), "{}", tail[0]);
    assert!(tail[0].contains("No space left on device"));
    assert_eq!(tail[1..], ["after"]);
    assert_eq!(lost.load(Ordering::Relaxed), 6);
}

/// A file that took only `tw` of the line `two`.
fn torn(path: &Path) -> SharedFile {
    let (file, _) = file_at(path);
    file.push(b"two\n");
    let mut inner = file.lock();
    inner.file.write_all(b"tw").unwrap();
    inner.backlog.wrote(2);
    inner.torn_at = 2;
    drop(inner);
    file
}

#[test]
fn a_torn_line_is_continued_unless_another_process_wrote_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    for (other, expected) in [("", "two\n"), ("one\n", "twone\ntwo\n")] {
        let path = dir.path().join(format!("web{}.log", other.len()));
        let file = torn(&path);
        File::options().append(true).open(&path).unwrap().write_all(other.as_bytes()).unwrap();
        file.write_out();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }
}

#[test]
fn a_panic_that_poisons_the_lock_does_not_end_logging() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.log");
    let (file, _) = file_at(&path);
    let poisoner = file.clone();
    let poisoned = thread::spawn(move || {
        let _held = poisoner.lock();
        std::panic::resume_unwind(Box::new("while it holds the lock"));
    })
    .join();
    assert!(poisoned.is_err());
    file.push(b"still here\n");
    file.reopen().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "still here\n");
}
