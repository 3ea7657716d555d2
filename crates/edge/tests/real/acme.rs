//! Certificates from an ACME authority: Debian's pebble, on this host.

use std::{path::Path, process::Command};

use startclaw_edge::Tls;
use startclaw_model::InstanceState;

use crate::{
    children::{Program, bound, listens},
    stage::Stage,
};

const DOMAIN: &str = "claws.test";

/// An ACME authority that validates at these ports, and its DNS server.
struct Authority {
    _pebble: Program,
    _names: Program,
}

impl Authority {
    fn start(dir: &Path, base: u16, http: u16, https: u16) -> Self {
        let done = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ])
            .arg("-keyout")
            .arg(dir.join("pebble.key"))
            .arg("-out")
            .arg(dir.join("pebble.pem"))
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        let local = |offset: u16| format!("127.0.0.1:{}", base + offset);
        let config = format!(
            r#"{{"pebble":{{"listenAddress":"{}","managementListenAddress":"{}",
                "certificate":"{}","privateKey":"{}","httpPort":{http},"tlsPort":{https},
                "ocspResponderURL":"","externalAccountBindingRequired":false}}}}"#,
            local(5),
            local(6),
            dir.join("pebble.pem").display(),
            dir.join("pebble.key").display(),
        );
        std::fs::write(dir.join("pebble.json"), config).unwrap();
        let names = Program::start(
            bound("pebble-challtestsrv")
                .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
                .args(["-dns01", &local(7), "-management", &local(8)])
                .args(["-http01", "", "-https01", "", "-tlsalpn01", ""]),
            &dir.join("names.log"),
        );
        listens(base + 8);
        let pebble = Program::start(
            bound("pebble")
                .arg("-config")
                .arg(dir.join("pebble.json"))
                .args(["-dnsserver", &local(7)])
                .env("PEBBLE_VA_NOSLEEP", "1"),
            &dir.join("pebble.log"),
        );
        listens(base + 5);
        Self { _pebble: pebble, _names: names }
    }
}

/// Gets a certificate if the authority can validate at these two ports only.
fn gets_a_certificate(base: u16, http: u16, https: u16) {
    let dir = tempfile::tempdir().unwrap();
    let _authority = Authority::start(dir.path(), base, http, https);
    let stage = Stage::with(base, |settings| {
        settings.domain = DOMAIN.into();
        settings.tls = Tls::Acme;
        settings.acme.directory = format!("https://127.0.0.1:{}/dir", base + 5);
        settings.acme.email = "ops@claws.test".into();
        settings.acme.trusted_root = dir.path().join("pebble.pem");
    });
    stage.provision("demo", InstanceState::Live);
    let served = stage.connect("demo.claws.test").unwrap().certificate();
    let holds = |text: &str| served.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("Pebble Intermediate CA") && holds("demo.claws.test"));

    assert!(stage.connect("nobody.claws.test").is_err());
    let log = std::fs::read_to_string(dir.path().join("pebble.log")).unwrap();
    assert!(log.contains("demo.claws.test"));
    assert!(!log.contains("nobody.claws.test"), "no order was sent to the authority");

    // A public site sets HSTS, on pages of every origin.
    let page = stage.send("demo", "GET /\nAccept: text/html");
    assert_eq!(page.header("strict-transport-security"), Some("max-age=31536000"));
}

#[test]
#[ignore = "uses real parts: script/test"]
fn a_certificate_is_issued_for_an_instance_over_http() {
    // Nothing listens at the port for the TLS challenge.
    gets_a_certificate(31320, 31320, 31339);
}

#[test]
#[ignore = "uses real parts: script/test"]
fn a_certificate_is_issued_for_an_instance_over_tls() {
    gets_a_certificate(31340, 31359, 31341);
}
