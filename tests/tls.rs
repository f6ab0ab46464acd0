//! TLS: what clients see of it.

mod client;
mod places;
mod renewal;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hatchery::status::Status;
use hatchery::testing::{Answer, Cluster, PATIENCE, Site, eventually};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, version};

use self::client::{Authority, Secure};
use crate::harness::{FAST, json, kill, log_lines, site, stderr};
use crate::load::{Load, Mode};

const NAME: &str = "shop.test";

/// The section of one listener with the certificate `shop`.
fn listener(policy: &str, more: &str) -> String {
    let certificates = r#"certificates = [{ certificate = "shop.pem", key = "shop.key" }]"#;
    format!(
        "[http]\n{more}\nlisten = [{{ address = \"127.0.0.1:0\", policy = \"{policy}\", {certificates} }}]\n"
    )
}

/// A site with this configuration, and the certificate that it needs.
fn secured(config: &str) -> (Site, Authority) {
    let (site, authority) = (site(config), Authority::new());
    authority.issue(NAME).put(&site, "shop");
    (site, authority)
}

/// A start that listens where its configuration says.
fn command(site: &Site) -> Command {
    let mut command = site.command(&["start", "--workers", "2"]);
    command.args(FAST);
    command
}

fn start(config: &str) -> (Cluster, Authority) {
    let (site, authority) = secured(config);
    (Cluster::start_by(command(&site), site), authority)
}

fn open(cluster: &Cluster, client: &Arc<ClientConfig>) -> Secure {
    Secure::open(cluster.address(), client, NAME).unwrap()
}

fn index(answer: &Answer) -> u64 {
    json(&answer.body)["index"].as_u64().unwrap()
}

#[test]
fn both_versions_of_http_are_served_over_both_versions_of_tls() {
    for policy in ["shared", "round-robin"] {
        let (cluster, authority) = start(&listener(policy, ""));
        let status = cluster.status();
        assert!(status.listeners[0].tls);
        assert_eq!(status.tls.certificates[0].file.to_str(), Some("shop.pem"));
        for (asked, spoken) in
            [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
        {
            let client = authority.client(&[asked]);
            let mut secure = open(&cluster, &client);
            assert_eq!(secure.get("/whoami").unwrap().code, 200);
            assert_eq!((secure.get("/whoami").unwrap().code, secure.version()), (200, spoken));
            let modes = [Mode::KeepAlive, Mode::NewConnection, Mode::Http2, Mode::WebSocket, Mode::Events];
            for mode in modes {
                let load = Load::new(cluster.address()).secured(&client, NAME);
                let report = load.mode(mode).clients(4).requests(40).run();
                assert_eq!((report.answered, report.failed()), (40, 0), "{policy} {mode:?}: {report}");
            }
        }
    }
}

#[test]
fn old_versions_are_refused_where_they_are_not_wanted() {
    let (cluster, authority) = start(&listener("shared", "min_tls_version = \"1.3\""));
    assert!(Secure::open(cluster.address(), &authority.client(&[&version::TLS12]), NAME).is_err());
    assert!(Secure::open(cluster.address(), &authority.client(&[&version::TLS13]), NAME).is_ok());
}

#[test]
fn listeners_with_and_without_tls_stand_side_by_side() {
    let pair = |name: &str| format!("{{ certificate = \"{name}.pem\", key = \"{name}.key\" }}");
    let place = |policy: &str, certificates: &str| {
        format!("{{ address = \"127.0.0.1:0\", policy = \"{policy}\"{certificates} }}")
    };
    let both = format!(", certificates = [{}, {}]", pair("shop"), pair("blog"));
    let blog = format!(", certificates = [{}]", pair("blog"));
    let places =
        [place("shared", ""), place("shared", &both), place("round-robin", ""), place("round-robin", &blog)];
    let (site, authority) = secured(&format!("[http]\nlisten = [{}]\n", places.join(", ")));
    let [shop, blog] = [NAME, "*.blog.test"].map(|name| authority.issue(name));
    shop.put(&site, "shop");
    blog.put(&site, "blog");
    let cluster = Cluster::start_by(command(&site), site);
    let status = cluster.status();
    let addresses: Vec<&str> = status.listeners.iter().map(|listener| listener.address.as_str()).collect();
    assert_eq!(status.listeners.iter().map(|one| one.tls).collect::<Vec<_>>(), [false, true, false, true]);
    for plain in [addresses[0], addresses[2]] {
        assert_eq!(cluster.get_from(plain, "/whoami").code, 200);
    }
    let client = authority.any_version();
    for (address, name, issued) in [
        (addresses[1], NAME, &shop),
        (addresses[1], "a.blog.test", &blog),
        (addresses[3], "b.blog.test", &blog),
    ] {
        let mut secure = Secure::open(address, &client, name).unwrap();
        assert_eq!((secure.certificate(), secure.get("/whoami").unwrap().code), (issued.der.clone(), 200));
    }
    // An unknown name gets the first certificate, which the client then refuses.
    let refused = Secure::open(addresses[1], &client, "elsewhere.test").map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
}

#[test]
fn a_session_resumes_on_every_worker_also_after_the_agent_was_replaced() {
    for (policy, version) in [("round-robin", &version::TLS13), ("shared", &version::TLS12)] {
        let (cluster, authority) = start(&listener(policy, ""));
        let client = authority.client(&[version]);
        let ask = || {
            let mut secure = open(&cluster, &client);
            let answer = secure.get("/whoami").unwrap();
            (secure.is_resumed(), index(&answer))
        };
        assert!(!ask().0);
        let resumed_everywhere = || {
            let mut seen = [false; 2];
            eventually("both workers have resumed it", || {
                let (resumed, index) = ask();
                assert!(resumed, "{policy}: not resumed by worker {index}");
                seen[usize::try_from(index).unwrap()] = true;
                (seen == [true; 2]).then_some(())
            });
        };
        resumed_everywhere();
        let status = cluster.status();
        kill(status.agent.process.pid.unwrap());
        let _ = cluster.wait_for("the next agent is at work", |now| now.agent.process.restarts > 0);
        resumed_everywhere();
        kill(status.workers[0].process.pid.unwrap());
        let _ = cluster.wait_for("the next worker is ready", |now| {
            now.workers[0].process.restarts > 0 && now.groups[0].ready == 2
        });
        resumed_everywhere();
    }
}

/// What comes until the server closes, and after how long it does.
fn until_closed(stream: &mut TcpStream) -> (Vec<u8>, Duration) {
    let (began, mut bytes) = (Instant::now(), Vec::new());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => (bytes, began.elapsed()),
    }
}

