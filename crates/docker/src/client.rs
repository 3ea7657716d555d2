//! The connection to Docker, and what its errors mean.

use std::{fmt::Display, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use tokio::sync::OnceCell;

use super::calls::{Call, Calls};
use startclaw_host::HostError;

/// The timeout of the first byte of an answer, for calls without their own limit ([`Calls`]).
const TIMEOUT: Duration = Duration::from_secs(120);

/// What to do about a call without an answer.
const HANGS: &str = "Docker hangs and does not answer in time; see: startclaw doctor, \
                     journalctl -u docker; if it lasts: systemctl restart docker";

/// A lazy connection to Docker: the daemon may start before Docker does.
pub(super) struct Client {
    socket: String,
    docker: OnceCell<Docker>,
    /// The calls in flight and the hanging ones.
    pub(super) calls: Calls,
}

impl Client {
    pub(super) fn new(socket: String) -> Self {
        Self { socket, docker: OnceCell::new(), calls: Calls::default() }
    }

    /// The client, with the newest API version that both sides support.
    pub(super) async fn get(&self) -> Result<&Docker, HostError> {
        self.docker
            .get_or_try_init(|| async {
                let docker = Docker::connect_with_unix(
                    &self.socket,
                    TIMEOUT.as_secs(),
                    API_DEFAULT_VERSION,
                )?;
                self.calls.run(Call::Connect, "", docker.negotiate_version()).await
            })
            .await
            .map_err(|e| {
                if let Error::RequestTimeoutError = e {
                    return HostError::unavailable(HANGS);
                }
                HostError::unavailable(format!(
                    "Docker does not answer at {}: {e}. Start it with: systemctl start docker",
                    self.socket
                ))
            })
    }
}

/// Converts an error of Docker: what failed, and whether to retry.
///
/// 404 and 409 mean that an object changed meanwhile (the container was removed, a removal is in
/// progress): the next pass observes it. Other 4xx mean that our request is invalid on this host,
/// so a retry does not help. 5xx is used for every other error, so it is retried, unless its text
/// requires an action of the operator ([`what_to_do`]).
pub(super) fn failed(what: impl Display, error: Error) -> HostError {
    match error {
        Error::DockerResponseServerError { status_code: 404 | 409, message } => {
            HostError::unavailable(format!("cannot {what}: {message}"))
        }
        Error::DockerResponseServerError { status_code: 500.., message }
            if let Some(advice) = what_to_do(&message) =>
        {
            HostError::refused(format!("cannot {what}: {advice} (Docker: {})", message.trim()))
        }
        Error::DockerResponseServerError { status_code: 400..=499, message } => {
            HostError::refused(format!("cannot {what}: Docker refuses: {message}"))
        }
        Error::DockerResponseServerError { message, .. } if misses_rules(&message) => {
            HostError::unavailable(format!(
                "cannot {what}: Docker's firewall rules are gone, as after `nft flush ruleset`, and \
                 are made when Docker starts: systemctl restart docker (Docker: {})",
                message.trim()
            ))
        }
        Error::DockerResponseServerError { message, .. } => {
            HostError::unavailable(format!("cannot {what}: Docker failed: {message}"))
        }
        Error::RequestTimeoutError => HostError::unavailable(format!("cannot {what}: {HANGS}")),
        other => HostError::unavailable(format!("cannot {what}: no answer from Docker: {other}")),
    }
}

/// Whether Docker failed because its iptables chains are missing. That does not count as a failure
/// of the instance, because they are restored.
fn misses_rules(message: &str) -> bool {
    message.contains("No chain/target/match by that name")
        || (message.contains("iptables") && message.contains("does not exist"))
}

/// What the operator must do about a permanent error, by its text: Docker returns status 500 for
/// all of them.
fn what_to_do(message: &str) -> Option<String> {
    let text = message.to_lowercase();
    if text.contains("no space left on device") || text.contains("disk quota exceeded") {
        return Some(full(message));
    }
    if text.contains("port is already allocated") || text.contains("address already in use") {
        return Some(match loopback_port(message) {
            Some(port) => format!(
                "port {port} of this machine is taken by something else; see what by: ss -ltnp \
                 'sport = :{port}' (or docker ps), and stop it, or set docker.first_port"
            ),
            None => "an address that it needs is taken by something else; see: docker ps, ss -ltnp"
                .to_owned(),
        });
    }
    let runtime = ["oci runtime create failed", "failed to create shim"];
    // Temporary errors of an overloaded host, or of a containerd that is restarting.
    let passes = [
        "too many open files",
        "resource temporarily unavailable",
        "context deadline exceeded",
        "context canceled",
        "ttrpc: closed",
        "transport is closing",
        "connection refused",
    ];
    let has = |texts: &[&str]| texts.iter().any(|part| text.contains(part));
    (has(&runtime) && !has(&passes)).then(|| {
        "the container runtime cannot make it; if it makes no other either (docker run --rm \
         --entrypoint true IMAGE), see: journalctl -u docker -u containerd, df -h, free -m; else the \
         image or the limits do not fit this machine"
            .to_owned()
    })
}

/// The disk that is full, by the path in the text.
fn full(message: &str) -> String {
    let path = message
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| "\"':;,()".contains(c)))
        .find(|word| word.starts_with('/') && word.len() > 1);
    match path {
        Some(path) if path.starts_with("/sys/fs/cgroup") => {
            "the kernel takes no more cgroups; see /proc/cgroups, and remove containers that \
             nobody needs: docker container prune"
                .to_owned()
        }
        Some(path) => format!(
            "the disk that holds {path} is full; free some space (docker image prune, docker \
             builder prune), or make it larger; see: df -h, df -i"
        ),
        None => {
            "the disk that holds Docker's data is full; free some space (docker image prune, docker \
             builder prune), or make it larger; see: df -h, df -i"
                .to_owned()
        }
    }
}

