//! The options that stand for keys: how they become a layer of the configuration.

use super::args::Options;
use super::places::Places;
use super::words::failed;
use crate::config::{Layers, Merged};
use crate::error::Ending;
use crate::http::{HttpSettings, Listen, UDP};
use crate::master::Outcome;
use crate::systemd;

/// The options that stand for keys become the last layer.
pub(super) fn layers(places: &Places, options: &Options) -> Result<(Layers, Merged), Outcome> {
    let mut overrides = options.set.clone();
    overrides.extend(options.workers.as_ref().map(|workers| format!("cluster.workers={workers}")));
    overrides.extend(
        options.ready_timeout.map(|timeout| format!("cluster.ready_timeout={}ms", timeout.as_millis())),
    );
    if !options.listen.is_empty() {
        let given: Vec<Listen> = options.listen.iter().map(|address| address.as_str().into()).collect();
        // What is wrong with the section without the option may be right with it.
        if let Ok(http) = places.layers(overrides.clone())?.read()?.merge()?.section::<HttpSettings>("http") {
            keep_certificates("--listen", &http.listen, &given)?;
        }
        overrides.push(listen_override(&given));
    }
    if let Some(port) = options.port {
        let http: HttpSettings = places.layers(overrides.clone())?.read()?.merge()?.section("http")?;
        let moved = moved(&http.listen, port);
        keep_certificates("--port", &http.listen, &moved)?;
        overrides.push(listen_override(&moved));
    }
    let layers = places.layers(overrides)?;
    let merged = layers.read()?.merge()?;
    Ok((layers, merged))
}

/// Refuses an option by which a place that is configured to speak TLS would be served in plain HTTP.
fn keep_certificates(option: &str, configured: &[Listen], chosen: &[Listen]) -> Result<(), Outcome> {
    let kept = |place: &Listen| chosen.iter().any(|chosen| chosen.certificates == place.certificates);
    let lost = configured.iter().find(|place| !place.certificates.is_empty() && !kept(place));
    let advice = "write the whole place, with certificates or without, by --set http.listen=[…]";
    lost.map_or(Ok(()), |place| {
        let reason = format!("{option} would leave out the certificates of {}: {advice}", place.address);
        Err(failed(Ending::Config, reason))
    })
}

fn listen_override(places: &[Listen]) -> String {
    // Text and numbers always make TOML.
    toml::Value::try_from(places).map_or_else(|_| String::new(), |list| format!("http.listen={list}"))
}

/// The places with another port. Inherited sockets have theirs and are left out; the default is better than nothing.
fn moved(places: &[Listen], port: u16) -> Vec<Listen> {
    let own = |places: &[Listen]| -> Vec<Listen> {
        let own = places.iter().filter(|place| !place.address.starts_with(systemd::PREFIX));
        own.map(|place| Listen { address: with_port(&place.address, port), ..place.clone() }).collect()
    };
    match own(places) {
        none if none.is_empty() => own(&HttpSettings::default().listen),
        some => some,
    }
}

/// The address with another port; a Unix socket has none, and that of UDP is not meant.
fn with_port(address: &str, port: u16) -> String {
    match address.rsplit_once(':') {
        Some((host, _)) if host != "unix" && !address.starts_with(UDP) => format!("{host}:{port}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::CertificateFiles;

    #[test]
    fn a_port_replaces_the_port_of_every_address() {
        assert_eq!(with_port("127.0.0.1:7001", 80), "127.0.0.1:80");
        assert_eq!(with_port("[::1]:7001", 80), "[::1]:80");
        assert_eq!(with_port("unix:run/web.sock", 80), "unix:run/web.sock");
        assert_eq!(with_port("udp:127.0.0.1:53", 80), "udp:127.0.0.1:53");
    }

    #[test]
    fn a_port_on_the_command_line_is_bound_in_place_of_inherited_sockets() {
        assert_eq!(moved(&["systemd:web".into(), "[::1]:7001".into()], 80), ["[::1]:80".into()]);
        assert_eq!(moved(&["systemd:".into()], 80), ["127.0.0.1:80".into()]);
    }

    #[test]
    fn no_option_makes_a_place_with_tls_a_plain_one() {
        let certificates = vec![CertificateFiles { certificate: "c.pem".into(), key: "c.key".into() }];
        let secured = |address: &str| [Listen { certificates: certificates.clone(), ..address.into() }];
        let refused = |configured: &[Listen], chosen: &[Listen]| {
            keep_certificates("--listen", configured, chosen).err().map(|outcome| outcome.reason)
        };
        let error = refused(&secured("a:1"), &["a:1".into()]).unwrap();
        assert!(error.contains("--listen would leave out the certificates of a:1"), "{error}");
        assert!(refused(&secured("systemd:"), &moved(&secured("systemd:"), 80)).is_some());
        assert_eq!(refused(&secured("a:1"), &moved(&secured("a:1"), 80)), None);
        assert_eq!(refused(&["a:1".into()], &["b:1".into()]), None);
    }

    #[test]
    fn a_port_on_the_command_line_leaves_the_rest_of_a_place() {
        let named = Listen { name: Some("api".to_owned()), ..Listen::from("[::1]:7001") };
        let text = listen_override(&moved(&["[::1]:7001".into(), named], 80));
        assert_eq!(text, r#"http.listen=["[::1]:80", { address = "[::1]:80", name = "api" }]"#);
    }
}
