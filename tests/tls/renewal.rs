//! Certificates on disk: which are served, which are refused, and who learns of them.

use std::os::unix::fs::{PermissionsExt, chown};

use hatchery::status::Status;
use hatchery::testing::{Cluster, eventually};
use rcgen::date_time_ymd;

use super::client::{Issued, Secure, replace};
use super::{Authority, NAME, command, listener, open, secured, start};
use crate::harness::{Running, assert_said_once, kill, log_lines, logged, stderr};
use crate::load::{Load, Mode, Report};

fn expired(authority: &Authority) -> Issued {
    authority.issue_with(NAME, |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
    })
}

#[test]
fn a_new_certificate_is_shown_to_new_clients_and_old_connections_live_on() {
    for policy in ["shared", "round-robin"] {
        let (cluster, authority) = start(&listener(policy, ""));
        let mut kept: Vec<Secure> = (0..4).map(|_| open(&cluster, &authority.any_version())).collect();
        let new = authority.issue(NAME);
        new.put(cluster.site(), "shop");
        for _ in 0..2 {
            // Whichever worker answers has it.
            eventually("the new certificate is shown", || {
                (open(&cluster, &authority.any_version()).certificate() == new.der).then_some(())
            });
        }
        for kept in &mut kept {
            assert_eq!(kept.get("/whoami").unwrap().code, 200);
        }
        let _ = cluster.wait_for("it is well", |status| status.tls.refused.is_none());
    }
}

#[test]
fn twenty_new_certificates_cost_no_client_a_request() {
    let (cluster, authority) = start(&listener("round-robin", ""));
    let client = authority.any_version();
    let load = |mode| Load::new(cluster.address()).secured(&client, NAME).mode(mode).clients(2);
    let mut reports = Vec::new();
    let coming = load(Mode::NewConnection).run_while(|| {
        reports.push(load(Mode::KeepAlive).run_while(|| {
            for _ in 0..20 {
                let new = authority.issue(NAME);
                new.put(cluster.site(), "shop");
                // Sessions that are resumed show the certificate with which they began.
                eventually("the new certificate is shown", || {
                    (open(&cluster, &authority.any_version()).certificate() == new.der).then_some(())
                });
            }
        }));
    });
    reports.push(coming);
    reports.iter().for_each(Report::assert_flawless);
    // Who looks between the two files of a pair refuses them for the moment.
    let _ = cluster.wait_for("all are well", |status| status.tls.refused.is_none());
}

#[test]
fn a_bad_certificate_is_refused_and_the_old_one_stays() {
    let (mut cluster, authority) = start(&listener("round-robin", ""));
    let old = open(&cluster, &authority.any_version()).certificate();
    let file = |name: &str| cluster.site().dir().join(name);
    let refused = |status: &Status| status.tls.refused.clone();
    let good = authority.issue(NAME);
    let expired = expired(&authority);
    // At no time do both fit that are good, nor does a complaint come twice, should somebody look between two of these.
    for (key, certificate, complaint) in [
        (None, "rubbish", "shop.pem: no certificate in it"),
        (
            Some(&expired.key),
            good.certificate.as_str(),
            "shop.key: this is not the key of the certificate shop.pem",
        ),
        (None, &expired.certificate, "shop.pem: it EXPIRED at 2020-02-01"),
    ] {
        key.into_iter().for_each(|key| replace(&file("shop.key"), key));
        replace(&file("shop.pem"), certificate);
        let said = |status: &Status| refused(status).is_some_and(|refused| refused.starts_with(complaint));
        let _ = cluster.wait_for("it is refused", said);
        assert_eq!(open(&cluster, &authority.any_version()).certificate(), old);
        assert_eq!(logged(cluster.site(), "master.log", complaint, 1).len(), 1);
    }
    // The next agent does not know better, and goes on with what the last one has left.
    let agent = cluster.status().agent.process.pid.unwrap();
    kill(agent);
    let _ = cluster.wait_for("the next agent refuses it, too", |status| {
        status.agent.process.pid.is_some_and(|pid| pid != agent) && refused(status).is_some()
    });
    assert_eq!(open(&cluster, &authority.any_version()).certificate(), old);
    good.put(cluster.site(), "shop");
    let _ = cluster.wait_for("all is well again", |status| refused(status).is_none());
    eventually("the good one is shown", || {
        (open(&cluster, &authority.any_version()).certificate() == good.der).then_some(())
    });
    assert!(cluster.stop().success());
}

