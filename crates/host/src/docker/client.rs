//! The connection to Docker, and what its errors mean.

use std::{fmt::Display, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use tokio::sync::OnceCell;

use crate::HostError;

/// How long Docker may take to begin an answer. Removing a large volume takes it longest.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Docker, connected to when it is first needed: the daemon may start before Docker does.
pub(super) struct Client {
    socket: String,
    docker: OnceCell<Docker>,
}

impl Client {
    pub(super) fn new(socket: String) -> Self {
        Self { socket, docker: OnceCell::new() }
    }

    /// Docker, speaking the newest version of its language that both sides know.
    pub(super) async fn get(&self) -> Result<&Docker, HostError> {
        self.docker
            .get_or_try_init(|| async {
                let docker = Docker::connect_with_unix(
                    &self.socket,
                    TIMEOUT.as_secs(),
                    API_DEFAULT_VERSION,
                )?;
                docker.negotiate_version().await
            })
            .await
            .map_err(|e| {
                HostError::unavailable(format!(
                    "Docker does not answer at {}: {e}. Start it with: systemctl start docker",
                    self.socket
                ))
            })
    }
}

/// Wraps an error of Docker: what we tried, and whether it is worth trying again.
///
/// 404 and 409 are the world having changed under us (somebody removed the container, a
/// removal is under way): the next look sees it. Other 4xx are our request being wrong for
/// this machine, and stay wrong. 5xx mixes everything, so it is tried again.
pub(super) fn failed(what: impl Display, error: Error) -> HostError {
    match error {
        Error::DockerResponseServerError { status_code: 404 | 409, message } => {
            HostError::unavailable(format!("cannot {what}: {message}"))
        }
        Error::DockerResponseServerError { status_code: 400..=499, message } => {
            HostError::refused(format!("cannot {what}: Docker refuses: {message}"))
        }
        Error::DockerResponseServerError { message, .. } => {
            HostError::unavailable(format!("cannot {what}: Docker failed: {message}"))
        }
        Error::RequestTimeoutError => HostError::unavailable(format!(
            "cannot {what}: Docker said nothing for too long; look at: journalctl -u docker"
        )),
        other => HostError::unavailable(format!("cannot {what}: no answer from Docker: {other}")),
    }
}

/// Turns "there is no such thing" into `None`.
pub(super) fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// An error of a blocking task that ended by a panic or with the runtime.
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
    use crate::HostErrorKind;

    fn kind(status_code: u16) -> HostErrorKind {
        let error = Error::DockerResponseServerError { status_code, message: "m".to_owned() };
        failed("do it", error).kind
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

    #[tokio::test]
    async fn without_docker_the_error_says_how_to_start_it() {
        let error = Client::new("unix:///nonexistent.sock".to_owned()).get().await.err().unwrap();
        assert_eq!(error.kind, HostErrorKind::Unavailable);
        assert!(error.message.contains("systemctl start docker"), "{error}");
    }
}
