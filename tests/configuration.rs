//! Changes on disk, mistakes on disk, and the layers.

use std::fs;
use std::os::unix::fs::symlink;

use hatchery::status::ClusterState;
use hatchery::testing::{Cluster, Site, eventually};

use crate::harness::{FAST, Running, ask_all, cluster, kill, pids, probe, site, stderr, stdout};

fn greetings(cluster: &Cluster) -> Vec<String> {
    let greeting =
        |answer: &serde_json::Value| answer["config"]["greeting"].as_str().unwrap_or_default().to_owned();
    ask_all(cluster, "/config").iter().map(greeting).collect()
}

fn wait_for_version(cluster: &Cluster, version: u64) {
    let _ = cluster.wait_for("the version is everywhere", |status| {
        status.config.version == version
            && status.config.refused.is_none()
            && status.workers.iter().all(|worker| worker.states.get("config") == Some(&version))
    });
}

#[test]
fn a_change_reaches_every_worker_without_a_restart() {
    let cluster = cluster("greeting = 'one'");
    let before = pids(&cluster.status());
    for (version, greeting) in (2..).zip(["two", "three", "four"]) {
        cluster.site().configure("default.toml", &format!("greeting = '{greeting}'"));
        wait_for_version(&cluster, version);
        assert_eq!(greetings(&cluster), [greeting, greeting]);
    }
    assert_eq!(pids(&cluster.status()), before);
}

#[test]
fn a_mistake_changes_nothing_and_is_told_with_its_line() {
    let cluster = cluster("greeting = 'good'");
    let mistakes = [
        ("greeting = 'x'\ngreting = 'y'", "config/default.toml:2:1: unknown key `greting`"),
        ("small = 300", "config/default.toml:1:9: small: "),
        ("limits = { depth = 'deep' }", "config/default.toml:1:20: limits.depth: "),
        ("greeting = 'x", "config/default.toml:1:14: "),
        ("[http]\nbody_limit = 'large'", "config/default.toml:2:14: http.body_limit: "),
        ("[log_rotation]\ncheck_interval = 3", "config/default.toml:2:18: log_rotation.check_interval: "),
        ("[cluster]\nstop_timeout = 'soon'", "config/default.toml:2:16: cluster.stop_timeout: "),
    ];
    for (text, expected) in mistakes {
        cluster.site().configure("default.toml", text);
        let status = cluster.wait_for(&format!("the refusal of {text}"), |status| {
            status.config.refused.as_ref().is_some_and(|refused| refused.starts_with(expected))
        });
        assert_eq!(status.config.version, 1);
        assert_eq!(greetings(&cluster), ["good", "good"]);
    }
    cluster.site().configure("default.toml", "greeting = 'better'");
    wait_for_version(&cluster, 2);
    assert_eq!(greetings(&cluster), ["better", "better"]);
}

#[test]
fn an_agent_that_is_restarted_over_a_mistake_keeps_all_of_the_last_good_configuration() {
    let cluster =
        cluster("greeting = 'good'\n[log_rotation]\nkeep = 0\nmax_size = '4KiB'\ncheck_interval = '5ms'");
    cluster.site().configure("default.toml", "greeting = 5");
    let before = cluster.wait_for("the refusal", |status| status.config.refused.is_some());
    let victim = before.agent.process.pid.unwrap();
    kill(victim);
    let after = cluster.wait_for("a new agent", |status| {
        status.state == ClusterState::Running && status.agent.process.pid != Some(victim)
    });
    assert!(after.config.refused.is_some());
    kill(after.workers[0].process.pid.unwrap());
    assert_eq!(greetings(&cluster), ["good", "good"]);
    let rotated = || {
        let entries = fs::read_dir(cluster.site().dir().join("logs")).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("web.log."))
            .count()
    };
    eventually("more files than are kept by default", || {
        assert_eq!(cluster.get("/log?from=0&count=100").code, 200);
        (rotated() > 10).then_some(())
    });
    cluster.site().configure("default.toml", "greeting = 'better'");
    wait_for_version(&cluster, 2);
}