#[test]
fn a_reload_with_a_bad_certificate_changes_nothing() {
    let (cluster, authority) = start(&listener("round-robin", ""));
    replace(&cluster.site().dir().join("shop.key"), "rubbish");
    let output = cluster.site().run(&["reload", "--agent"]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("shop.key: no private key in it"), "{}", stderr(&output));
    assert_eq!(cluster.status().generation, 1);
    assert_eq!(open(&cluster, &authority.any_version()).get("/whoami").unwrap().code, 200);
}

#[test]
fn a_start_with_a_bad_certificate_fails_with_78_and_names_the_file() {
    let config = listener("round-robin", "");
    for (name, text, complaint) in [
        ("shop.pem", None, "shop.pem: cannot be read: No such file"),
        ("shop.key", None, "shop.key: cannot be read: No such file"),
        ("shop.pem", Some("rubbish"), "shop.pem: no certificate in it"),
        ("shop.key", Some("rubbish"), "shop.key: no private key in it"),
    ] {
        let (site, _authority) = secured(&config);
        let file = site.dir().join(name);
        text.map_or_else(|| std::fs::remove_file(&file).unwrap(), |text| replace(&file, text));
        let output = Running::as_configured(&site).await_output();
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        let complaint = format!("error: config/default.toml:3:11: http.listen[0]: {complaint}");
        assert!(stderr(&output).starts_with(&complaint), "{}", stderr(&output));
        assert_eq!(stderr(&site.run(&["config", "check"])), stderr(&output), "both say the same");
    }
}

#[test]
fn config_check_looks_at_the_certificates() {
    let (site, _authority) = secured(&listener("round-robin", ""));
    assert!(site.run(&["config", "check"]).status.success());
    replace(&site.dir().join("shop.key"), "rubbish");
    let output = site.run(&["config", "check"]);
    assert_eq!(output.status.code(), Some(78));
    let complaint = "error: config/default.toml:3:11: http.listen[0]: shop.key: no private key in it";
    assert!(stderr(&output).starts_with(complaint), "{}", stderr(&output));
}

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let (site, authority) = secured(&listener("round-robin", ""));
    let expired = expired(&authority);
    expired.put(&site, "shop");
    let cluster = Cluster::start_by(command(&site), site);
    let refused = Secure::open(cluster.address(), &authority.any_version(), NAME).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("expired"), "{refused}");
    assert_said_once(cluster, "agent.log", "EXPIRED");
}

#[test]
fn keys_are_in_no_status_and_in_no_log() {
    let (cluster, _) = start(&listener("round-robin", ""));
    let key = std::fs::read_to_string(cluster.site().dir().join("shop.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    let status = serde_json::to_string(&cluster.status()).unwrap();
    assert!(!status.contains(secret));
    assert!(cluster.status().states.iter().all(|state| !state.name.starts_with("hatchery.")));
    for name in ["master", "agent", "web", "error"] {
        assert_eq!(log_lines(cluster.site(), name, secret), Vec::<String>::new());
    }
}

/// The number of the group `nogroup` or of whatever `nobody` belongs to.
fn group_of_nobody() -> u32 {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("nobody:")).expect("the user nobody");
    line.split(':').nth(3).and_then(|gid| gid.parse().ok()).expect("a group")
}

#[test]
fn a_key_must_be_readable_for_the_user_of_the_agent() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start processes of another user");
        return;
    }
    let (site, authority) = secured(&(listener("shared", "") + "[cluster]\nuser = \"nobody\"\n"));
    let key = site.dir().join("shop.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    let output = Running::as_configured(&site).await_output();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("error: shop.key: cannot be read: Permission"),
        "{}",
        stderr(&output)
    );
    chown(&key, None, Some(group_of_nobody())).unwrap();
    let cluster = Cluster::start_by(command(&site), site);
    assert_eq!(open(&cluster, &authority.any_version()).get("/whoami").unwrap().code, 200);
}
