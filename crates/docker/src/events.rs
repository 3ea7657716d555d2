//! Events of containers, from Docker.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{errors::Error, models::EventMessage, query_parameters::EventsOptionsBuilder};
use futures::{StreamExt, stream, stream::BoxStream};
use startclaw_model::InstanceId;

use super::{calls::Call, client::Client, names::Names};
use startclaw_host::HostEvent;

/// The first and the longest delay before a reconnect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The relevant actions. Docker's network and volume events have no labels; a running container
/// cannot lose either, and each start checks them.
const ACTIONS: &[&str] =
    &["create", "start", "die", "oom", "pause", "unpause", "destroy", "rename", "update"];

struct Listener {
    client: Arc<Client>,
    names: Names,
    events: Option<BoxStream<'static, Result<EventMessage, Error>>>,
    pause: Duration,
}

/// An endless stream of events: it reconnects when Docker is unavailable, and then
/// [`HostEvent::Everything`] comes first.
pub(super) fn listen(client: Arc<Client>, names: Names) -> BoxStream<'static, HostEvent> {
    let listener = Listener { client, names, events: None, pause: PAUSES.0 };
    stream::unfold(listener, |mut listener| async {
        let change = listener.next().await;
        Some((change, listener))
    })
    .boxed()
}

impl Listener {
    async fn next(&mut self) -> HostEvent {
        loop {
            let Some(events) = &mut self.events else {
                if self.connect().await {
                    return HostEvent::Everything;
                }
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(PAUSES.1);
                continue;
            };
            match events.next().await {
                Some(Ok(event)) => {
                    self.pause = PAUSES.0;
                    if let Some(id) = instance(event, &self.names.id_label()) {
                        return HostEvent::Instance(id);
                    }
                }
                // The end of the stream and an error mean the same: Docker is unavailable.
                Some(Err(_)) | None => {
                    self.events = None;
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Subscribes from a second ago, so that no event is missed before the full sweep that follows.
    async fn connect(&mut self) -> bool {
        let Ok(docker) = self.client.get().await else { return false };
        if self.client.calls.run(Call::Connect, "", docker.ping()).await.is_err() {
            return false;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut filters: HashMap<&str, Vec<String>> = self.names.filter_all();
        filters.insert("type", vec!["container".to_owned()]);
        filters.insert("event", ACTIONS.iter().map(|&action| action.to_owned()).collect());
        let since = now.saturating_sub(1).to_string();
        let options = EventsOptionsBuilder::new().since(&since).filters(&filters).build();
        self.events = Some(docker.events(Some(options)).boxed());
        true
    }
}

fn instance(event: EventMessage, label: &str) -> Option<InstanceId> {
    event.actor?.attributes?.remove(label).map(InstanceId)
}