#[test]
fn values_that_no_server_can_work_with_are_mistakes() {
    for (text, place) in [
        ("[http]\nmax_connections = 0", "2:19: http.max_connections"),
        ("[http]\nlisten = []", "2:10: http.listen"),
        ("[http]\nproxy_protocol = true", "1:1: http"),
        ("[http]\nlisten = [{ address = 'unix:a', owner = 'no-such-one' }]", "2:11: http.listen[0]"),
        ("[http]\nheader_timeout = '0s'", "2:18: http.header_timeout: 0s is too short"),
        ("[http]\nsend_timeout = '1ms'", "2:16: http.send_timeout: 1ms is too short"),
        ("[http]\nhttp2_ping_interval = '1ms'", "2:23: http.http2_ping_interval: too short"),
        ("[http]\nfirst_byte_timeout = '300000000000years'", "2:22: http.first_byte_timeout"),
        ("[cluster]\nready_timeout = '0s'", "2:17: cluster.ready_timeout"),
        ("[cluster]\nworkers = 0", "2:11: cluster.workers"),
        ("[config_polling]\ninterval = '0s'", "2:12: config_polling.interval"),
        ("[log_rotation]\ncheck_interval = '0s'", "2:18: log_rotation.check_interval"),
    ] {
        let output = site(text).run(&["config", "check"]);
        let words = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{text}: {words}");
        assert!(words.starts_with(&format!("error: config/default.toml:{place}: ")), "{words}");
    }
}

#[test]
fn a_socket_lies_in_no_folder_of_the_framework_and_has_no_odd_letters() {
    for (path, complaint) in [
        ("run/control.sock", "run is for files of the framework"),
        ("run/ready", "run is for files of the framework"),
        ("run/new/web.sock", "run is for files of the framework"),
        ("logs/web.log", "logs is for files of the framework"),
        ("a\\u0000b", "the path has a control character"),
        ("a\\u001bb", "the path has a control character"),
    ] {
        let site = site(&format!("[http]\nlisten = [\"unix:{path}\"]"));
        let [check, start] = [site.run(&["config", "check"]), Running::as_configured(&site).await_output()]
            .map(|output| {
                assert_eq!(output.status.code(), Some(78), "{path}: {}", stderr(&output));
                stderr(&output)
            });
        assert_eq!(check, start);
        assert!(start.starts_with("error: config/default.toml:2:11: http.listen[0]: "), "{start}");
        assert!(start.contains(complaint), "{start}");
        assert!(!start.contains(|letter: char| letter.is_control() && letter != '\n'), "{start:?}");
    }
}

#[test]
fn a_password_in_a_value_of_ours_is_in_no_message() {
    let secret = "postgres://u:HUNTER2@h";
    for text in [
        format!("[cluster]\nuser = '{secret}'"),
        format!("[cluster]\nuser = 'root'\ngroup = '{secret}'"),
        format!("[http]\nlisten = ['{secret}']"),
        format!("[http]\nlisten = [{{ address = 'unix:a', owner = '{secret}' }}]"),
        format!(
            "[http]\nlisten = [{{ address = '[::1]:0', certificates = [{{ certificate = '{secret}', key = 'k' }}] }}]"
        ),
    ] {
        let site = site(&text);
        for output in [site.run(&["config", "check"]), Running::as_configured(&site).await_output()] {
            let words = stderr(&output);
            assert_eq!(output.status.code(), Some(78), "{text}: {words}");
            assert!(words.contains("postgres://***@h") && !words.contains("HUNTER2"), "{words}");
        }
    }
}