/// The port after `127.0.0.1:` in a text.
fn loopback_port(message: &str) -> Option<u16> {
    let (_, rest) = message.split_once("127.0.0.1:")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Converts a 404 to `None`.
pub(super) fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Runs `work` on a blocking thread; a panic is an error.
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(HostError::unavailable(format!("cannot {what}: {e}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use startclaw_host::HostErrorKind;

    fn kind(status_code: u16) -> HostErrorKind {
        let error = Error::DockerResponseServerError { status_code, message: "m".to_owned() };
        failed("do it", error).kind
    }

    /// To Docker the volume of a stopped instance is unused, so that a prune of volumes removes it.
    #[test]
    fn no_advice_of_ours_removes_volumes() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let dangerous = [["system", "prune"].join(" "), ["docker", "volume", "prune"].join(" ")];
        let mut folders: Vec<_> =
            ["crates", "docs", "deploy", "script"].map(|folder| root.join(folder)).into();
        let mut read = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name() == "node_modules" || entry.file_name() == "target" {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
                    read += 1;
                    let found = dangerous.iter().find(|words| text.contains(words.as_str()));
                    assert_eq!(found, None, "{}", entry.path().display());
                }
            }
        }
        assert!(read > 100, "{read} files were read");
    }

    #[test]
    fn what_can_pass_is_tried_again_and_what_cannot_is_not() {
        assert_eq!(kind(400), HostErrorKind::Refused);
        assert_eq!(kind(403), HostErrorKind::Refused);
        assert_eq!(kind(404), HostErrorKind::Unavailable);
        assert_eq!(kind(409), HostErrorKind::Unavailable);
        assert_eq!(kind(500), HostErrorKind::Unavailable);
        assert_eq!(failed("x", Error::RequestTimeoutError).kind, HostErrorKind::Unavailable);
    }

    fn of_500(message: &str) -> HostError {
        let message = message.to_owned();
        failed("start it", Error::DockerResponseServerError { status_code: 500, message })
    }

    /// Messages of Docker 20.10 to 28.
    #[test]
    fn what_only_an_operator_can_fix_is_refused_with_what_to_do() {
        for (message, advice) in [
            (
                "driver failed programming external connectivity on endpoint a (5e): Bind for \
                 127.0.0.1:18001 failed: port is already allocated",
                "sport = :18001'",
            ),
            (
                "driver failed programming external connectivity on endpoint a (5e): Error starting \
                 userland proxy: listen tcp4 127.0.0.1:18002: bind: address already in use",
                "port 18002 of this machine is taken",
            ),
            ("failed to bind host port 127.0.0.1:18003/tcp: address already in use", ":18003"),
            ("Address already in use", "docker ps"),
            (
                "error creating overlay mount to /var/lib/docker/overlay2/5e-init/merged: no space \
                 left on device",
                "the disk that holds /var/lib/docker/overlay2/5e-init/merged is full",
            ),
            (
                "mkdir /sys/fs/cgroup/memory/docker/5e: no space left on device: unknown",
                "no more cgroups",
            ),
            ("no space left on device", "Docker's data is full"),
            (
                "failed to create shim: OCI runtime create failed: runc did not terminate \
                 successfully: exit status 139: unknown",
                "journalctl -u docker",
            ),
            (
                "failed to create task for container: failed to create shim task: OCI runtime create \
                 failed: runc create failed: unable to start container process: unknown",
                "journalctl -u docker",
            ),
        ] {
            let error = of_500(message);
            assert_eq!(error.kind, HostErrorKind::Refused, "{message}");
            assert!(error.message.contains(advice), "{error}");
            assert!(error.message.contains(message), "{error}");
        }
    }

    #[test]
    fn lost_chains_are_told_with_the_remedy_and_count_for_nothing() {
        let error = of_500(
            "driver failed programming external connectivity on endpoint a (5e): (iptables failed: \
             iptables --wait -t nat -A DOCKER -p tcp -d 127.0.0.1 --dport 18001 -j DNAT: iptables: \
             No chain/target/match by that name. (exit status 1))",
        );
        assert_eq!(error.kind, HostErrorKind::Unavailable);
        assert!(error.message.contains("systemctl restart docker"), "{error}");
    }

    #[test]
    fn what_an_overloaded_docker_says_is_tried_again() {
        for message in [
            "m",
            "failed to create shim: context deadline exceeded: unknown",
            "OCI runtime create failed: runc: fork/exec: resource temporarily unavailable: unknown",
            "failed to create shim task: ttrpc: closed: unknown",
            "failed to create shim: open /x: too many open files",
        ] {
            assert_eq!(of_500(message).kind, HostErrorKind::Unavailable, "{message}");
        }
    }

    #[tokio::test]
    async fn without_docker_the_error_says_how_to_start_it() {
        let error = Client::new("unix:///nonexistent.sock".to_owned()).get().await.err().unwrap();
        assert_eq!(error.kind, HostErrorKind::Unavailable);
        assert!(error.message.contains("systemctl start docker"), "{error}");
    }
}
