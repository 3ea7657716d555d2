//! Streams: an operation until it is finished, a log as it grows.

use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use reqwest::Method;
use startclaw_model::{Name, Operation, OperationId};

use super::{Cause, Client, ClientError, lines::lines, sse::Events};
use crate::wire::LogsQuery;

/// The daemon sends a keep-alive every 15 seconds; after three missing ones the stream is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// The longest pause between two attempts to reconnect.
const PAUSE: Duration = Duration::from_secs(2);

/// An update of a followed operation.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Progress {
    /// The current state.
    Now(Operation),
    /// The connection to the daemon was lost (most likely by a restart); the client reconnects.
    /// Sent once per loss.
    Lost(String),
}

impl Client {
    /// Follows an operation until it is finished. While the daemon is unreachable, reconnects for
    /// up to `patience`; the operation continues meanwhile, or when the daemon is back.
    pub fn follow(
        &self,
        id: OperationId,
        patience: Duration,
    ) -> impl Stream<Item = Result<Progress, ClientError>> + Send + 'static {
        let follower = Follower {
            client: self.clone(),
            id,
            patience,
            source: None,
            lost_at: None,
            told: false,
            pause: Duration::from_millis(100),
            over: false,
        };
        stream::unfold(follower, |mut f| async move { f.next().await.map(|item| (item, f)) })
    }

    /// An instance's log, line by line.
    pub async fn logs(
        &self,
        query: &LogsQuery,
    ) -> Result<impl Stream<Item = Result<String, ClientError>> + Send + 'static, ClientError> {
        let response = self.send(self.request(Method::GET, "/logs", query)?).await?;
        let name: Name = query.name.clone();
        Ok(lines(response.bytes_stream().boxed()).map(move |line| {
            line.map_err(|_| {
                ClientError::new(Cause::Failed, format!("the log stream of {name} was interrupted"))
            })
        }))
    }

    async fn events_of(
        &self,
        id: &OperationId,
    ) -> Result<stream::BoxStream<'static, String>, ClientError> {
        let path = format!("/operations/{id}/events");
        let no_query: [(&str, &str); 0] = [];
        let response = self.send(self.request(Method::GET, &path, &no_query)?).await?;
        let mut events = Events::default();
        Ok(lines(response.bytes_stream().boxed())
            .take_while(|line| std::future::ready(line.is_ok()))
            .filter_map(move |line| std::future::ready(line.ok().and_then(|l| events.line(&l))))
            .boxed())
    }
}

struct Follower {
    client: Client,
    id: OperationId,
    patience: Duration,
    source: Option<stream::BoxStream<'static, String>>,
    lost_at: Option<Instant>,
    told: bool,
    pause: Duration,
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Progress, ClientError>> {
        while !self.over {
            let news = if let Some(source) = &mut self.source {
                let data = source_next(source).await;
                self.listen_to(data)
            } else {
                self.connect().await
            };
            if let Some(news) = news {
                self.over |= news.is_err();
                return Some(news);
            }
        }
        None
    }

    fn listen_to(&mut self, data: Option<String>) -> Option<Result<Progress, ClientError>> {
        let Some(data) = data else {
            // The stream ended before the operation finished: reconnect.
            self.source = None;
            return None;
        };
        self.lost_at = None;
        self.told = false;
        self.pause = Duration::from_millis(100);
        let Ok(operation) = serde_json::from_str::<Operation>(&data) else {
            return Some(Err(ClientError::new(
                Cause::Protocol,
                "the daemon sent an operation that this version does not understand",
            )));
        };
        self.over = operation.state.is_over();
        Some(Ok(Progress::Now(operation)))
    }

    async fn connect(&mut self) -> Option<Result<Progress, ClientError>> {
        if self.lost_at.is_some() {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSE);
        }
        match self.client.events_of(&self.id).await {
            Ok(source) => {
                self.source = Some(source);
                // From here on a stream that ends at once counts as a loss too.
                self.lost_at.get_or_insert_with(Instant::now);
                None
            }
            Err(e) if matches!(e.cause, Cause::Unreachable | Cause::Unavailable) => {
                let since = *self.lost_at.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.patience {
                    return Some(Err(e));
                }
                let first = !std::mem::replace(&mut self.told, true);
                first.then_some(Ok(Progress::Lost(e.message)))
            }
            Err(e) => Some(Err(e)),
        }
    }
}

async fn source_next(source: &mut stream::BoxStream<'static, String>) -> Option<String> {
    tokio::time::timeout(SILENCE, source.next()).await.ok().flatten()
}
