//! TLS at every kind of place: Unix sockets, a socket for each slot, further groups, beside UDP.

use std::net::UdpSocket;
use std::os::unix::net::UnixStream;

use super::*;
use crate::balance::shares_out;

/// A place to listen with the certificate of this name.
fn place(address: &str, more: &str, name: &str) -> String {
    let pair = format!("{{ certificate = \"{name}.pem\", key = \"{name}.key\" }}");
    format!("{{ address = \"{address}\", {more}certificates = [{pair}] }}")
}

#[test]
fn a_unix_socket_speaks_tls_and_keeps_its_rights() {
    for policy in ["shared", "round-robin"] {
        let more = format!("policy = \"{policy}\", mode = \"0600\", ");
        let unix = place("unix:web.sock", &more, "shop");
        let (cluster, authority) = start(&format!("[http]\nlisten = [\"127.0.0.1:0\", {unix}]\n"));
        let status = cluster.status();
        assert_eq!(status.listeners.iter().map(|one| one.tls).collect::<Vec<_>>(), [false, true]);
        for _ in 0..4 {
            let stream = UnixStream::connect(cluster.site().dir().join("web.sock")).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut secure = Secure::over(stream, &authority.any_version(), NAME).unwrap();
            assert_eq!(secure.get("/whoami").unwrap().code, 200, "{policy}");
        }
        assert_eq!(cluster.get("/whoami").code, 200);
    }
}

#[test]
fn a_slot_s_own_queue_speaks_tls_and_so_does_whoever_serves_it_in_the_slot_s_place() {
    let (cluster, authority) = start(&listener("reuseport", ""));
    let client = authority.any_version();
    let ask = || index(&open(&cluster, &client).get("/whoami").unwrap());
    let seen: Vec<u64> = (0..40).map(|_| ask()).collect();
    assert!(seen.contains(&0) && seen.contains(&1), "{seen:?}");
    // The queue of the second slot stays; the master accepts from it, and hands over.
    assert!(cluster.site().run(&["scale", "1"]).status.success());
    assert!((0..40).all(|_| ask() == 0));
    let load = Load::new(cluster.address()).secured(&client, NAME).mode(Mode::NewConnection);
    let report = load.clients(8).run_while(|| {
        let output = cluster.site().run(&["reload"]);
        assert!(output.status.success(), "{}", stderr(&output));
    });
    report.assert_flawless();
}

#[test]
fn a_path_within_tls_chooses_nobody_and_that_is_counted() {
    let (cluster, authority) = start(&listener("url-hash", ""));
    let client = authority.any_version();
    let ask = || {
        let answer = open(&cluster, &client).get("/whoami").unwrap();
        usize::try_from(index(&answer)).unwrap()
    };
    let mut asked = 0;
    shares_out(&[5, 5], || {
        let mut shares = vec![0; 2];
        (0..10).for_each(|_| shares[ask()] += 1);
        asked += 10;
        assert_eq!(cluster.status().listeners[0].by_turns, asked);
        shares
    });
}

#[test]
fn every_place_of_every_group_has_its_own_certificates() {
    let names = ["shop", "api", "jobs", "slots", "mine"];
    let web = [
        place("127.0.0.1:0", "policy = \"shared\", ", "shop"),
        "\"127.0.0.1:0\"".to_owned(),
        place("127.0.0.1:0", "policy = \"least-busy\", ", "api"),
    ];
    let jobs = [
        "\"udp:127.0.0.1:0\"".to_owned(),
        place("127.0.0.1:0", "policy = \"round-robin\", ", "jobs"),
        place("127.0.0.1:0", "policy = \"reuseport\", ", "slots"),
        place("127.0.0.1:0", "policy = \"shared\", ", "mine"),
    ];
    let config = format!(
        "[http]\nlisten = [{}]\n[groups.jobs]\nworkers = 2\nlisten = [{}]\n",
        web.join(", "),
        jobs.join(", ")
    );
    let (site, authority) = (site(&config), Authority::new());
    std::fs::write(site.dir().join("jobs"), "").unwrap();
    let issued = names.map(|name| authority.issue(&format!("{name}.test")));
    names.iter().zip(&issued).for_each(|(name, issued)| issued.put(&site, name));
    let cluster = Cluster::start_by(command(&site), site);
    let client = authority.any_version();
    let everywhere = || {
        let listeners = cluster.status().listeners;
        let secured: Vec<&str> =
            listeners.iter().filter(|one| one.tls).map(|one| one.address.as_str()).collect();
        assert_eq!((listeners.len(), secured.len()), (7, 5));
        for ((address, name), issued) in secured.into_iter().zip(names).zip(&issued) {
            for _ in 0..8 {
                let mut secure = Secure::open(address, &client, &format!("{name}.test")).unwrap();
                assert_eq!(secure.certificate(), issued.der, "{name}");
                let group = json(&secure.get("/whoami").unwrap().body)["group"].clone();
                assert!(group == "jobs" || !["jobs", "slots", "mine"].contains(&name), "{name}: {group}");
            }
        }
        assert_eq!(cluster.get_from(&listeners[1].address, "/whoami").code, 200);
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
        datagrams.send_to(b"hello", listeners[3].address.strip_prefix("udp:").unwrap()).unwrap();
        assert!(datagrams.recv(&mut [0; 64]).unwrap() > 0);
    };
    everywhere();
    // Its workers are told of the same places in the same order.
    assert!(cluster.site().run(&["reload", "--agent"]).status.success());
    everywhere();
}
