//! The log of an instance, as lines.

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, LogsOptionsBuilder};
use futures::{Stream, StreamExt, stream::BoxStream};
use startclaw_model::InstanceId;

use super::{DockerHost, calls::Call, client::failed, lines::Lines, names::ROLE_REPAIR};
use startclaw_host::{HostError, LogRequest};

impl DockerHost {
    pub(super) async fn read_logs(
        &self,
        id: &InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<String, HostError>>, HostError> {
        let docker = self.client.get().await?;
        let filter = self.names.filter_one(id);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
        let listing = docker.list_containers(Some(options));
        let containers = self.client.calls.run(Call::ListContainers, &id.0, listing).await;
        let containers = containers.map_err(|e| failed("list containers", e))?;
        let role = self.names.role_label();
        let speaks = |c: &ContainerSummary| {
            c.labels.as_ref().and_then(|l| l.get(&role)).is_none_or(|role| role != ROLE_REPAIR)
        };
        match containers.into_iter().find(speaks).and_then(|container| container.id) {
            Some(container) => Ok(read(docker, &container, request).boxed()),
            None => Ok(futures::stream::empty().boxed()),
        }
    }
}

/// The lines of a container's log. stdout and stderr are split into lines separately.
pub(super) fn read(
    docker: &Docker,
    container: &str,
    request: LogRequest,
) -> impl Stream<Item = Result<String, HostError>> + Send + 'static {
    let options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .follow(request.follow)
        .tail(&request.tail.to_string())
        .build();
    let frames = docker.logs(container, Some(options)).map(Some);
    // One more item at the end, for lines without a newline.
    let frames = frames.chain(futures::stream::iter([None]));
    let mut outputs = (Lines::default(), Lines::default());
    frames.flat_map(move |frame| {
        let lines: Vec<Result<String, HostError>> = match frame {
            Some(Ok(LogOutput::StdErr { message })) => {
                outputs.1.push(&message).into_iter().map(Ok).collect()
            }
            Some(Ok(output)) => outputs.0.push(&output.into_bytes()).into_iter().map(Ok).collect(),
            // The container was removed meanwhile: the end of the log.
            Some(Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            })) => Vec::new(),
            Some(Err(e)) => vec![Err(failed("read a log", e))],
            None => outputs.0.end().into_iter().chain(outputs.1.end()).map(Ok).collect(),
        };
        futures::stream::iter(lines)
    })
}
