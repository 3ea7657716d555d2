//! Caddy: writes its configuration file, and checks it for `startclaw doctor`.

use std::{
    io::{ErrorKind, Write},
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::Duration,
};

use startclaw_model::Check;
use tokio::{net::TcpStream, process::Command, time::timeout};

use crate::{EdgeError, EdgeSettings, Tls, handshake, render};

/// The oldest Caddy whose `forward_auth` removes headers sent by the client.
const OLDEST: (u32, u32) = (2, 11);

/// Replaces the Caddyfile atomically. `true` if it changed: then Caddy must be restarted.
///
/// # Errors
/// [`EdgeError::Setting`] when a setting cannot be used, [`EdgeError::Write`] when the file
/// cannot be written.
pub fn write_caddyfile(settings: &EdgeSettings, path: &Path) -> Result<bool, EdgeError> {
    let text = render(settings)?;
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(false);
    }
    let failed = |source| EdgeError::Write { path: path.to_owned(), source };
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let mut file = std::fs::File::create(&next).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&next, path).map_err(failed)?;
    Ok(true)
}

/// Checks everything that the edge depends on.
pub async fn check(settings: &EdgeSettings) -> Vec<Check> {
    let mut findings = vec![check_version().await];
    if let Err(e) = settings.check() {
        findings.push(Check::error("edge", e.to_string(), "correct the setting and restart"));
        return findings;
    }
    let mut listening = true;
    for (what, address) in [
        ("https", settings.local(settings.https_port)),
        ("http", settings.local(settings.http_port)),
        ("certificate questions", settings.ask_listen),
    ] {
        let finding = check_port(what, address).await;
        listening &= finding.fix.is_none();
        findings.push(finding);
    }
    if listening {
        findings.push(check_served_certificate(settings).await);
    }
    findings
}

async fn check_version() -> Check {
    let fix = "install Caddy 2.11 or newer; script/bootstrap does";
    let output = Command::new("caddy").arg("version").stdin(Stdio::null()).output();
    let text = match timeout(Duration::from_secs(10), output).await {
        Ok(Ok(output)) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        Ok(Ok(output)) => {
            return Check::error(
                "caddy",
                format!("caddy version ended with {}", output.status),
                fix,
            );
        }
        Ok(Err(e)) => return Check::error("caddy", format!("caddy cannot be run: {e}"), fix),
        Err(_) => return Check::error("caddy", "caddy version did not end", fix),
    };
    match parse_version(&text) {
        Some(version) if version >= OLDEST => {
            Check::ok("caddy", format!("Caddy {}.{}", version.0, version.1))
        }
        Some(_) => Check::error("caddy", format!("Caddy is too old: {text}"), fix),
        None => Check::warning("caddy", format!("the version cannot be read: {text}"), fix),
    }
}

/// Major and minor version in the output of `caddy version`, such as `v2.11.7 h1:…`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches('v').split(['.', ' ']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

async fn check_port(what: &str, address: SocketAddr) -> Check {
    let check = "ports";
    match timeout(Duration::from_secs(3), TcpStream::connect(address)).await {
        Ok(Ok(_)) => Check::ok(check, format!("{address} answers ({what})")),
        Ok(Err(e)) => Check::error(
            check,
            format!("nothing answers at {address} ({what}): {e}"),
            "start Caddy (systemctl start startclaw-caddy, or script/up); if it does not stay up, its log says why (often the port is taken)",
        ),
        Err(_) => Check::error(
            check,
            format!("no answer at {address} ({what})"),
            "check whether a firewall rule on this host drops local connections",
        ),
    }
}

async fn check_served_certificate(settings: &EdgeSettings) -> Check {
    let domain = &settings.domain;
    let root = settings.internal_root();
    if settings.tls == Tls::Internal
        && std::fs::File::open(&root).is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
    {
        return Check::warning(
            "certificate",
            format!("not checked: this user may not read {}", root.display()),
            "run startclaw doctor as root, or start the daemon, which checks it",
        );
    }
    // Caddy's own certificates are valid for 12 hours, public ones for 90 days (renewed after 60).
    let ahead = match settings.tls {
        Tls::Internal => Duration::ZERO,
        Tls::Acme => Duration::from_secs(7 * 24 * 3600),
    };
    match handshake::check_certificate(settings, domain, ahead).await {
        Ok(()) => Check::ok(
            "certificate",
            match settings.tls {
                Tls::Acme => format!("{domain} has a valid certificate"),
                Tls::Internal => format!(
                    "{domain} has a valid one of Caddy's own authority; browsers warn of it until they trust {}",
                    root.display()
                ),
            },
        ),
        Err(reason) => Check::error(
            "certificate",
            format!("the certificate of {domain}: {reason}"),
            match settings.tls {
                Tls::Internal => "start the daemon, which Caddy asks first; then see Caddy's log",
                Tls::Acme => {
                    "check that the domain's DNS points to this machine and that ports 80 and 443 are open to the internet; Caddy's log says what the authority answered"
                }
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_version("v2.11.7 h1:yj0Y="), Some((2, 11)));
        assert_eq!(parse_version("2.6.2"), Some((2, 6)));
        assert_eq!(parse_version("(devel)"), None);
    }

    #[test]
    fn the_file_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Caddyfile");
        let mut settings = EdgeSettings::default();
        assert!(write_caddyfile(&settings, &path).unwrap());
        assert!(!write_caddyfile(&settings, &path).unwrap());
        settings.https_port = 8443;
        assert!(write_caddyfile(&settings, &path).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_at_is_found() {
        let settings =
            EdgeSettings { https_port: 31999, http_port: 31998, ..EdgeSettings::default() };
        let findings = check(&settings).await;
        let bad = findings.iter().filter(|f| f.name == "ports" && f.fix.is_some()).count();
        assert!(bad >= 2, "{findings:?}");
    }
}