#[test]
fn a_handshake_that_does_not_go_on_ends_at_its_deadline_and_holds_nobody_up() {
    for policy in ["shared", "round-robin"] {
        let (cluster, authority) = start(&listener(policy, "handshake_timeout = \"1s\""));
        let hello = {
            let name = NAME.try_into().unwrap();
            let mut client =
                tokio_rustls::rustls::ClientConnection::new(authority.any_version(), name).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            hello
        };
        let mut stuck: Vec<TcpStream> = [&[][..], &hello[..1], &hello[..hello.len() / 2]]
            .map(|part| {
                let mut stream = TcpStream::connect(cluster.address()).unwrap();
                stream.write_all(part).unwrap();
                stream
            })
            .into();
        let client = authority.any_version();
        // Who has no time for a second on a busy machine is cut, too.
        let ask = || Secure::open(cluster.address(), &client, NAME)?.get("/whoami");
        assert_eq!(eventually("another is served", || ask().ok()).code, 200);
        for stuck in &mut stuck {
            let (_, took) = until_closed(stuck);
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
        let timed_out = |status: &Status| status.workers.iter().map(|one| one.timed_out).sum::<u64>();
        let _ = cluster.wait_for("they are counted", |status| timed_out(status) >= 3);
    }
}

#[test]
fn plain_http_at_a_tls_port_is_told_so_and_leaves_no_noise_in_the_log() {
    let (cluster, _) = start(&listener("round-robin", ""));
    let answer = cluster.get("/whoami");
    assert_eq!((answer.code, answer.body.as_str()), (400, "this port speaks TLS: ask by https://\n"));
    let mut rubbish = TcpStream::connect(cluster.address()).unwrap();
    rubbish.write_all(&[0x16, 3, 1, 0, 2, 99, 99]).unwrap();
    until_closed(&mut rubbish);
    for name in ["web", "error", "master"] {
        assert_eq!(log_lines(cluster.site(), name, "handshake"), Vec::<String>::new());
    }
}

#[test]
fn the_end_of_a_connection_is_said_by_tls_itself() {
    let (cluster, authority) = start(&listener("round-robin", "keep_alive_timeout = \"100ms\""));
    let mut secure = open(&cluster, &authority.any_version());
    assert_eq!(secure.get("/whoami").unwrap().code, 200);
    // Without a word of TLS it would be an unexpected end.
    let mut rest = Vec::new();
    assert_eq!(secure.raw().read_to_end(&mut rest).unwrap(), 0);
}

#[test]
fn a_proxy_names_the_client_before_the_handshake() {
    for policy in ["shared", "round-robin"] {
        let more = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]";
        let (cluster, authority) = start(&listener(policy, more));
        let mut stream = TcpStream::connect(cluster.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // In two pieces, of which the second may come together with what follows.
        stream.write_all(b"PROXY TCP4 203.0.113").unwrap();
        stream.write_all(b".9 10.0.0.1 4711 443\r\n").unwrap();
        let mut secure = Secure::over(stream, &authority.any_version(), NAME).unwrap();
        assert_eq!(secure.get("/client").unwrap().body, "203.0.113.9");
        let mut without = TcpStream::connect(cluster.address()).unwrap();
        without.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(until_closed(&mut without).0, b"");
    }
}

#[test]
fn a_session_resumes_across_a_reload() {
    for (policy, version) in [("round-robin", &version::TLS13), ("shared", &version::TLS12)] {
        let (cluster, authority) = start(&listener(policy, ""));
        let client = authority.client(&[version]);
        let ask = || {
            let mut secure = open(&cluster, &client);
            assert_eq!(secure.get("/whoami").unwrap().code, 200);
            secure.is_resumed()
        };
        assert!(!ask());
        for options in [&["reload"][..], &["reload", "--agent"]] {
            let output = cluster.site().run(options);
            assert!(output.status.success(), "{}", stderr(&output));
            assert!(ask() && ask(), "{policy} {options:?}");
        }
    }
}

#[test]
fn a_reload_under_tls_loses_no_request() {
    for (policy, mode) in
        [("shared", Mode::KeepAlive), ("round-robin", Mode::NewConnection), ("round-robin", Mode::Http2)]
    {
        let (cluster, authority) = start(&listener(policy, ""));
        let client = authority.any_version();
        let load = Load::new(cluster.address()).secured(&client, NAME).mode(mode).clients(8);
        let report = load.run_while(|| {
            for options in [&["reload"][..], &["reload", "--agent"]] {
                let output = cluster.site().run(options);
                assert!(output.status.success(), "{}", stderr(&output));
            }
        });
        report.assert_flawless();
    }
}
