//! The files that the user of the workers needs: logs that it shares with root, and the configuration.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};

use hatchery::testing::eventually;

use super::{AS_NOBODY, cluster, failed_start, nobody};
use crate::harness::{FAST, ask_all, log_lines, site, stderr};
use crate::logs::remove_folder;

#[test]
fn the_logs_are_the_users_and_are_rotated_by_it() {
    let Some(nobody) = nobody() else { return };
    let mut cluster = cluster("[log_rotation]\nmax_size = '4KiB'\ncheck_interval = '5ms'");
    let logs = cluster.site().dir().join("logs");
    let mut from = 0;
    let count = || fs::read_dir(&logs).unwrap().count();
    eventually("rotations", || {
        assert_eq!(cluster.get(&format!("/log?from={from}&count=100")).code, 200);
        from += 100;
        (count() > 8).then_some(())
    });
    let duties = cluster.status().agent.duties;
    assert!(duties.iter().all(|duty| duty.last_error.is_none()), "{duties:?}");
    // A folder that is removed is made by the master, for the user.
    remove_folder(&logs);
    eventually("the new files", || {
        assert_eq!(cluster.get("/log?from=7&count=1").code, 200);
        (logs.exists() && !log_lines(cluster.site(), "web.log", "numbered line 7").is_empty()).then_some(())
    });
    assert_eq!(cluster.stop().code(), Some(0));
    for name in [".", "master.log", "web.log", "error.log"] {
        let facts = fs::metadata(logs.join(name)).unwrap();
        assert_eq!((facts.uid(), facts.gid()), (nobody.uid, nobody.gid), "{name}");
    }
    cluster.start_again(&[FAST, AS_NOBODY].concat());
}

#[test]
fn the_configuration_is_polled_and_an_unreadable_one_is_refused() {
    let Some(_) = nobody() else { return };
    let cluster = cluster("greeting = 'one'");
    cluster.site().configure("default.toml", "greeting = 'two'");
    eventually("the change is everywhere", || {
        ask_all(&cluster, "/config").iter().all(|answer| answer["config"]["greeting"] == "two").then_some(())
    });
    let file = cluster.site().dir().join("config/default.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = cluster.wait_for("the refusal", |status| status.config.refused.is_some()).config.refused;
    assert!(refused.unwrap().starts_with("config/default.toml: the user nobody ("));
    drop(cluster);

    let site = site("greeting = 'secret'");
    fs::set_permissions(site.dir().join("config/default.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let output = site.run(&[&["start", "--listen", "127.0.0.1:0"], AS_NOBODY].concat());
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("config/default.toml: the user nobody ("), "{}", stderr(&output));
}

#[test]
fn a_daemon_gives_its_console_to_the_user() {
    let Some(nobody) = nobody() else { return };
    let site = site("");
    for _ in 0..2 {
        let start = ["start", "--daemon", "--listen", "127.0.0.1:0", "--workers", "1"];
        let output = site.run(&[&start, AS_NOBODY].concat());
        let stopped = site.run(&["stop", "--fast"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stopped.status.code(), Some(0), "{}", stderr(&stopped));
        assert_eq!(fs::metadata(site.dir().join("logs/console.log")).unwrap().uid(), nobody.uid);
    }
}

#[test]
fn a_link_in_the_log_folder_leads_root_nowhere() {
    let Some(nobody) = nobody() else { return };
    let site = site("");
    let (logs, precious) = (site.dir().join("logs"), site.dir().join("precious"));
    fs::create_dir(&logs).unwrap();
    chown(&logs, Some(nobody.uid), Some(nobody.gid)).unwrap();
    fs::write(&precious, "words").unwrap();
    symlink(&precious, logs.join("master.log")).unwrap();
    lchown(logs.join("master.log"), Some(nobody.uid), Some(nobody.gid)).unwrap();
    let said = failed_start(&site, AS_NOBODY, 75);
    assert!(said.contains("master.log") && said.contains("it is a symbolic link: remove it"), "{said}");
    fs::remove_file(logs.join("master.log")).unwrap();
    fs::hard_link(&precious, logs.join("master.log")).unwrap();
    let said = failed_start(&site, AS_NOBODY, 75);
    assert!(said.contains("`master.log` in it belongs to root"), "{said}");
    assert_eq!(fs::read_to_string(&precious).unwrap(), "words");
    assert_eq!(fs::metadata(&precious).unwrap().uid(), 0);
}

#[test]
fn a_log_folder_with_other_things_in_it_is_not_given_away() {
    let Some(_) = nobody() else { return };
    let site = site("");
    let options = [AS_NOBODY, &["--log-dir", "."]].concat();
    let said = failed_start(&site, &options, 75);
    assert!(
        said.starts_with("error: the user ") && said.contains("choose a folder that holds logs only"),
        "{said}"
    );
    assert_eq!(fs::metadata(site.dir()).unwrap().uid(), 0);
}

#[test]
fn a_log_folder_that_the_user_cannot_reach_fails_the_start() {
    let Some(_) = nobody() else { return };
    let site = site("");
    fs::set_permissions(site.dir(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(site.dir().join("logs")).unwrap();
    let said = failed_start(&site, AS_NOBODY, 75);
    let words = ["/logs/agent.log`: Permission denied", "let the user nobody (", "pass the folders above"];
    assert!(words.iter().all(|words| said.contains(words)), "{said}");
}