#[test]
fn writing_in_place_renaming_and_swapping_a_link_are_all_seen() {
    let cluster = cluster("greeting = 'renamed'");
    let config = cluster.site().dir().join("config");
    fs::write(config.join("default.toml"), "greeting = 'in place'").unwrap();
    wait_for_version(&cluster, 2);

    fs::create_dir_all(config.join("v1")).unwrap();
    fs::write(config.join("v1/default.toml"), "greeting = 'linked'").unwrap();
    symlink("v1/default.toml", config.join("link")).unwrap();
    fs::rename(config.join("link"), config.join("default.toml")).unwrap();
    wait_for_version(&cluster, 3);
    assert_eq!(greetings(&cluster), ["linked", "linked"]);
}

#[test]
fn a_file_that_is_gone_or_empty_or_none_is_a_mistake_and_not_a_wish() {
    let cluster = cluster("greeting = 'good'");
    let file = cluster.site().dir().join("config/default.toml");
    let refusal = |what: &str| {
        cluster.wait_for(what, |status| {
            status.config.refused.as_ref().is_some_and(|refused| refused.contains(what))
        })
    };
    fs::remove_file(&file).unwrap();
    let before = refusal("config/default.toml: the file is gone");
    kill(before.agent.process.pid.unwrap());
    let _ = cluster.wait_for("a new agent", |status| {
        status.state == ClusterState::Running && status.agent.process.pid != before.agent.process.pid
    });
    assert_eq!(greetings(&cluster), ["good", "good"]);
    fs::write(&file, "").unwrap();
    refusal("the file is empty");
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    refusal("it is no file");
    assert_eq!(greetings(&cluster), ["good", "good"]);
    cluster.site().configure("default.toml", "# the defaults are meant");
    wait_for_version(&cluster, 2);
    assert_eq!(greetings(&cluster), ["", ""]);
}

#[test]
fn the_same_text_is_the_same_version() {
    let cluster = cluster("greeting = 'same'");
    cluster.site().configure("default.toml", "# another comment\ngreeting = 'same'");
    cluster.site().configure("local.toml", "flags = 1");
    wait_for_version(&cluster, 2);
}

#[test]
fn each_layer_is_laid_over_those_before_it() {
    let site = site("greeting = 'default'\nflags = 1\nsmall = 1\nlimits.depth = 1");
    site.configure("prod.toml", "flags = 2\nsmall = 2\nlimits.depth = 2");
    site.configure("local.toml", "flags = 100");
    let check = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, out, err) = check(&mut site.command(&["config", "check", "--env", "prod"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("the configuration for `prod` in "), "{out}");
    let (code, _, err) = check(site.command(&["config", "check"]).env("HATCHERY_SMALL", "999"));
    assert_eq!(code, Some(78));
    assert!(err.contains("environment variable HATCHERY_SMALL"), "{err}");
    let (code, _, err) = check(&mut site.command(&["config", "check", "--set", "limits.dept=3"]));
    assert_eq!(code, Some(78));
    assert!(err.contains("--set limits.dept") && err.contains("did you mean"), "{err}");

    let options = [FAST, &["--env", "prod", "--set", "limits.depth=4"]].concat();
    let cluster = layered(site, &options);
    for answer in ask_all(&cluster, "/config") {
        let config = &answer["config"];
        assert_eq!(config["greeting"], "default");
        assert_eq!((&config["flags"], &config["limits"]["depth"]), (&2.into(), &4.into()));
    }
    assert_eq!(cluster.status().env, "prod");
}

#[test]
fn groups_within_the_section_of_the_cluster_are_told_their_place() {
    let site = site("[cluster.groups.jobs]\nworkers = 2");
    let output = site.command(&["config", "check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let err = stderr(&output);
    assert!(err.contains("default.toml:1:") && err.contains("write [groups.NAME]"), "{err}");
}

fn layered(site: Site, options: &[&str]) -> Cluster {
    Cluster::start_at(site, options)
}

#[test]
fn an_environment_that_names_no_file_is_refused() {
    let output = Site::new(probe()).run(&["config", "check", "--env", "../x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot name an environment"));
}
